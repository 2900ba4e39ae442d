"""Every picture's part of a protocol's numbers at the chosen threshold, one column a measure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tscam.metrics.curves import levels_of, measures_at_levels, outcomes_at_levels
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.metrics.ts_cam import OUTCOMES


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """One value for every picture, in the order of the pictures.

    Under a protocol of boxes a picture without an object counts for classification, not for localization.

    Attributes:
        measures: by name, in [0, 1], NaN for the localization of a picture without an object; class measures included.
        iou: IoU of the box, NaN without an object; or of the mask.
        boxes: in view pixels; None for masks.
        outcomes: indices into `OUTCOMES`, -1 without an object; None where the protocol has none.
    """

    measures: dict[str, Float[np.ndarray, " n"]]
    iou: Float[np.ndarray, " n"]
    boxes: Int[np.ndarray, "n 4"] | None
    outcomes: Int[np.ndarray, " n"] | None

    def errors(self) -> dict[str, int] | None:
        """Number of pictures with each outcome; None where the protocol has none."""
        if self.outcomes is None:
            return None
        counts = np.bincount(self.outcomes[self.outcomes >= 0], minlength=len(OUTCOMES))
        return {outcome.value: int(count) for outcome, count in zip(OUTCOMES, counts, strict=True)}


def columns_of(
    pictures: Iterable[JudgedPicture], protocol: BoxProtocol | PixelProtocol, *, thresholds: Mapping[str, float]
) -> Columns:
    """The columns of a protocol.

    Args:
        thresholds: τ by measure; empty where every map has its own. IoU, box and outcome are those at the first τ.
    """
    measures: dict[str, list[float]] = {}
    ious, boxes, outcomes = [], [], []
    for picture in pictures:
        levels = _levels(picture, protocol, thresholds)
        first = next(iter(levels.values()))
        measures_at_first = measures_at_levels(picture, protocol, np.array([first]))
        values = {
            name: float(measures_at_levels(picture, protocol, np.array([levels[name]]))[name][0])
            if name in levels
            else float(value[0])
            for name, value in measures_at_first.items()
        }
        if isinstance(protocol, PixelProtocol):
            ious.append(float(picture.pixels[protocol.name].mask_iou[first]))
        else:
            ious.append(float(picture.boxes[protocol.name].iou[first]))
            boxes.append(picture.boxes[protocol.name].boxes[first])
            if protocol.outcomes:
                outcomes.append(int(outcomes_at_levels(picture, protocol, np.array([first]))[0]))
            if not picture.has_object:
                values, ious[-1] = dict.fromkeys(values, math.nan), math.nan
                outcomes[-1:] = [-1] * len(outcomes[-1:])
        if picture.has_classes and not isinstance(protocol, PixelProtocol) and protocol.threshold != "best":
            values = {"top1_cls": float(picture.top1_cls), "top5_cls": float(picture.top5_cls)} | values
        for name, value in values.items():
            measures.setdefault(name, []).append(value)
    columns = {name: np.array(column) for name, column in measures.items()}
    if isinstance(protocol, BoxProtocol) and protocol.threshold == "best" and len(columns) > 1:
        columns = {"max_box_acc_v2": np.mean(list(columns.values()), axis=0)} | columns
    return Columns(
        measures=columns,
        iou=np.array(ious),
        boxes=np.stack(boxes).astype(np.int64) if boxes else None,
        outcomes=np.array(outcomes, dtype=np.int64) if outcomes else None,
    )


def _levels(
    picture: JudgedPicture, protocol: BoxProtocol | PixelProtocol, thresholds: Mapping[str, float]
) -> dict[str, int]:
    """The level of a picture's map at which each measure is read."""
    if not thresholds:
        return {"": picture.map_levels[protocol.name]}
    levels = levels_of(picture, protocol, np.array(list(thresholds.values())))
    return dict(zip(thresholds, levels.tolist(), strict=True))
