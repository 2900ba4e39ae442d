"""The parts that only the protocol `ts-cam` has: its rounding of true boxes, and its breakdown of errors.

Source:
    Gao et al., ICCV 2021, and the released evaluation (`core/functions.py`, `cams_deit.py`) where the paper is silent.
"""

from enum import StrEnum
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, UInt8

from tscam.geometry import View
from tscam.metrics.overlap import Overlaps

BoxRule = Literal["cub", "ilsvrc"]


class Outcome(StrEnum):
    """Outcome of the box of the most likely class; the first that applies."""

    RIGHT = "right"
    CLS_WRONG = "cls_wrong"
    MULTI_INSTANCE = "multi_instance"
    PART = "part"
    MORE = "more"
    WRONG = "wrong"


OUTCOMES = tuple(Outcome)


def ground_truth_in_view(boxes: Float[np.ndarray, "m 4"], *, view: View, rule: BoxRule) -> Int[np.ndarray, "m 4"]:
    """True boxes as the protocol compares them: whole view pixels, far edges inclusive.

    Args:
        boxes: half-open, in picture pixels.
        rule: `cub` truncates x, y, width and height to whole picture pixels first; `ilsvrc` does not.
    """
    if rule == "cub":
        # Width and height are differences of edges: rounding removes their float error, so that 3.0 stays 3.
        sides = np.trunc(np.round(boxes[:, 2:] - boxes[:, :2], 6))
        low = np.trunc(boxes[:, :2])
        boxes = np.concatenate([low, low + sides], axis=1)
    picture, size = np.array(view.picture_wh), np.array(view.view_wh)
    low = np.maximum(boxes[:, :2] / picture * size, 0)
    high = np.minimum(boxes[:, 2:] / picture * size, size - 1)
    return np.trunc(np.concatenate([low, high], axis=1)).astype(np.int64)


def outcomes_of(overlaps: Overlaps) -> UInt8[np.ndarray, " n"]:
    """Outcome of each box of a picture whose class is right, as an index into `OUTCOMES`.

    Right: IoU > 0.5. Else several objects (IoG > 0.3 with at least two), else by the true box of largest IoU: part of
    it (IoB > 0.5), more than it (IoG ≥ 0.7), or wrong. The first that applies counts.
    """
    rows = np.arange(len(overlaps.iou))
    best = overlaps.iou.argmax(axis=1)
    iou, iog, iob = overlaps.iou[rows, best], overlaps.iog[rows, best], overlaps.iob[rows, best]
    conditions = [iou > 0.5, (overlaps.iog > 0.3).sum(axis=1) >= 2, iob > 0.5, iog >= 0.7]
    outcomes = [Outcome.RIGHT, Outcome.MULTI_INSTANCE, Outcome.PART, Outcome.MORE]
    indices = np.select(conditions, [OUTCOMES.index(outcome) for outcome in outcomes], OUTCOMES.index(Outcome.WRONG))
    return indices.astype(np.uint8)
