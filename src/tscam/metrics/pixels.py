"""Maps and masks: the area under the precision-recall curve of pixels, and the IoU of masks above a threshold."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Num

from tscam.boxes import LEVELS, to_bytes
from tscam.metrics.protocol import PixelProtocol


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelScores:
    """One map compared with one mask.

    Attributes:
        highest: the largest byte of the map.
        foreground, background: histograms of the map's values there, in the bins of the protocol's thresholds.
        mask_iou: IoU of the foreground with the pixels above each level 0…255.
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
    """Judge a localization map of values in [0, 1]; ignored pixels do not count unless they are foreground."""
    background = ~(foreground | ignored)
    edges = _edges(protocol)
    levels = to_bytes(map_, precision=protocol.precision)
    inside, outside = (np.bincount(levels[region], minlength=LEVELS) for region in (foreground, background))
    inside_above, outside_above = (counts.sum() - counts.cumsum() for counts in (inside, outside))
    union = inside.sum() + outside_above
    return PixelScores(
        highest=int(levels.max()),
        foreground=np.histogram(map_[foreground], bins=edges)[0].astype(np.int32),
        background=np.histogram(map_[background], bins=edges)[0].astype(np.int32),
        mask_iou=np.divide(inside_above, union, out=np.zeros(LEVELS), where=union > 0).astype(np.float32),
    )


def judge_empty_map(
    *, foreground: Bool[np.ndarray, "H W"], ignored: Bool[np.ndarray, "H W"], protocol: PixelProtocol
) -> PixelScores:
    """Judge a map of zeros, which stands for a missing one."""
    zeros = np.zeros(foreground.shape, dtype=np.float32)
    return judge_pixels(zeros, foreground=foreground, ignored=ignored, protocol=protocol)


def px_ap(foreground: Num[np.ndarray, "*n bins"], background: Num[np.ndarray, "*n bins"]) -> Float[np.ndarray, "*n"]:
    """Area under the precision-recall curve of pixels that are pooled over pictures, in percent.

    Σ P_i · (R_i - R_{i-1}) over the bins from the highest down, precision 0 where no pixel is at or above a bin. NaN
    without foreground.

    Source:
        Choe et al., CVPR 2020 (PxAP).
    """
    hits, misses = (counts[..., ::-1].cumsum(axis=-1).astype(float) for counts in (foreground, background))
    with np.errstate(invalid="ignore"):
        recall = hits / hits[..., -1:]
    total = hits + misses
    precision = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
    return np.asarray(100.0 * (precision[..., 1:] * np.diff(recall, axis=-1)).sum(axis=-1))


def _edges(protocol: PixelProtocol) -> Float[np.ndarray, " edges"]:
    return np.concatenate([protocol.thresholds, [1.0, 2.0, 3.0]])
