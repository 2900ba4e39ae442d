"""Scores of epochs on the split that the best one is chosen on, and of the chosen weights on the test split."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tscam.datasets import Dataset, has_boxes
from tscam.evaluation.judging import Judge
from tscam.evaluation.map_sources import MappedSplit, PredictedMaps
from tscam.evaluation.results import METRICS
from tscam.evaluation.scoring import Thresholds, judge_pictures, score
from tscam.metrics.curves import curve_of
from tscam.metrics.protocol import TS_CAM
from tscam.metrics.threshold import best_threshold
from tscam.model import LocalizationModel
from tscam.predictor import Predictor
from tscam.predictors import open_predictor
from tscam.system.processes import Processes
from tscam.system.resources import Resources
from tscam.system.writing import write_json
from tscam.training.run.progress import EpochRow
from tscam.training.run.samples import write_samples
from tscam.training.splits import Splits

# The protocol that epochs are compared under.
PROTOCOL = TS_CAM

# Fractions of the map's maximum that a threshold is chosen from.
THRESHOLDS = tuple(step / 50 for step in range(1, 50))

OnPicture = Callable[[int, int], None]


class EpochScorer:
    """Scores the models of a run, in each of its processes.

    Args:
        resources: device, precision, batch size and workers to predict with.
        published: published threshold of the method; None takes the dataset's.
    """

    def __init__(
        self, splits: Splits, resources: Resources, processes: Processes, *, published: float | None = None
    ) -> None:
        self._splits, self._resources, self._processes, self._published = splits, resources, processes, published

    def score(self, row: EpochRow, model: LocalizationModel, *, on_picture: OnPicture) -> EpochRow:
        """Return the row with the scores on the split that the best epoch is chosen on, if there is one."""
        if self._splits.choosing is None:
            return row
        return score_epoch(
            row, self._with_maps(self._splits.choosing, model), choose_threshold=self._splits.chooses_threshold,
            published=self._published, processes=self._processes, on_picture=on_picture,
        )  # fmt: skip

    def write_samples(self, path: Path, model: LocalizationModel) -> None:
        """Write a sheet of sample pictures, if there are pictures that the run is not trained on.

        Raises:
            OutputError: the disk refuses.
        """
        dataset = self._splits.choosing or self._splits.test
        if dataset is not None:
            predictor = self._open(model)
            write_samples(path, predictor, dataset, threshold=predictor.threshold)

    def test(self, weights: Path, out: Path, *, on_picture: OnPicture) -> None:
        """Score the chosen weights on the test split, which no choice has seen unless by `oracle`; write the results.

        A model without a classifier is not scored on a split without boxes.

        Raises:
            TscamError: a picture cannot be read, or the disk refuses.
        """
        self._processes.wait()  # until the first process has written the weights
        test = self._splits.test
        if test is None:
            return
        split = self._with_maps(test, weights)
        if has_boxes(test):
            thresholds: Thresholds = {PROTOCOL: split.maps.default_threshold(test)}
            score(split, thresholds, out=out, processes=self._processes, on_progress=on_picture)
            return
        if not split.maps.has_classifier:
            return
        row = EpochRow(epoch=0, train_loss=0.0, learning_rate=0.0)
        row = score_epoch(row, split, choose_threshold=False, processes=self._processes, on_picture=on_picture)
        if self._processes.is_main:
            scores = {"split": test.split, "pictures": len(test), "top1_cls": row.top1_cls}
            write_json(out / METRICS, {**split.maps.facts, **scores}, indent=2)

    def _with_maps(self, dataset: Dataset, model: LocalizationModel | Path) -> MappedSplit:
        maps = PredictedMaps(
            predictor=self._open(model), batch_size=self._resources.batch_size, workers=self._resources.workers
        )
        return MappedSplit(dataset=dataset, maps=maps)

    def _open(self, model: LocalizationModel | Path) -> Predictor:
        return open_predictor(model, device=self._resources.device, precision=self._resources.precision)


def score_epoch(
    row: EpochRow,
    split: MappedSplit,
    *,
    choose_threshold: bool,
    processes: Processes,
    on_picture: OnPicture,
    published: float | None = None,
) -> EpochRow:
    """Return the row with the scores of a split.

    Args:
        choose_threshold: take the threshold of best GT-known Loc, of equal ones the nearest to the published one;
            otherwise take the published one.
        published: published threshold; the dataset's by default.
        on_picture: called after every picture with how many are done, of how many.
    """
    dataset = split.dataset
    with_boxes = has_boxes(dataset)
    judge = Judge(protocols=(PROTOCOL,) if with_boxes else ())
    pictures = list(judge_pictures(split, judge, processes=processes, on_progress=on_picture))
    row = replace(row, split=dataset.split)
    if split.maps.has_classifier:
        right = sum(picture.top1_cls for picture in pictures)
        row = replace(row, top1_cls=100.0 * right / len(pictures))
    if not with_boxes:
        return row
    nearest_to = published or dataset.threshold
    thresholds = np.array(THRESHOLDS if choose_threshold else (nearest_to,))
    curve = curve_of(pictures, PROTOCOL, thresholds=thresholds)
    best = best_threshold(curve.hits["gt_known_loc"], thresholds, nearest_to=nearest_to)
    return replace(
        row,
        top1_loc=float(curve.percent("top1_loc")[best]) if split.maps.has_classifier else None,
        gt_known_loc=float(curve.percent("gt_known_loc")[best]),
        threshold=float(thresholds[best]),
    )
