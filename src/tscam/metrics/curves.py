"""A protocol's numbers at every threshold, over all pictures; thresholds are chosen on them."""

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
    """Numbers over pictures at each threshold; under a protocol of boxes, over the pictures with an object.

    Attributes:
        thresholds: ascending, in [0, 1).
        pictures: number of pictures.
        hits: by measure, number of right pictures; fractional for means over several IoUs, and for IoUs themselves.
        outcomes: number of pictures with each outcome, in the order of `OUTCOMES`; None where the protocol has none.
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
    """A picture's measures, each in [0, 1], at levels of its map; the first one chooses thresholds."""
    if isinstance(protocol, PixelProtocol):
        return {"mean_iou": picture.pixels[protocol.name].mask_iou[levels].astype(float)}
    iou = picture.boxes[protocol.name].iou[levels]
    hits = {limit: _hits(iou, limit, at_least=protocol.at_least) for limit in protocol.ious}
    if protocol.threshold == "best":
        return {_max_box_acc_name(limit, protocol): each for limit, each in hits.items()}
    measures = {"gt_known_loc": np.mean(list(hits.values()), axis=0)}
    if picture.has_classes:
        top_k_hits = [_hits(iou, limit, at_least=protocol.top_k_at_least) for limit in protocol.ious]
        measures["top1_loc"] = picture.top1_cls * np.mean(top_k_hits, axis=0)
        measures["top5_loc"] = picture.top5_cls * np.mean(top_k_hits, axis=0)
    return measures


def outcomes_at_levels(
    picture: JudgedPicture, protocol: BoxProtocol, levels: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Outcomes at levels of a picture's map, as indices into `OUTCOMES`; without class scores its class is right."""
    outcomes = picture.boxes[protocol.name].outcomes
    assert outcomes is not None
    if picture.has_classes and not picture.top1_cls:
        return np.full(len(levels), CLS_WRONG)
    return outcomes[levels].astype(np.int64)


def curve_of(
    pictures: Iterable[JudgedPicture],
    protocol: BoxProtocol | PixelProtocol,
    *,
    thresholds: Float[np.ndarray, " n"] | None = None,
) -> Curve:
    """Count the right pictures at each threshold; a protocol of boxes counts pictures with an object alone.

    Args:
        thresholds: ascending; by default the protocol's.
    """
    if thresholds is None:
        thresholds = protocol.thresholds
    count, hits = 0, dict[str, Float[np.ndarray, " n"]]()
    has_outcomes = isinstance(protocol, BoxProtocol) and protocol.outcomes
    outcomes = np.zeros((len(thresholds), len(OUTCOMES)), dtype=np.int64)
    for picture in pictures:
        if isinstance(protocol, BoxProtocol) and not picture.has_object:
            continue
        levels = levels_of(picture, protocol, thresholds)
        count += 1
        for name, values in measures_at_levels(picture, protocol, levels).items():
            hits[name] = hits.get(name, 0.0) + values
        if isinstance(protocol, BoxProtocol) and has_outcomes:
            outcomes[np.arange(len(thresholds)), outcomes_at_levels(picture, protocol, levels)] += 1
    return Curve(thresholds=thresholds, pictures=count, hits=hits, outcomes=outcomes if has_outcomes else None)


def levels_of(
    picture: JudgedPicture, protocol: BoxProtocol | PixelProtocol, thresholds: Float[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """The level at which each threshold cuts a picture's map."""
    scores = picture.pixels if isinstance(protocol, PixelProtocol) else picture.boxes
    return (thresholds * scores[protocol.name].highest).astype(np.int64)


def _max_box_acc_name(limit: float, protocol: BoxProtocol) -> str:
    return "max_box_acc" if len(protocol.ious) == 1 else f"max_box_acc_{round(100 * limit)}"


def _hits(iou: Float[np.ndarray, " n"], limit: float, *, at_least: bool) -> Float[np.ndarray, " n"]:
    # float32 as the IoUs are: 0.7 is then equal to the IoU of 7 pixels in 10.
    exact = np.float32(limit)
    return (iou >= exact if at_least else iou > exact).astype(float)
