"""The protocol `ts-cam`: Top-1/5 Loc, GT-known Loc, Top-1/5 Cls and the error breakdown, exactly as published.

All of its rounding and its inclusive pixels live here; boxes come in and go out as the package's own. Knows nothing of
networks or files.

Source:
    Gao et al., ICCV 2021, and the released evaluation (`core/functions.py`, `cams_deit.py`) where the paper is silent.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from tscam.boxes import boxes_above
from tscam.geometry import View

PROTOCOL = "ts-cam"
TOP_K = 5
BoxRule = Literal["cub", "ilsvrc"]


class Outcome(StrEnum):
    """What became of the box of the most likely class; the first that applies."""

    RIGHT = "right"
    CLS_WRONG = "cls_wrong"
    MULTI_INSTANCE = "multi_instance"
    PART = "part"
    MORE = "more"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """How one picture was judged.

    Attributes:
        top1_cls, top5_cls: is the label the most likely class, or among the five most likely.
        top1_loc, top5_loc: is in addition that class's own box right (IoU > 0.5).
        gt_known_loc: is the box of the label's map right (IoU ≥ 0.5).
        iou: of the label's box with the ground truth that it overlaps most, inclusive pixels.
        outcome: of the most likely class's box.
    """

    top1_cls: bool
    top5_cls: bool
    top1_loc: bool
    top5_loc: bool
    gt_known_loc: bool
    iou: float
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class TsCamResult:
    """Percent of all pictures, not rounded; and how many pictures had each outcome."""

    images: int
    top1_cls: float
    top5_cls: float
    top1_loc: float
    top5_loc: float
    gt_known_loc: float
    errors: dict[str, int]


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


def predicted_box(map_: Float[np.ndarray, "H W"], *, threshold: float) -> Float[np.ndarray, " 4"]:
    """The box of the largest region above the threshold, in view pixels; `(0, 0, 1, 1)` for a map without any."""
    boxes = boxes_above(map_, threshold=threshold)
    return boxes[0] if len(boxes) else np.array([0.0, 0.0, 1.0, 1.0])


def best_iou(box: Float[np.ndarray, " 4"], truths: Int[np.ndarray, "m 4"]) -> float:
    """IoU, inclusive pixels, of a box in view pixels with the ground truth that it overlaps most."""
    return float(_overlaps(box, truths).iou.max())


def score_image(
    *,
    label: int,
    top_classes: Int[np.ndarray, " k"],
    top_boxes: Float[np.ndarray, "k 4"],
    label_box: Float[np.ndarray, " 4"],
    truths: Int[np.ndarray, "m 4"],
) -> ImageScore:
    """Judges one picture with at least one ground truth.

    Args:
        label: class of the picture.
        top_classes: the five (or all, where there are fewer) most likely classes, best first.
        top_boxes: the box of each one's own map, view pixels.
        label_box: the box of the label's map, view pixels.
        truths: from `ground_truth_in_view`.
    """
    hits = top_classes == label
    right_box = np.array([best_iou(box, truths) > 0.5 for box in top_boxes])
    label_iou = best_iou(label_box, truths)
    return ImageScore(
        top1_cls=bool(hits[0]),
        top5_cls=bool(hits.any()),
        top1_loc=bool(hits[0] and right_box[0]),
        top5_loc=bool((hits & right_box).any()),
        gt_known_loc=label_iou >= 0.5,
        iou=label_iou,
        outcome=_outcome(top_boxes[0], truths) if hits[0] else Outcome.CLS_WRONG,
    )


def summarize(scores: Iterable[ImageScore]) -> TsCamResult:
    """The result over all pictures; each counts once.

    Raises:
        ValueError: no scores.
    """
    judged = list(scores)
    if not judged:
        raise ValueError("no pictures were scored")
    outcomes = Counter(score.outcome for score in judged)

    def percent(name: str) -> float:
        return 100.0 * sum(getattr(score, name) for score in judged) / len(judged)

    return TsCamResult(
        images=len(judged),
        top1_cls=percent("top1_cls"),
        top5_cls=percent("top5_cls"),
        top1_loc=percent("top1_loc"),
        top5_loc=percent("top5_loc"),
        gt_known_loc=percent("gt_known_loc"),
        errors={outcome.value: outcomes[outcome] for outcome in Outcome},
    )


@dataclass(frozen=True)
class _Overlaps:
    iou: Float[np.ndarray, " m"]
    iog: Float[np.ndarray, " m"]  # intersection over the ground truth's area
    iob: Float[np.ndarray, " m"]  # intersection over the predicted box's area


def _overlaps(box: Float[np.ndarray, " 4"], truths: Int[np.ndarray, "m 4"]) -> _Overlaps:
    """One box against all ground truths; the last pixel of each counts as inside, as in the original."""
    sides = np.minimum(box[2:], truths[:, 2:]) - np.maximum(box[:2], truths[:, :2]) + 1
    shared = np.clip(sides, 0, None).prod(axis=1).astype(float)
    area_box = (box[2:] - box[:2] + 1).prod()
    area_truths = (truths[:, 2:] - truths[:, :2] + 1).prod(axis=1)
    return _Overlaps(iou=shared / (area_box + area_truths - shared), iog=shared / area_truths, iob=shared / area_box)


def _outcome(box: Float[np.ndarray, " 4"], truths: Int[np.ndarray, "m 4"]) -> Outcome:
    """Of a box whose class is right."""
    overlaps = _overlaps(box, truths)
    best = int(overlaps.iou.argmax())
    if overlaps.iou[best] > 0.5:
        return Outcome.RIGHT
    if (overlaps.iog > 0.3).sum() >= 2:
        return Outcome.MULTI_INSTANCE
    if overlaps.iob[best] > 0.5:
        return Outcome.PART
    if overlaps.iog[best] >= 0.7:
        return Outcome.MORE
    return Outcome.WRONG
