"""Raw map → localization map → boxes. OpenCV's contours define the result; knows nothing of networks or pictures."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8


def localization_map(raw: Float[np.ndarray, "h w"], *, size_wh: tuple[int, int]) -> Float[np.ndarray, "H W"]:
    """The raw map of a class at view size, bilinear, then min-max normalized to [0, 1]; float32.

    A flat map has no maximum to speak of and becomes zeros.

    Source:
        Gao et al., ICCV 2021: resized first, normalized after. Their 0/0 on a flat map is zeros here.
    """
    resized = cv2.resize(np.ascontiguousarray(raw, dtype=np.float32), size_wh, interpolation=cv2.INTER_LINEAR)
    low, high, _, _ = cv2.minMaxLoc(resized)
    span = np.float32(high) - np.float32(low)
    if not span > 0 or not np.isfinite(span):
        return np.zeros_like(resized)
    return (resized - np.float32(low)) / span


def mask_above(map_: Float[np.ndarray, "H W"], *, threshold: float) -> UInt8[np.ndarray, "H W"]:
    """1 where the localization map lies above `threshold` times its maximum, else 0.

    The map is cut to eight bits first and the level to a whole number, as in the original: of all thresholds at most
    256 differ.
    """
    levels = (map_ * np.float32(255)).astype(np.uint8)
    level = int(threshold * levels.max(initial=0))
    return cv2.threshold(levels, level, 1, cv2.THRESH_BINARY)[1].astype(np.uint8, copy=False)


def boxes_above(map_: Float[np.ndarray, "H W"], *, threshold: float) -> Float[np.ndarray, "n 4"]:
    """Boxes around the regions of a localization map above the threshold, in view pixels, largest region first.

    The size of a region is the area of its contour polygon, and equal ones keep OpenCV's order. Holes count as regions,
    as in the original; they are never larger than what is around them. A flat map gives no box.

    Source:
        Gao et al., ICCV 2021 (`get_bboxes`); Choe et al., CVPR 2020, use the same contours.
    """
    contours, _ = cv2.findContours(mask_above(map_, threshold=threshold), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    largest_first = sorted(contours, key=cv2.contourArea, reverse=True)
    boxes = [(x, y, x + width, y + height) for x, y, width, height in map(cv2.boundingRect, largest_first)]
    return np.array(boxes, dtype=float).reshape(-1, 4)
