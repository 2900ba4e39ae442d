"""A protocol's numbers at every threshold, over all pictures; what thresholds are chosen on."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tscam.metrics.picture import JudgedPicture
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.metrics.ts_cam import OUTCOMES, Outcome

CLS_WRONG = OUTCOMES.index(Outcome.CLS_WRONG)


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Over pictures, at each threshold.

    Attributes:
        thresholds: rising, in [0, 1).
        pictures: how many were counted.
        hits: by measure how many were right; broken for means over several IoUs, and for IoUs themselves.
        outcomes: how many had each outcome, in the order of `OUTCOMES`; None where the protocol has none.
    """

    thresholds: Float[np.ndarray, " thresholds"]
    pictures: int
    hits: dict[str, Float[np.ndarray, " thresholds"]]
    outcomes: Int[np.ndarray, "thresholds outcomes"] | None

    def percent(self, measure: str) -> Float[np.ndarray, " thresholds"]:
        """A measure in percent."""
        return 100.0 * self.hits[measure] / self.pictures


def measures_at_levels(
    picture: JudgedPicture, protocol: BoxProtocol | PixelProtocol, levels: Int[np.ndarray, " n"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """A picture's measures, each from 0 to 1, at levels of its map; the first is what a threshold is chosen by."""
    if isinstance(protocol, PixelProtocol):
        return {"mean_iou": picture.pixels[protocol.name].mask_iou[levels].astype(float)}
    iou = picture.boxes[protocol.name].iou[levels]
    right = {share: _is_right(iou, share, at_least=protocol.at_least) for share in protocol.ious}
    if protocol.threshold == "best":
        return {measure_of(share, protocol): hits for share, hits in right.items()}
    found = {"gt_known_loc": np.mean(list(right.values()), axis=0)}
    if picture.top_classes:
        strict = [_is_right(iou, share, at_least=protocol.top_k_at_least) for share in protocol.ious]
        found["top1_loc"] = picture.top1_cls * np.mean(strict, axis=0)
        found["top5_loc"] = picture.top5_cls * np.mean(strict, axis=0)
    return found


def measure_of(share: float, protocol: BoxProtocol) -> str:
    """The name of MaxBoxAcc at one IoU."""
    return "max_box_acc" if len(protocol.ious) == 1 else f"max_box_acc_{round(100 * share)}"


def outcomes_at_levels(
    picture: JudgedPicture, protocol: BoxProtocol, levels: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Places in `OUTCOMES`; without classes the class counts as right."""
    found = picture.boxes[protocol.name].outcomes
    assert found is not None
    if picture.top_classes and not picture.top1_cls:
        return np.full(len(levels), CLS_WRONG)
    return found[levels].astype(np.int64)


def curve_of(
    pictures: Iterable[JudgedPicture],
    protocol: BoxProtocol | PixelProtocol,
    *,
    thresholds: Float[np.ndarray, " n"] | None = None,
) -> Curve:
    """Counts all pictures at each of the protocol's thresholds, or those that are given."""
    at = protocol.thresholds if thresholds is None else thresholds
    counted, hits = 0, dict[str, Float[np.ndarray, " n"]]()
    has_outcomes = isinstance(protocol, BoxProtocol) and protocol.outcomes
    outcomes = np.zeros((len(at), len(OUTCOMES)), dtype=np.int64)
    for picture in pictures:
        levels = levels_of(picture, protocol, at)
        counted += 1
        for name, of_picture in measures_at_levels(picture, protocol, levels).items():
            hits[name] = hits.get(name, 0.0) + of_picture
        if isinstance(protocol, BoxProtocol) and has_outcomes:
            outcomes[np.arange(len(at)), outcomes_at_levels(picture, protocol, levels)] += 1
    return Curve(thresholds=at, pictures=counted, hits=hits, outcomes=outcomes if has_outcomes else None)


def levels_of(
    picture: JudgedPicture, protocol: BoxProtocol | PixelProtocol, thresholds: Float[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """The level of its map that each threshold cuts at."""
    judged = picture.pixels if isinstance(protocol, PixelProtocol) else picture.boxes
    return (thresholds * judged[protocol.name].highest).astype(np.int64)


def _is_right(iou: Float[np.ndarray, " n"], share: float, *, at_least: bool) -> Float[np.ndarray, " n"]:
    # As float32, which the IoU is kept in: 0.7 is then as large as the share of 7 pixels in 10.
    limit = np.float32(share)
    return (iou >= limit if at_least else iou > limit).astype(float)
