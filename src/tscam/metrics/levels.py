"""One picture's map under a box protocol, at every level at which a threshold can cut it.

A threshold τ cuts a map at level `int(τ · its largest byte)`, so at most 256 thresholds differ. A picture is therefore
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
    """Scores of a map's boxes at each level 0…255.

    Attributes:
        highest: the largest byte of the map.
        iou: largest IoU of a box that the protocol compares with a true box.
        boxes: the box of the largest region; view pixels, as the protocol clips it.
        outcomes: indices into `OUTCOMES`, as if the picture's class were right; None where the protocol has none.
    """

    highest: int
    iou: Float32[np.ndarray, " 256"]  # exact enough: IoUs of whole pixels differ by more than its rounding
    boxes: Int16[np.ndarray, "256 4"]
    outcomes: UInt8[np.ndarray, " 256"] | None

    def levels(self, thresholds: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The level at which each threshold cuts the map."""
        return (thresholds * self.highest).astype(np.int64)


def map_in_view(
    raw: Float[np.ndarray, "h w"], protocol: BoxProtocol | PixelProtocol, *, view_wh: tuple[int, int]
) -> Float[np.ndarray, "H W"]:
    """A raw map as a protocol compares it: resized, then scaled to [0, 1].

    Args:
        view_wh: width and height of the model's view in pixels, for protocols without a view size.
    """
    size_wh = view_wh if protocol.view is None else (protocol.view, protocol.view)
    return localization_map(raw, size_wh=size_wh, interpolation=_INTERPOLATIONS[protocol.resize])


def truths_in_view(
    boxes: Float[np.ndarray, "m 4"], protocol: BoxProtocol, *, view: View, rule: BoxRule
) -> Int[np.ndarray, "_ 4"]:
    """True boxes as a protocol compares them, in whole pixels of the view.

    Args:
        boxes: half-open, in picture pixels; at least one.
        view: view of the size in which boxes are compared.
        rule: how a data set's boxes are truncated to whole picture pixels, under `ts-cam` rounding.
    """
    compared = boxes[:1] if protocol.truths == "first" else boxes
    if protocol.truth_rounding == "ts-cam":
        return ground_truth_in_view(compared, view=view, rule=rule)
    size, picture = np.array(view.view_wh * 2, dtype=float), np.array(view.picture_wh * 2, dtype=float)
    return np.trunc(compared * size / picture).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelMap:
    """A localization map in bytes, and its boxes at all levels; protocols of one view share it."""

    bytes: UInt8[np.ndarray, "H W"]
    boxes: LevelBoxes


def level_map(map_: Float[np.ndarray, "H W"], *, precision: Literal["float32", "float64"] = "float32") -> LevelMap:
    """A localization map of values in [0, 1], cut at every level."""
    levels = to_bytes(map_, precision=precision)
    return LevelMap(bytes=levels, boxes=boxes_by_level(levels))


def judge_levels(map_: LevelMap, truths: Int[np.ndarray, "m 4"], protocol: BoxProtocol) -> LevelScores:
    """Compare the boxes of a map with true boxes from `truths_in_view`, at every level."""
    by_level, size_hw = map_.boxes, map_.bytes.shape
    largest = _as_compared(by_level.boxes[by_level.largest], protocol, size_hw)
    largest_overlaps = overlaps(largest, truths, edges=protocol.edges)
    if protocol.contours == "largest":
        iou = largest_overlaps.iou.max(axis=1)
    else:
        boxes = _as_compared(by_level.boxes, protocol, size_hw)
        best = overlaps(boxes, truths, edges=protocol.edges).iou.max(axis=1)
        iou = np.maximum.reduceat(best, by_level.starts) if len(best) else best
    no_box = np.array([protocol.no_box], dtype=np.int64)
    no_box_overlaps = overlaps(no_box, truths, edges=protocol.edges)
    rows = by_level.row_of_level
    return LevelScores(
        highest=int(map_.bytes.max()),
        iou=np.append(iou, no_box_overlaps.iou.max()).astype(np.float32)[rows],
        boxes=np.concatenate([largest, no_box]).astype(np.int16)[rows],
        outcomes=np.append(_outcomes(largest_overlaps), _outcomes(no_box_overlaps))[rows]
        if protocol.outcomes
        else None,
    )


def wrong_at_every_level(protocol: BoxProtocol) -> LevelScores:
    """Scores of a picture without a map or without a true box."""
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


def _outcomes(box_overlaps: Overlaps) -> UInt8[np.ndarray, " n"]:
    # A map that is flat at every level has no row with a box.
    return outcomes_of(box_overlaps) if len(box_overlaps.iou) else np.empty(0, dtype=np.uint8)
