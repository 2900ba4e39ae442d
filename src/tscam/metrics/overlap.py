"""How much boxes share, by either way of counting pixels; in whole or broken pixels of one frame."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

# Is the far edge of a box the last pixel that is inside, or the edge behind it?
Edges = Literal["inclusive", "half-open"]

Boxes = Float[np.ndarray, "n 4"] | Int[np.ndarray, "n 4"]
Truths = Float[np.ndarray, "m 4"] | Int[np.ndarray, "m 4"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlaps:
    """Of every box with every ground truth, in [0, 1].

    Attributes:
        iou: intersection over union.
        iog: intersection over the ground truth's area.
        iob: intersection over the box's area.
    """

    iou: Float[np.ndarray, "n m"]
    iog: Float[np.ndarray, "n m"]
    iob: Float[np.ndarray, "n m"]


def overlaps(boxes: Boxes, truths: Truths, *, edges: Edges) -> Overlaps:
    """The overlaps of `(x0, y0, x1, y1)` boxes; 0 where there is nothing to divide by, never NaN."""
    more = 1 if edges == "inclusive" else 0
    low = np.maximum(boxes[:, None, :2], truths[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truths[None, :, 2:])
    shared = np.clip(high - low + more, 0, None).prod(axis=2).astype(float)
    of_boxes = np.clip(boxes[:, 2:] - boxes[:, :2] + more, 0, None).prod(axis=1).astype(float)[:, None]
    of_truths = np.clip(truths[:, 2:] - truths[:, :2] + more, 0, None).prod(axis=1).astype(float)[None]
    return Overlaps(
        iou=_share(shared, of_boxes + of_truths - shared),
        iog=_share(shared, np.broadcast_to(of_truths, shared.shape)),
        iob=_share(shared, np.broadcast_to(of_boxes, shared.shape)),
    )


def _share(part: Float[np.ndarray, "n m"], whole: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
