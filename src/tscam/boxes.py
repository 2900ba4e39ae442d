"""Raw map → localization map → boxes. OpenCV's contours define the result; knows nothing of networks.

`find_boxes` is the one way from a raw map to boxes in picture pixels. Its steps stand beside it for tests and for
`boxes_by_level`, which judges a map at every threshold at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from tscam.errors import ConfigError
from tscam.geometry import View

# Maps are cut to bytes before they are compared with a threshold.
LEVELS = 256

# Points (x, y) of an outline, as OpenCV gives them.
Contour = Int[np.ndarray, "_ 1 2"]

# Regions of a map that are objects: the largest one, or each that is large and high enough.
Objects = Literal["one", "parts"]

# A part has at least this share of the largest region's area, and its peak at least this share of the map's maximum.
_PART_AREA, _PART_PEAK = 0.2, 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """Regions of a raw map that are objects, largest first.

    Attributes:
        boxes: boxes around them in picture pixels, not rounded, inside the picture.
        means: mean of the raw map over each region, at view size.
    """

    boxes: Float[np.ndarray, "n 4"]
    means: Float[np.ndarray, " n"]


def find_boxes(
    raw: Float[np.ndarray, "h w"], view: View, *, threshold: float, objects: Objects = "one"
) -> Float[np.ndarray, "n 4"]:
    """Boxes around the regions of a raw map that are objects, largest region first.

    Args:
        raw: map of one class, on the patch grid or any other grid that covers the whole view.
        view: size of the network's input, in which regions are searched for, and size of the picture.
        threshold: fraction of the map's maximum above which is object, after the map is scaled from its minimum to its
            maximum; for maps of probabilities, too. The published numbers are measured so, and where probabilities
            reach from near 0 to near 1, as `foreground`'s do, 0.5 is nearly the probability of one half.
        objects: `one` takes the largest region, as published. `parts` takes every region of at least 20 % of its area
            whose peak is at least half of the map's maximum; objects that touch stay one region.

    Returns:
        Boxes in picture pixels, not rounded, inside the picture; none for a flat map.
    """
    map_ = localization_map(raw, size_wh=view.view_wh)
    return view.to_picture(_bounding_boxes(_outlines(map_, threshold=threshold, objects=objects)).astype(float))


def find_regions(raw: Float[np.ndarray, "h w"], view: View, *, threshold: float, objects: Objects = "one") -> Regions:
    """The regions whose boxes `find_boxes` gives, with the mean of the raw map over each."""
    map_ = localization_map(raw, size_wh=view.view_wh)
    outlines = _outlines(map_, threshold=threshold, objects=objects)
    resized, labels = _resized(raw, size_wh=view.view_wh), _region_labels(mask_above(map_, threshold=threshold))
    means = [float(resized[_inside(outline, labels)].mean()) for outline in outlines]
    boxes = view.to_picture(_bounding_boxes(outlines).astype(float))
    return Regions(boxes=boxes, means=np.array(means, dtype=float))


def require_threshold(threshold: float | None) -> None:
    """Refuse a threshold that is not a fraction; None passes.

    Raises:
        ConfigError: outside (0, 1).
    """
    if threshold is not None and not 0 < threshold < 1:
        raise ConfigError(f"threshold {threshold:g}; expected a fraction of the map's maximum, between 0 and 1")


def localization_map(
    raw: Float[np.ndarray, "h w"], *, size_wh: tuple[int, int], interpolation: int = cv2.INTER_LINEAR
) -> Float[np.ndarray, "H W"]:
    """The raw map of a class at view size, then min-max normalized to [0, 1]; float32. A flat map becomes zeros.

    Args:
        size_wh: width and height of the view, in pixels.
        interpolation: OpenCV's; bilinear as published.

    Source:
        Gao et al., ICCV 2021: resized first, normalized after. Their 0/0 on a flat map is zeros here.
    """
    resized = _resized(raw, size_wh=size_wh, interpolation=interpolation)
    low, high, _, _ = cv2.minMaxLoc(resized)
    span = np.float32(high) - np.float32(low)
    if not span > 0 or not np.isfinite(span):
        return np.zeros_like(resized)
    resized -= np.float32(low)
    resized /= span
    return resized


def mask_above(map_: Float[np.ndarray, "H W"], *, threshold: float) -> UInt8[np.ndarray, "H W"]:
    """1 where the localization map is above `threshold` times its maximum, else 0.

    Map and level are truncated to whole numbers of 0…255 first, as in the original: at most 256 thresholds differ.
    """
    exact = np.ascontiguousarray(map_, dtype=np.float32)
    highest = np.float32(cv2.minMaxLoc(exact)[1])
    level = int(threshold * int(highest * np.float32(255)))
    return (exact >= _least_above(level)).view(np.uint8)


def boxes_above(map_: Float[np.ndarray, "H W"], *, threshold: float) -> Float[np.ndarray, "n 4"]:
    """Boxes around the regions of a localization map above the threshold, in view pixels, largest region first.

    The size of a region is the area of its contour polygon; regions of equal size keep OpenCV's order. Holes count as
    regions, as in the original; they are never larger than the region around them. A map of zeros, which
    `localization_map` returns for a flat one, gives no box.

    Source:
        Gao et al., ICCV 2021 (`get_bboxes`); Choe et al., CVPR 2020, use the same contours.
    """
    largest_first = sorted(_contours(mask_above(map_, threshold=threshold)), key=cv2.contourArea, reverse=True)
    return _bounding_boxes(largest_first).astype(float)


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelBoxes:
    """The boxes of a map at all levels. Levels share a row unless a value of the map is between them.

    Attributes:
        row_of_level: the row of each level 0…255. No pixel is above the last row, which has no box.
        boxes: boxes of all rows but the last, one row after another, in OpenCV's order; view pixels.
        starts: index in `boxes` of each row's first box.
        largest: index in `boxes` of each row's region of largest area, the first of equal ones.
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
        precision: of the product; rarely, it decides between two neighbouring whole numbers.
    """
    return (map_.astype(precision) * np.dtype(precision).type(255)).astype(np.uint8)


def boxes_by_level(levels: UInt8[np.ndarray, "H W"]) -> LevelBoxes:
    """The boxes that `boxes_above` finds at every level of a map in bytes: values above t are object at level t.

    Contours are searched for once for each value that occurs, not once for each threshold.
    """
    values = np.flatnonzero(np.bincount(levels.ravel(), minlength=LEVELS))
    occurring = np.union1d([0], values)
    contours: list[Contour] = []
    starts, largest = [], []
    for level in occurring[:-1].tolist():
        regions = _contours((levels > level).view(np.uint8))
        starts.append(len(contours))
        areas = [cv2.contourArea(region) for region in regions] if len(regions) > 1 else [0.0]
        largest.append(len(contours) + areas.index(max(areas)))
        contours += regions
    return LevelBoxes(
        row_of_level=np.searchsorted(occurring, np.arange(LEVELS), side="right") - 1,
        boxes=_bounding_boxes(contours),
        starts=np.array(starts, dtype=np.int64),
        largest=np.array(largest, dtype=np.int64),
    )


def region_outlines(raw: Float[np.ndarray, "h w"], *, size_wh: tuple[int, int], threshold: float) -> Sequence[Contour]:
    """Outlines of everything above the threshold, holes included, in whole pixels of a picture of that size.

    Args:
        raw: map of one class, on any grid.
        size_wh: width and height of the picture that they are drawn on.
        threshold: as `find_boxes` takes it.
    """
    return _contours(mask_above(localization_map(raw, size_wh=size_wh), threshold=threshold))


def _outlines(map_: Float[np.ndarray, "H W"], *, threshold: float, objects: Objects) -> list[Contour]:
    """Outlines of the regions of a localization map that are objects, largest first."""
    mask = mask_above(map_, threshold=threshold)
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    areas = [cv2.contourArea(contour) for contour in contours]
    largest_first = sorted(range(len(contours)), key=areas.__getitem__, reverse=True)
    if objects == "one" or len(contours) < 2:
        return [contours[index] for index in largest_first[:1]]
    labels, parents = _region_labels(mask), hierarchy[0, :, 3].tolist()
    least_area, least_peak = _PART_AREA * areas[largest_first[0]], _PART_PEAK * float(map_.max())
    return [
        contours[index]
        for index in largest_first
        if areas[index] >= least_area
        and not _is_hole(index, parents)
        and map_[_inside(contours[index], labels)].max() >= least_peak
    ]


def _is_hole(index: int, parents: Sequence[int]) -> bool:
    """True for the outline of a hole: one inside a region, or inside a region within a hole, and so on."""
    depth = 0
    while parents[index] >= 0:
        index, depth = parents[index], depth + 1
    return depth % 2 == 1


def _region_labels(mask: UInt8[np.ndarray, "H W"]) -> Int[np.ndarray, "H W"]:
    """Number of each pixel's region, 0 outside; regions touch at corners, as OpenCV's outlines do."""
    labels: Int[np.ndarray, "H W"] = cv2.connectedComponents(mask, connectivity=8)[1]
    return labels


def _inside(outline: Contour, labels: Int[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """True for the pixels of the region that an outline runs through, without its holes."""
    x, y = outline[0, 0].tolist()
    return labels == labels[y, x]


def _resized(
    raw: Float[np.ndarray, "h w"], *, size_wh: tuple[int, int], interpolation: int = cv2.INTER_LINEAR
) -> Float32[np.ndarray, "H W"]:
    exact = np.ascontiguousarray(raw, dtype=np.float32)
    resized: Float32[np.ndarray, "H W"] = np.asarray(cv2.resize(exact, size_wh, interpolation=interpolation))
    return resized


def _contours(mask: UInt8[np.ndarray, "H W"]) -> Sequence[Contour]:
    """Outlines of regions, which may touch at corners, and of their holes, in OpenCV's order."""
    contours: Sequence[Contour] = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    return contours


def _bounding_boxes(contours: Sequence[Contour]) -> Int[np.ndarray, "n 4"]:
    boxes = np.array([cv2.boundingRect(contour) for contour in contours], dtype=np.int64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # OpenCV's rectangles are x, y, width, height.
    return boxes


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
