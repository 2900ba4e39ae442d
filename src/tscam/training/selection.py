"""How good an epoch is: its scores on the split that the best one is chosen on, and the best threshold there."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tscam.datasets import Dataset, has_boxes
from tscam.evaluation.judging import Judge
from tscam.evaluation.map_sources import MappedSplit, PredictedMaps
from tscam.evaluation.scoring import judge_pictures
from tscam.metrics.curves import curve_of
from tscam.metrics.protocol import TS_CAM
from tscam.metrics.threshold import best_threshold
from tscam.predictor import Predictor
from tscam.system.processes import Processes
from tscam.training.run.progress import EpochRow

# The rules that epochs are compared by.
PROTOCOL = TS_CAM

# Fractions of the map's maximum that a threshold is chosen from.
THRESHOLDS = tuple(step / 50 for step in range(1, 50))


def score_epoch(
    row: EpochRow,
    predictor: Predictor,
    dataset: Dataset,
    *,
    choose_threshold: bool,
    batch_size: int,
    workers: int,
    processes: Processes,
    on_progress: Callable[[int, int], None],
) -> EpochRow:
    """The row with the scores of a split.

    Args:
        choose_threshold: take the threshold of best GT-known Loc, of equal ones the nearest to the data set's published
            one; else that one itself.
    """
    with_boxes = has_boxes(dataset)
    judge = Judge(protocols=(PROTOCOL,) if with_boxes else ())
    maps = PredictedMaps(predictor=predictor, batch_size=batch_size, workers=workers)
    split = MappedSplit(dataset=dataset, maps=maps)
    pictures = list(judge_pictures(split, judge, processes=processes, on_progress=on_progress))
    right = sum(picture.top1_cls for picture in pictures)
    row = replace(row, split=dataset.split, top1_cls=100.0 * right / len(pictures))
    if not with_boxes:
        return row
    thresholds = np.array(THRESHOLDS if choose_threshold else (dataset.threshold,))
    curve = curve_of(pictures, PROTOCOL, thresholds=thresholds)
    best = best_threshold(curve.hits["gt_known_loc"], thresholds, nearest_to=dataset.threshold)
    return replace(
        row,
        top1_loc=float(curve.percent("top1_loc")[best]),
        gt_known_loc=float(curve.percent("gt_known_loc")[best]),
        threshold=float(thresholds[best]),
    )
