"""Overlaps of boxes, with either meaning of a far edge; in whole or fractional pixels of one frame."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

# Meaning of a box's far edge: the last pixel inside, or the edge behind it.
Edges = Literal["inclusive", "half-open"]

Boxes = Float[np.ndarray, "n 4"] | Int[np.ndarray, "n 4"]
Truths = Float[np.ndarray, "m 4"] | Int[np.ndarray, "m 4"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlaps:
    """Overlaps of every box with every true box, in [0, 1].

    Attributes:
        iou: intersection over union.
        iog: intersection over the true box's area.
        iob: intersection over the box's area.
    """

    iou: Float[np.ndarray, "n m"]
    iog: Float[np.ndarray, "n m"]
    iob: Float[np.ndarray, "n m"]


def overlaps(boxes: Boxes, truths: Truths, *, edges: Edges) -> Overlaps:
    """Overlaps of `(x0, y0, x1, y1)` boxes; 0 where the divisor is 0, never NaN."""
    last_pixel = 1 if edges == "inclusive" else 0
    low = np.maximum(boxes[:, None, :2], truths[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truths[None, :, 2:])
    shared = np.clip(high - low + last_pixel, 0, None).prod(axis=2).astype(float)
    box_areas = np.clip(boxes[:, 2:] - boxes[:, :2] + last_pixel, 0, None).prod(axis=1).astype(float)[:, None]
    truth_areas = np.clip(truths[:, 2:] - truths[:, :2] + last_pixel, 0, None).prod(axis=1).astype(float)[None]
    return Overlaps(
        iou=_share(shared, box_areas + truth_areas - shared),
        iog=_share(shared, np.broadcast_to(truth_areas, shared.shape)),
        iob=_share(shared, np.broadcast_to(box_areas, shared.shape)),
    )


def _share(part: Float[np.ndarray, "n m"], whole: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
