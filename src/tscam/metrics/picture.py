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
    """What a picture is, what was said of it, and how that was judged.

    Attributes:
        image: its id.
        label: its class.
        top_classes: the most likely ones, at most five, best first; none where only maps were given.
        picture_wh: width and height, in pixels.
        truths: its true boxes, half-open, in picture pixels.
        boxes, pixels: the judgement under each protocol, by name.
        own_levels: under a policy that gives each map a level of its own: that level, by protocol.
        shown: the judged map, small, min-max scaled to 0…255.
        fault: why it counts as wrong without being judged, else empty.
    """

    image: str
    label: int
    top_classes: tuple[int, ...]
    picture_wh: tuple[int, int]
    truths: Float[np.ndarray, "m 4"]
    boxes: Mapping[str, LevelScores]
    pixels: Mapping[str, PixelScores]
    own_levels: Mapping[str, int]
    shown: UInt8[np.ndarray, "h w"]
    fault: str = ""

    @property
    def top1_cls(self) -> bool:
        """Is its class the most likely one?"""
        return self.top_classes[:1] == (self.label,)

    @property
    def top5_cls(self) -> bool:
        """Is its class among the five most likely ones?"""
        return self.label in self.top_classes

    @property
    def object_share(self) -> float | None:
        """The part of the picture that its largest true box covers; None without boxes."""
        if not len(self.truths):
            return None
        return float(box_area(self.truths).max() / (self.picture_wh[0] * self.picture_wh[1]))
