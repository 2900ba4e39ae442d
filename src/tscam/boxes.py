"""Raw map → localization map → boxes. OpenCV's contours define the result; knows nothing of networks or pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

# Maps are cut to bytes before they are compared with a threshold.
LEVELS = 256


def localization_map(
    raw: Float[np.ndarray, "h w"], *, size_wh: tuple[int, int], interpolation: int = cv2.INTER_LINEAR
) -> Float[np.ndarray, "H W"]:
    """The raw map of a class at view size, then min-max normalized to [0, 1]; float32.

    A flat map has no maximum to speak of and becomes zeros.

    Args:
        size_wh: width and height of the view, in pixels.
        interpolation: OpenCV's; bilinear as published.

    Source:
        Gao et al., ICCV 2021: resized first, normalized after. Their 0/0 on a flat map is zeros here.
    """
    exact = np.ascontiguousarray(raw, dtype=np.float32)
    resized: Float32[np.ndarray, "H W"] = np.asarray(cv2.resize(exact, size_wh, interpolation=interpolation))
    low, high, _, _ = cv2.minMaxLoc(resized)
    span = np.float32(high) - np.float32(low)
    if not span > 0 or not np.isfinite(span):
        return np.zeros_like(resized)
    resized -= np.float32(low)
    resized /= span
    return resized


def mask_above(map_: Float[np.ndarray, "H W"], *, threshold: float) -> UInt8[np.ndarray, "H W"]:
    """1 where the localization map lies above `threshold` times its maximum, else 0.

    Map and level are cut to whole numbers of 0…255 first, as in the original: of all thresholds at most 256 differ.
    """
    exact = np.ascontiguousarray(map_, dtype=np.float32)
    highest = np.float32(cv2.minMaxLoc(exact)[1])
    level = int(threshold * int(highest * np.float32(255)))
    return (exact >= _least_above(level)).view(np.uint8)


def boxes_above(map_: Float[np.ndarray, "H W"], *, threshold: float) -> Float[np.ndarray, "n 4"]:
    """Boxes around the regions of a localization map above the threshold, in view pixels, largest region first.

    The size of a region is the area of its contour polygon, and equal ones keep OpenCV's order. Holes count as regions,
    as in the original; they are never larger than what is around them. A map of zeros, which is what
    `localization_map` makes of a flat one, gives no box.

    Source:
        Gao et al., ICCV 2021 (`get_bboxes`); Choe et al., CVPR 2020, use the same contours.
    """
    contours, _ = cv2.findContours(mask_above(map_, threshold=threshold), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    largest_first = sorted(contours, key=cv2.contourArea, reverse=True)
    boxes = [(x, y, x + width, y + height) for x, y, width, height in map(cv2.boundingRect, largest_first)]
    return np.array(boxes, dtype=float).reshape(-1, 4)


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelBoxes:
    """The boxes of a map at all levels. Of the levels only those that occur as values of the map differ: the rows.

    Attributes:
        row_of_level: for each level 0…255 its row. In the last row nothing is above, and it has no box.
        boxes: those of all rows but the last, one row after another, in OpenCV's order; view pixels.
        starts: where each row's boxes start.
        largest: of each row the place of the region of largest area, the first of equal ones, among `boxes`.
    """

    row_of_level: Int[np.ndarray, " 256"]
    boxes: Int[np.ndarray, "n 4"]
    starts: Int[np.ndarray, " rows"]
    largest: Int[np.ndarray, " rows"]


def to_bytes(
    map_: Float[np.ndarray, "H W"], *, precision: Literal["float32", "float64"] = "float32"
) -> UInt8[np.ndarray, "H W"]:
    """A map of values in [0, 1], times 255 and cut to whole numbers.

    Args:
        precision: of the product; now and then it decides on which side of a whole number that lies.
    """
    return (map_.astype(precision) * np.dtype(precision).type(255)).astype(np.uint8)


def boxes_by_level(levels: UInt8[np.ndarray, "H W"]) -> LevelBoxes:
    """The boxes that `boxes_above` finds at every level of a map in bytes: what counts at level t is above t.

    Contours are looked for once for each value that occurs, not once for each threshold.
    """
    values = np.flatnonzero(np.bincount(levels.ravel(), minlength=LEVELS))
    occurring = np.union1d([0], values)
    rectangles: list[Sequence[int]] = []  # x, y, width, height
    starts, largest = [], []
    for level in occurring[:-1].tolist():
        above = (levels > level).view(np.uint8)
        contours, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        starts.append(len(rectangles))
        areas = [cv2.contourArea(contour) for contour in contours] if len(contours) > 1 else [0.0]
        largest.append(len(rectangles) + areas.index(max(areas)))
        rectangles += map(cv2.boundingRect, contours)
    boxes = np.array(rectangles, dtype=np.int64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return LevelBoxes(
        row_of_level=np.searchsorted(occurring, np.arange(LEVELS), side="right") - 1,
        boxes=boxes,
        starts=np.array(starts, dtype=np.int64),
        largest=np.array(largest, dtype=np.int64),
    )


@cache
def _least_above(level: int) -> np.float32:
    """The least value of a map that is above the level once it is cut to a whole number of 0…255.

    It saves two passes over every map. Products of float32 round monotonically, so there is one such value.
    """
    value, zero = np.float32((level + 1) / 255), np.float32(0)
    while value * np.float32(255) >= level + 1:
        value = np.nextafter(value, zero)
    while value * np.float32(255) < level + 1:
        value = np.nextafter(value, np.float32(2))
    return value
