"""A picture's map, its true boxes and masks → that picture, judged under every protocol. Knows nothing of networks.

A `Judge` can be sent to other processes, and so can all it takes and gives.
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
    scores_of_nothing,
    truths_in_view,
)
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.pixels import PixelScores, judge_pixels, pixels_of_nothing
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.metrics.threshold import ThresholdPolicy
from tscam.metrics.ts_cam import BoxRule

Key = TypeVar("Key")
Value = TypeVar("Value")

Protocols = tuple[BoxProtocol | PixelProtocol, ...]

# Why a picture is not judged pixel by pixel.
NO_MASK = "no mask"

# Maps of any size are shown this small.
_SHOWN = 28


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A picture that is to be judged.

    Attributes:
        image, label: its id and class.
        picture_wh, view_wh: width and height of the picture, and of the model's view of it, in pixels.
        truths: its true boxes, half-open, in picture pixels.
        rule: how they are cut to whole pixels under `ts-cam` rounding.
        masks: its segmentation.
        masks_scaled: may masks be of another size than the picture, in its proportions?
        map: the raw map of its class on the patch grid, or the path of a localization map's file.
        top_classes: its most likely classes, best first, where a network said so.
        fault: why it counts as wrong, else empty.
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
        """The picture, judged.

        Raises:
            DataError: a map or mask cannot be read, or is of another size.
        """
        maps = _Maps(task)
        boxes: dict[str, LevelScores] = {}
        pixels: dict[str, PixelScores] = {}
        own_levels: dict[str, int] = {}
        for protocol in self.protocols:
            if isinstance(protocol, PixelProtocol):
                pixels[protocol.name] = _judge_pixels(task, maps, protocol)
            else:
                boxes[protocol.name] = _judge_boxes(task, maps, protocol)
            if self.per_map is not None:
                own_levels[protocol.name] = 0 if task.fault else _level(self.per_map, maps.in_view(protocol), protocol)
        if self.save_to is not None and not task.fault:
            saved = next((each for each in self.protocols if each.view is not None), self.protocols[0])
            write_map(map_path(self.save_to, task.image), maps.in_view(saved))
        return JudgedPicture(
            image=task.image,
            label=task.label,
            top_classes=task.top_classes,
            picture_wh=task.picture_wh,
            truths=task.truths,
            boxes=boxes,
            pixels=pixels,
            own_levels=own_levels,
            shown=maps.shown(),
            fault=task.fault,
        )


def _level(policy: ThresholdPolicy, map_: Float[np.ndarray, "H W"], protocol: BoxProtocol | PixelProtocol) -> int:
    return policy.level(to_bytes(map_, precision=protocol.precision)) or 0


def read_localization_map(path: Path, *, side: int | None) -> Float[np.ndarray, "H W"]:
    """A map as it was saved, of values in [0, 1].

    Args:
        side: in pixels, of the square that it must be.

    Raises:
        DataError: it cannot be read, is of another size, or has other values.
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
        self._leveled: dict[tuple[int | None, str, str], LevelMap] = {}

    def in_view(self, protocol: BoxProtocol | PixelProtocol) -> Float[np.ndarray, "H W"]:
        """The localization map."""
        return _once(self._in_view, _view(protocol), lambda: self._made(protocol))

    def leveled(self, protocol: BoxProtocol | PixelProtocol) -> LevelMap:
        """The same, cut at every level."""
        return _once(
            self._leveled, _view(protocol), lambda: level_map(self.in_view(protocol), precision=protocol.precision)
        )

    def shown(self) -> UInt8[np.ndarray, "h w"]:
        """A small map to look at."""
        given = self._task.map
        if not self._task.fault and isinstance(given, np.ndarray):
            return grid_map(given)
        large = next(iter(self._in_view.values()), None)
        if self._task.fault or large is None:  # Nothing was asked of it.
            return np.zeros((1, 1), dtype=np.uint8)
        return grid_map(np.asarray(cv2.resize(large, (_SHOWN, _SHOWN), interpolation=cv2.INTER_AREA)))

    def _made(self, protocol: BoxProtocol | PixelProtocol) -> Float[np.ndarray, "H W"]:
        given = self._task.map
        if isinstance(given, Path):
            return read_localization_map(given, side=protocol.view)
        assert self._task.view_wh is not None
        return map_in_view(given, protocol, view_wh=self._task.view_wh)


def _view(protocol: BoxProtocol | PixelProtocol) -> tuple[int | None, str, str]:
    return protocol.view, protocol.resize, protocol.precision


def _once(made: dict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    if key not in made:
        made[key] = make()
    return made[key]


def _judge_boxes(task: Task, maps: _Maps, protocol: BoxProtocol) -> LevelScores:
    if task.fault or not len(task.truths):
        return scores_of_nothing(protocol)
    leveled = maps.leveled(protocol)
    height, width = leveled.bytes.shape
    view = View(picture_wh=task.picture_wh, view_wh=(width, height))
    truths = truths_in_view(task.truths, protocol, view=view, rule=task.rule)
    return judge_levels(leveled, truths, protocol)


def _judge_pixels(task: Task, maps: _Maps, protocol: PixelProtocol) -> PixelScores:
    if task.masks is None:
        raise DataError(f"{task.image}: no mask; the protocol {protocol.name!r} compares with masks")
    side = protocol.view
    size_wh = (side, side) if side is not None else (task.view_wh or maps.in_view(protocol).shape[::-1])
    if NO_MASK in task.fault:
        unknown = np.ones(size_wh[::-1], dtype=bool)
        return pixels_of_nothing(foreground=~unknown, ignored=unknown, protocol=protocol)
    foreground, ignored = read_masks(task.masks, size_wh=size_wh, picture_wh=task.picture_wh, scaled=task.masks_scaled)
    if task.fault:
        return pixels_of_nothing(foreground=foreground, ignored=ignored, protocol=protocol)
    return judge_pixels(maps.in_view(protocol), foreground=foreground, ignored=ignored, protocol=protocol)
