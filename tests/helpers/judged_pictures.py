"""Judged pictures made by hand: IoUs at each level instead of maps, for tests of the metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tscam.metrics.levels import LevelScores
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.pixels import PixelScores
from tscam.metrics.protocol import BoxProtocol, PixelProtocol, protocols
from tscam.metrics.ts_cam import OUTCOMES, Outcome


def box_protocol(name: str, /, **changes: object) -> BoxProtocol:
    """Return a registered protocol of boxes with some settings changed."""
    protocol = protocols[name]
    assert isinstance(protocol, BoxProtocol)
    return replace(protocol, **changes)  # type: ignore[arg-type]


def pixel_protocol(name: str = "pxap", /, **changes: object) -> PixelProtocol:
    """Return a registered protocol of masks with some settings changed."""
    protocol = protocols[name]
    assert isinstance(protocol, PixelProtocol)
    return replace(protocol, **changes)  # type: ignore[arg-type]


def scores(
    iou: float | Sequence[float], *, highest: int = 255, outcome: Outcome | Sequence[Outcome] | None = None
) -> LevelScores:
    """Return the scores of one IoU at all levels, or of 256 IoUs; the box of level t is (0, 0, t, 7)."""
    outcomes = [outcome] * 256 if isinstance(outcome, Outcome) else outcome
    return LevelScores(
        highest=highest,
        iou=np.broadcast_to(np.array(iou, dtype=np.float32), 256),
        boxes=np.array([(0, 0, level, 7) for level in range(256)], dtype=np.int16),
        outcomes=None if outcomes is None else np.array(list(map(OUTCOMES.index, outcomes)), dtype=np.uint8),
    )


def picture(
    boxes: Mapping[str, LevelScores] | None = None,
    *,
    image: str = "a.png",
    label: int = 0,
    top_classes: tuple[int, ...] = (),
    truths: Sequence[Sequence[float]] = ((0, 0, 10, 10),),
    pixels: Mapping[str, PixelScores] | None = None,
    map_levels: Mapping[str, int] | None = None,
) -> JudgedPicture:
    """Return a judged picture of 100 by 50 pixels."""
    return JudgedPicture(
        image=image, label=label, top_classes=top_classes, picture_wh=(100, 50),
        truths=np.array(truths, dtype=float).reshape(-1, 4), boxes=boxes or {}, pixels=pixels or {},
        map_levels=map_levels or {}, small_map=np.zeros((2, 3), dtype=np.uint8),
    )  # fmt: skip
