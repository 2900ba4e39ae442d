"""Maps against masks: the area under the pixels' precision-recall curve, and the IoU of the mask above a threshold."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Num

from tscam.boxes import LEVELS, to_bytes
from tscam.metrics.protocol import PixelProtocol


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelScores:
    """One map against one mask.

    Attributes:
        highest: the largest byte of the map.
        foreground, background: how many pixels of each have a value in each bin of the protocol's thresholds.
        mask_iou: of the pixels above each level 0…255 with the foreground.
    """

    highest: int
    foreground: Int32[np.ndarray, " bins"]
    background: Int32[np.ndarray, " bins"]
    mask_iou: Float32[np.ndarray, " 256"]


def judge_pixels(
    map_: Float[np.ndarray, "H W"],
    *,
    foreground: Bool[np.ndarray, "H W"],
    ignored: Bool[np.ndarray, "H W"],
    protocol: PixelProtocol,
) -> PixelScores:
    """Judges a localization map of values in [0, 1]; ignored pixels do not count, but those that are foreground do."""
    background = ~(foreground | ignored)
    edges = _edges(protocol)
    levels = to_bytes(map_, precision=protocol.precision)
    inside, outside = (np.bincount(levels[part], minlength=LEVELS) for part in (foreground, background))
    above = [of_part.sum() - of_part.cumsum() for of_part in (inside, outside)]
    union = inside.sum() + above[1]
    return PixelScores(
        highest=int(levels.max()),
        foreground=np.histogram(map_[foreground], bins=edges)[0].astype(np.int32),
        background=np.histogram(map_[background], bins=edges)[0].astype(np.int32),
        mask_iou=np.divide(above[0], union, out=np.zeros(LEVELS), where=union > 0).astype(np.float32),
    )


def pixels_of_nothing(
    *, foreground: Bool[np.ndarray, "H W"], ignored: Bool[np.ndarray, "H W"], protocol: PixelProtocol
) -> PixelScores:
    """Those of a picture without a map: as of a map that is zero everywhere."""
    zeros = np.zeros(foreground.shape, dtype=np.float32)
    return judge_pixels(zeros, foreground=foreground, ignored=ignored, protocol=protocol)


def px_ap(foreground: Num[np.ndarray, "*n bins"], background: Num[np.ndarray, "*n bins"]) -> Float[np.ndarray, "*n"]:
    """The area under the precision-recall curve of pixels that are pooled over pictures, in percent.

    Σ P_i · (R_i - R_{i-1}) over the bins from the highest down, where any pixel lies at or above. NaN without
    foreground.

    Source:
        Choe et al., CVPR 2020 (PxAP).
    """
    hits, misses = (part[..., ::-1].cumsum(axis=-1).astype(float) for part in (foreground, background))
    with np.errstate(invalid="ignore"):
        recall = hits / hits[..., -1:]
    seen = hits + misses
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return np.asarray(100.0 * (precision[..., 1:] * np.diff(recall, axis=-1)).sum(axis=-1))


def _edges(protocol: PixelProtocol) -> Float[np.ndarray, " edges"]:
    return np.concatenate([protocol.thresholds, [1.0, 2.0, 3.0]])
