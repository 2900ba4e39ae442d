"""A picture's map, its true boxes and masks → that picture, judged under every protocol. Knows nothing of networks.

A `Judge` can be sent to other processes, and so can its tasks and its results.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from tscam.boxes import to_bytes
from tscam.datasets.mask_files import Masks, read_masks
from tscam.errors import DataError
from tscam.evaluation.score_maps import map_path, read_map, write_map
from tscam.geometry import View
from tscam.localization import grid_map
from tscam.metrics.levels import (
    LevelMap,
    LevelScores,
    judge_levels,
    level_map,
    map_in_view,
    truths_in_view,
    wrong_at_every_level,
)
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.pixels import PixelScores, judge_empty_map, judge_pixels
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.metrics.threshold import ThresholdPolicy
from tscam.metrics.ts_cam import BoxRule

Key = TypeVar("Key")
Value = TypeVar("Value")

Protocols = tuple[BoxProtocol | PixelProtocol, ...]

# Why a picture is not judged pixel by pixel.
NO_MASK = "no mask"

# Why a picture is not judged at all.
UNREADABLE = "the picture cannot be read"

# Side of the small map of a picture whose map is not on a patch grid.
_SMALL_SIDE = 28


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A picture to judge.

    Attributes:
        image, label: its id and class.
        picture_wh, view_wh: width and height of the picture, and of the model's view of it, in pixels.
        truths: its true boxes, half-open, in picture pixels.
        rule: how true boxes are rounded to whole pixels under `ts-cam` rounding.
        masks: its segmentation.
        masks_scaled: True if masks may differ in size from the picture, not in proportions.
        map: the raw map of its class on the patch grid, or the path of a localization map's file.
        top_classes: its most likely classes, best first; empty without class scores.
        fault: why it counts as wrong, else empty.
        is_unclassified: True if its class counts as wrong since the model could not see it.
    """

    image: str
    label: int
    picture_wh: tuple[int, int]
    view_wh: tuple[int, int] | None
    truths: Float[np.ndarray, "m 4"]
    rule: BoxRule
    masks: Masks | None
    map: Float[np.ndarray, "h w"] | Path
    masks_scaled: bool = False
    top_classes: tuple[int, ...] = ()
    fault: str = ""
    is_unclassified: bool = False


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges pictures.

    Attributes:
        protocols: the protocols under which every picture is judged.
        per_map: the policy that gives every map its own threshold; None where one threshold serves all maps.
        save_to: folder for the localization maps; None writes none.
    """

    protocols: Protocols
    per_map: ThresholdPolicy | None = None
    save_to: Path | None = None

    def __call__(self, task: Task) -> JudgedPicture:
        """Judge a picture.

        Raises:
            DataError: a map or mask cannot be read, or has another size.
        """
        maps = _Maps(task)
        boxes: dict[str, LevelScores] = {}
        pixels: dict[str, PixelScores] = {}
        map_levels: dict[str, int] = {}
        for protocol in self.protocols:
            if isinstance(protocol, PixelProtocol):
                pixels[protocol.name] = _judge_pixels(task, maps, protocol)
            else:
                boxes[protocol.name] = _judge_boxes(task, maps, protocol)
            if self.per_map is not None:
                map_levels[protocol.name] = 0 if task.fault else _level(self.per_map, maps.in_view(protocol), protocol)
        if self.save_to is not None and not task.fault:
            saved = next((protocol for protocol in self.protocols if protocol.view is not None), self.protocols[0])
            write_map(map_path(self.save_to, task.image), maps.in_view(saved))
        return JudgedPicture(
            image=task.image,
            label=task.label,
            top_classes=task.top_classes,
            picture_wh=task.picture_wh,
            truths=task.truths,
            boxes=boxes,
            pixels=pixels,
            map_levels=map_levels,
            small_map=maps.small(),
            fault=task.fault,
            is_unclassified=task.is_unclassified,
        )


def read_localization_map(path: Path, *, side: int | None) -> Float[np.ndarray, "H W"]:
    """A saved map, of values in [0, 1].

    Args:
        side: required side of the square map, in pixels; None takes any size.

    Raises:
        DataError: it cannot be read, has another size, or other values.
    """
    map_ = read_map(path, size_hw=None if side is None else (side, side))
    if map_.min() < 0 or map_.max() > 1:
        raise DataError(f"{path}: values from {map_.min():g} to {map_.max():g}; expected 0 to 1, scale the map")
    return map_


class _Maps:
    """The map of a picture in the view of each protocol; protocols of one view share it."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._in_view: dict[tuple[int | None, str, str], Float[np.ndarray, "H W"]] = {}
        self._by_level: dict[tuple[int | None, str, str], LevelMap] = {}

    def in_view(self, protocol: BoxProtocol | PixelProtocol) -> Float[np.ndarray, "H W"]:
        """The localization map."""
        return _cached(self._in_view, _view(protocol), lambda: self._make(protocol))

    def by_level(self, protocol: BoxProtocol | PixelProtocol) -> LevelMap:
        """The localization map, cut at every level."""
        return _cached(
            self._by_level, _view(protocol), lambda: level_map(self.in_view(protocol), precision=protocol.precision)
        )

    def small(self) -> UInt8[np.ndarray, "h w"]:
        """A small map for people: the raw map, or a saved one made small; zeros where no protocol needed a map."""
        map_ = self._task.map
        if not self._task.fault and isinstance(map_, np.ndarray):
            return grid_map(map_)
        large = next(iter(self._in_view.values()), None)
        if self._task.fault or large is None:
            return np.zeros((1, 1), dtype=np.uint8)
        return grid_map(np.asarray(cv2.resize(large, (_SMALL_SIDE, _SMALL_SIDE), interpolation=cv2.INTER_AREA)))

    def _make(self, protocol: BoxProtocol | PixelProtocol) -> Float[np.ndarray, "H W"]:
        map_ = self._task.map
        if isinstance(map_, Path):
            return read_localization_map(map_, side=protocol.view)
        assert self._task.view_wh is not None
        return map_in_view(map_, protocol, view_wh=self._task.view_wh)


