"""One picture's map under a box protocol, at every level that a threshold can cut at.

A threshold τ cuts a map at level `int(τ · its largest byte)`; of all thresholds at most 256 differ. So a picture is
judged once for each level, and any number of thresholds only looks results up.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, Int16, UInt8

from tscam.boxes import LEVELS, LevelBoxes, boxes_by_level, localization_map, to_bytes
from tscam.geometry import View
from tscam.metrics.overlap import Overlaps, overlaps
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.metrics.ts_cam import OUTCOMES, BoxRule, Outcome, ground_truth_in_view, outcomes_of

_INTERPOLATIONS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelScores:
    """A map's boxes at each level 0…255, judged.

    Attributes:
        highest: the largest byte of the map.
        iou: of the box with the true box that it overlaps most; of several boxes the best.
        boxes: the box of the largest region; view pixels, as the protocol clips it.
        outcomes: places in `OUTCOMES`, as if the picture's class were right; None where the protocol has none.
    """

    highest: int
    iou: Float32[np.ndarray, " 256"]  # exact enough: two shares of whole pixels differ by more than its rounding
    boxes: Int16[np.ndarray, "256 4"]
    outcomes: UInt8[np.ndarray, " 256"] | None

    def levels(self, thresholds: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The level that each threshold cuts at."""
        return (thresholds * self.highest).astype(np.int64)


def map_in_view(
    raw: Float[np.ndarray, "h w"], protocol: BoxProtocol | PixelProtocol, *, view_wh: tuple[int, int]
) -> Float[np.ndarray, "H W"]:
    """A raw map as a protocol compares it: resized, then scaled to [0, 1].

    Args:
        view_wh: width and height of the model's view in pixels, where the protocol has none of its own.
    """
    size_wh = view_wh if protocol.view is None else (protocol.view, protocol.view)
    return localization_map(raw, size_wh=size_wh, interpolation=_INTERPOLATIONS[protocol.resize])


def truths_in_view(
    boxes: Float[np.ndarray, "m 4"], protocol: BoxProtocol, *, view: View, rule: BoxRule
) -> Int[np.ndarray, "_ 4"]:
    """True boxes as a protocol compares them, in whole pixels of the view.

    Args:
        boxes: half-open, in picture pixels; at least one.
        view: of the size in which they are compared.
        rule: how a data set's boxes are cut to whole picture pixels, under `ts-cam` rounding.
    """
    counted = boxes[:1] if protocol.truths == "first" else boxes
    if protocol.truth_rounding == "ts-cam":
        return ground_truth_in_view(counted, view=view, rule=rule)
    size, picture = np.array(view.view_wh * 2, dtype=float), np.array(view.picture_wh * 2, dtype=float)
    return np.trunc(counted * size / picture).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelMap:
    """A localization map in bytes, and its boxes at all levels; what protocols of one view have in common."""

    bytes: UInt8[np.ndarray, "H W"]
    found: LevelBoxes


def level_map(map_: Float[np.ndarray, "H W"], *, precision: Literal["float32", "float64"] = "float32") -> LevelMap:
    """A localization map of values in [0, 1], cut at every level."""
    cut = to_bytes(map_, precision=precision)
    return LevelMap(bytes=cut, found=boxes_by_level(cut))


def judge_levels(map_: LevelMap, truths: Int[np.ndarray, "m 4"], protocol: BoxProtocol) -> LevelScores:
    """Judges the boxes of a map against true boxes from `truths_in_view`, at every level."""
    found, size_hw = map_.found, map_.bytes.shape
    largest = _as_compared(found.boxes[found.largest], protocol, size_hw)
    of_largest = overlaps(largest, truths, edges=protocol.edges)
    if protocol.contours == "largest":
        iou = of_largest.iou.max(axis=1)
    else:
        boxes = _as_compared(found.boxes, protocol, size_hw)
        best = overlaps(boxes, truths, edges=protocol.edges).iou.max(axis=1)
        iou = np.maximum.reduceat(best, found.starts) if len(best) else best
    none = np.array([protocol.no_box], dtype=np.int64)
    of_none = overlaps(none, truths, edges=protocol.edges)
    rows = found.row_of_level
    return LevelScores(
        highest=int(map_.bytes.max()),
        iou=np.append(iou, of_none.iou.max()).astype(np.float32)[rows],
        boxes=np.concatenate([largest, none]).astype(np.int16)[rows],
        outcomes=np.append(_outcomes(of_largest), _outcomes(of_none))[rows] if protocol.outcomes else None,
    )


def scores_of_nothing(protocol: BoxProtocol) -> LevelScores:
    """Those of a picture without a map or without a true box: wrong at every level."""
    wrong = np.full(LEVELS, OUTCOMES.index(Outcome.WRONG), dtype=np.uint8)
    return LevelScores(
        highest=LEVELS - 1,
        iou=np.zeros(LEVELS, dtype=np.float32),
        boxes=np.tile(np.array(protocol.no_box, dtype=np.int16), (LEVELS, 1)),
        outcomes=wrong if protocol.outcomes else None,
    )


def _as_compared(
    boxes: Int[np.ndarray, "n 4"], protocol: BoxProtocol, size_hw: tuple[int, ...]
) -> Int[np.ndarray, "n 4"]:
    if not protocol.clip:
        return boxes
    height, width = size_hw
    return np.minimum(boxes, np.array([width, height, width - 1, height - 1]))


def _outcomes(found: Overlaps) -> UInt8[np.ndarray, " n"]:
    # A map that is flat at every level has no row with a box.
    return outcomes_of(found) if len(found.iou) else np.empty(0, dtype=np.uint8)
