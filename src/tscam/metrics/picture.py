"""One picture, judged under several protocols at every threshold."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from tscam.geometry import box_area
from tscam.metrics.levels import LevelScores
from tscam.metrics.pixels import PixelScores


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedPicture:
    """A picture, its most likely classes, and its scores at every level.

    Attributes:
        image: its id.
        label: its class.
        top_classes: its most likely classes, at most five, best first; empty without class scores.
        picture_wh: width and height, in pixels.
        truths: its true boxes, half-open, in picture pixels.
        boxes, pixels: its scores, by the name of the protocol.
        map_levels: under a policy that gives every map its own threshold, the level of this map, by protocol.
        small_map: the judged map, small, min-max scaled to 0…255.
        fault: why it counts as wrong without being judged, else empty.
        is_unclassified: True if a model tells classes apart, but could not see this picture: its class counts as wrong.
    """

    image: str
    label: int
    top_classes: tuple[int, ...]
    picture_wh: tuple[int, int]
    truths: Float[np.ndarray, "m 4"]
    boxes: Mapping[str, LevelScores]
    pixels: Mapping[str, PixelScores]
    map_levels: Mapping[str, int]
    small_map: UInt8[np.ndarray, "h w"]
    fault: str = ""
    is_unclassified: bool = False

    @property
    def has_classes(self) -> bool:
        """True if it counts for classification."""
        return bool(self.top_classes) or self.is_unclassified

    @property
    def has_object(self) -> bool:
        """True if it has a true box; else it counts for classification, not for localization."""
        return len(self.truths) > 0

    @property
    def top1_cls(self) -> bool:
        """True if its class is the most likely one."""
        return self.top_classes[:1] == (self.label,)

    @property
    def top5_cls(self) -> bool:
        """True if its class is among the five most likely ones."""
        return self.label in self.top_classes

    @property
    def object_share(self) -> float | None:
        """Share of the picture that its largest true box covers, in [0, 1]; None without boxes."""
        if not len(self.truths):
            return None
        return float(box_area(self.truths).max() / (self.picture_wh[0] * self.picture_wh[1]))
