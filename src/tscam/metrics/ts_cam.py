"""What is the protocol `ts-cam`'s own: how true boxes become view pixels, and the breakdown of errors, as published.

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
    """What became of the box of the most likely class; the first that applies."""

    RIGHT = "right"
    CLS_WRONG = "cls_wrong"
    MULTI_INSTANCE = "multi_instance"
    PART = "part"
    MORE = "more"
    WRONG = "wrong"


OUTCOMES = tuple(Outcome)


def ground_truth_in_view(boxes: Float[np.ndarray, "m 4"], *, view: View, rule: BoxRule) -> Int[np.ndarray, "m 4"]:
    """Ground-truth boxes as the protocol compares them: whole view pixels, the last one inside.

    Args:
        boxes: half-open, in picture pixels.
        rule: `cub` cuts x, y, width and height to whole picture pixels first; `ilsvrc` does not.
    """
    if rule == "cub":
        # Width and height come back from edges by subtraction: rounding undoes what that cost, so that 3.0 stays 3.
        sides = np.trunc(np.round(boxes[:, 2:] - boxes[:, :2], 6))
        low = np.trunc(boxes[:, :2])
        boxes = np.concatenate([low, low + sides], axis=1)
    picture, size = np.array(view.picture_wh), np.array(view.view_wh)
    low = np.maximum(boxes[:, :2] / picture * size, 0)
    high = np.minimum(boxes[:, 2:] / picture * size, size - 1)
    return np.trunc(np.concatenate([low, high], axis=1)).astype(np.int64)


def outcomes_of(found: Overlaps) -> UInt8[np.ndarray, " n"]:
    """What becomes of each box of a picture whose class is right: its place in `OUTCOMES`; the first that applies.

    Right: IoU > 0.5. Else more than one object (IoG > 0.3 with at least two), and else by the ground truth of largest
    IoU: a part of it (IoB > 0.5), more than it (IoG ≥ 0.7), or wrong.
    """
    each = np.arange(len(found.iou))
    best = found.iou.argmax(axis=1)
    iou, iog, iob = found.iou[each, best], found.iog[each, best], found.iob[each, best]
    conditions = [iou > 0.5, (found.iog > 0.3).sum(axis=1) >= 2, iob > 0.5, iog >= 0.7]
    named = [Outcome.RIGHT, Outcome.MULTI_INSTANCE, Outcome.PART, Outcome.MORE]
    places = np.select(conditions, [OUTCOMES.index(outcome) for outcome in named], OUTCOMES.index(Outcome.WRONG))
    return places.astype(np.uint8)