def _view(protocol: BoxProtocol | PixelProtocol) -> tuple[int | None, str, str]:
    return protocol.view, protocol.resize, protocol.precision


def _cached(values: dict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    if key not in values:
        values[key] = make()
    return values[key]


def _level(policy: ThresholdPolicy, map_: Float[np.ndarray, "H W"], protocol: BoxProtocol | PixelProtocol) -> int:
    return policy.level(to_bytes(map_, precision=protocol.precision)) or 0


def _judge_boxes(task: Task, maps: _Maps, protocol: BoxProtocol) -> LevelScores:
    if task.fault or not len(task.truths):
        return wrong_at_every_level(protocol)
    map_ = maps.by_level(protocol)
    height, width = map_.bytes.shape
    view = View(picture_wh=task.picture_wh, view_wh=(width, height))
    truths = truths_in_view(task.truths, protocol, view=view, rule=task.rule)
    return judge_levels(map_, truths, protocol)


def _judge_pixels(task: Task, maps: _Maps, protocol: PixelProtocol) -> PixelScores:
    if task.masks is None:
        raise DataError(f"{task.image}: no mask; the protocol {protocol.name!r} compares with masks")
    side = protocol.view
    size_wh = (side, side) if side is not None else (task.view_wh or maps.in_view(protocol).shape[::-1])
    if NO_MASK in task.fault or UNREADABLE in task.fault:
        unknown = np.ones(size_wh[::-1], dtype=bool)
        return judge_empty_map(foreground=~unknown, ignored=unknown, protocol=protocol)
    foreground, ignored = read_masks(task.masks, size_wh=size_wh, picture_wh=task.picture_wh, scaled=task.masks_scaled)
    if task.fault:
        return judge_empty_map(foreground=foreground, ignored=ignored, protocol=protocol)
    return judge_pixels(maps.in_view(protocol), foreground=foreground, ignored=ignored, protocol=protocol)
