"""How good an epoch is: its scores on the split that the best one is chosen on, and the best threshold there."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from tscam.boxes import localization_map
from tscam.datasets import Dataset
from tscam.evaluation import each_prediction
from tscam.geometry import View
from tscam.metrics import ts_cam
from tscam.predictor import Prediction, Predictor
from tscam.processes import Processes
from tscam.training.progress import EpochRow
from tscam.training.splits import has_boxes

# Fractions of the map's maximum that a threshold is chosen from.
THRESHOLDS = tuple(step / 50 for step in range(1, 50))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judged:
    """Is the most likely class the label, and the IoU of the label's box at each threshold (empty without boxes)."""

    is_right: bool
    iou: Float[np.ndarray, " thresholds"]


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
    thresholds = THRESHOLDS if choose_threshold else (dataset.threshold,)

    def judge(index: int, view: View, prediction: Prediction) -> _Judged:
        is_right = int(prediction.classes[0]) == int(dataset.labels[index])
        return _Judged(is_right=is_right, iou=_iou(dataset, index, view, prediction, thresholds if with_boxes else ()))

    judged = each_prediction(
        predictor, dataset, judge, top_k=1, batch_size=batch_size, workers=workers, processes=processes,
        on_progress=on_progress,
    )  # fmt: skip
    is_right = np.array([picture.is_right for picture in judged])
    row = replace(row, split=dataset.split, top1_cls=_percent(is_right))
    if not with_boxes:
        return row
    iou = np.stack([picture.iou for picture in judged])
    gt_known = (iou >= 0.5).sum(axis=0)
    far = np.abs(np.array(thresholds) - dataset.threshold)
    best = int(np.lexsort((far, -gt_known))[0])
    return replace(
        row,
        top1_loc=_percent(is_right & (iou[:, best] > 0.5)),
        gt_known_loc=_percent(iou[:, best] >= 0.5),
        threshold=thresholds[best],
    )


def _iou(
    dataset: Dataset, index: int, view: View, prediction: Prediction, thresholds: tuple[float, ...]
) -> Float[np.ndarray, " thresholds"]:
    """Of the label's box at each threshold with the ground truth that it overlaps most, by the rules of `ts-cam`."""
    if dataset.boxes is None or not thresholds:
        return np.empty(0)
    map_ = localization_map(prediction.maps[-1], size_wh=view.view_wh)
    truths = ts_cam.ground_truth_in_view(dataset.boxes[index], view=view, rule=dataset.box_rule)
    return np.array([ts_cam.best_iou(ts_cam.predicted_box(map_, threshold=each), truths) for each in thresholds])


def _percent(hits: Bool[np.ndarray, " n"]) -> float:
    return 100.0 * int(hits.sum()) / len(hits)
