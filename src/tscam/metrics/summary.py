"""All numbers of a protocol on a split: scores with intervals, curve, errors, groups of pictures."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Int

from tscam.errors import DataError
from tscam.metrics.columns import Columns, columns_of
from tscam.metrics.curves import Curve, curve_of
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.pixels import px_ap
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.metrics.statistics import Score, interval, mean_scores, resamples
from tscam.metrics.threshold import Threshold, best_threshold
from tscam.metrics.ts_cam import OUTCOMES
from tscam.system.loading import batches

_PIXEL_CHUNK = 256  # pictures whose histograms are pooled at once
_IOU_BINS = 20
_SHARES = (0.1, 0.3, 0.5)  # of the picture: bounds between the sizes of objects
_SIZES = ("under 10 % of the picture", "10 to 30 %", "30 to 50 %", "over 50 %")
_COUNTS = ("1 object", "2 objects", "3 or more")


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of pictures: its name, number of pictures, and scores in percent.

    A localization score is None where no picture of the group has an object.
    """

    name: str
    pictures: int
    scores: dict[str, float | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProtocolResult:
    """The numbers of a model on a split under one protocol.

    Attributes:
        threshold_values: τ by measure; none where every map gets its own.
        scores: by measure; percent of all pictures.
        best_threshold: the best τ of the curve, for the measure that chooses thresholds: an oracle's.
        best_outcomes: outcome of every picture at that τ; None where the protocol has no outcomes.
        by_size, by_count, by_class: pictures by the size of their largest object, by number of objects, by class.
    """

    protocol: BoxProtocol | PixelProtocol
    threshold: Threshold
    threshold_values: dict[str, float]
    scores: dict[str, Score]
    curve: Curve
    best_threshold: float
    best_outcomes: Int[np.ndarray, " n"] | None
    columns: Columns
    by_size: list[Group]
    by_count: list[Group]
    by_class: list[Group]

    def describe(self) -> str:
        """The numbers as lines of text, below their protocol and threshold."""
        values = ", ".join(f"{value:g}" for value in dict.fromkeys(self.threshold_values.values()))
        threshold = f"{values} ({self.threshold.explained})" if values else self.threshold.explained
        heading = f"protocol {self.protocol.name}, threshold {threshold}, {self.curve.pictures} pictures"
        lines = [f"{_title(name):>14} {score.describe()}" for name, score in self.scores.items()]
        errors = self.columns.errors() or {}
        return "\n".join([heading, *lines, *(f"{name:>14} {count:6d}" for name, count in errors.items())])

    def to_json(self) -> dict[str, object]:
        """The result as JSON values, for `metrics.json`."""
        curve, errors = self.curve, self.columns.errors()
        ious = self.columns.iou[~np.isnan(self.columns.iou)]
        histogram = np.histogram(ious, bins=_IOU_BINS, range=(0, 1))[0]
        return {
            "settings": self.protocol.settings(),
            "pictures": curve.pictures,
            "threshold": {
                "policy": self.threshold.policy.label,
                "explained": self.threshold.explained,
                "values": self.threshold_values,
            },
            "scores": {name: asdict(score) for name, score in self.scores.items()},
            "errors": errors,
            "best_threshold": self.best_threshold,
            "errors_moved": self._moved(),
            "curve": {
                "thresholds": curve.thresholds.tolist(),
                "scores": {name: curve.percent(name).tolist() for name in curve.hits},
                "errors": None
                if curve.outcomes is None
                else {outcome.value: curve.outcomes[:, index].tolist() for index, outcome in enumerate(OUTCOMES)},
            },
            "iou_histogram": histogram.tolist(),
            "by_size": [asdict(group) for group in self.by_size],
            "by_count": [asdict(group) for group in self.by_count],
            "by_class": [asdict(group) for group in self.by_class],
        }

    def _moved(self) -> dict[str, dict[str, int]] | None:
        """Number of pictures by outcome at the threshold, then by outcome at the best threshold."""
        if self.columns.outcomes is None or self.best_outcomes is None:
            return None
        counts = np.zeros((len(OUTCOMES), len(OUTCOMES)), dtype=np.int64)
        has_object = self.columns.outcomes >= 0
        np.add.at(counts, (self.columns.outcomes[has_object], self.best_outcomes[has_object]), 1)
        return {
            outcome.value: dict(zip([other.value for other in OUTCOMES], row, strict=True))
            for outcome, row in zip(OUTCOMES, counts.tolist(), strict=True)
        }


def summarize(
    pictures: Iterable[JudgedPicture],
    protocol: BoxProtocol | PixelProtocol,
    threshold: Threshold,
    *,
    published: float,
    class_names: tuple[str, ...],
) -> ProtocolResult:
    """Return the result of a protocol.

    Args:
        pictures: at least one; they are iterated several times.
        published: the data set's published threshold; the nearest to it is taken among equally good ones.

    Raises:
        DataError: the protocol compares with masks, and all masks are empty.
    """
    curve = curve_of(pictures, protocol)
    best = {
        name: float(curve.thresholds[best_threshold(hits, curve.thresholds, nearest_to=published)])
        for name, hits in curve.hits.items()
    }
    first = next(iter(best))
    values = _threshold_values(threshold, best)
    columns = columns_of(pictures, protocol, thresholds=values)
    at_best = columns if columns.outcomes is None else columns_of(pictures, protocol, thresholds={first: best[first]})
    scores = dict(zip(columns.measures, mean_scores(np.stack(list(columns.measures.values()), axis=1)), strict=True))
    if isinstance(protocol, PixelProtocol):
        scores = {"px_ap": _px_ap(pictures, protocol, curve.pictures)} | scores
    sizes, counts, labels = _group_indices(pictures)
    return ProtocolResult(
        protocol=protocol,
        threshold=threshold,
        threshold_values=values,
        scores=scores,
        curve=curve,
        best_threshold=best[first],
        best_outcomes=at_best.outcomes,
        columns=columns,
        by_size=_groups(columns, sizes, _SIZES),
        by_count=_groups(columns, counts, _COUNTS),
        by_class=_groups(columns, labels, class_names),
    )


def _threshold_values(threshold: Threshold, best: Mapping[str, float]) -> dict[str, float]:
    """τ by measure; a single τ stands under the first measure, at which boxes and outcomes are read.

    Args:
        best: the best τ on the scored pictures, by measure.
    """
    if threshold.policy.is_per_map:
        return {}
    if threshold.policy.name == "best":
        return dict(best)
    first = next(iter(best))
    return {first: best[first] if threshold.value is None else threshold.value}


def _px_ap(pictures: Iterable[JudgedPicture], protocol: PixelProtocol, count: int) -> Score:
    """Return PxAP with its interval; pixels are pooled over the pictures of each bootstrap sample.

    Raises:
        DataError: no pixel is foreground.
    """
    drawn = np.concatenate(list(resamples(count)))
    weights = np.concatenate([np.ones((1, count), dtype=drawn.dtype), drawn])  # first all pictures, then the samples
    bins = len(protocol.thresholds) + 2
    foreground, background = np.zeros((len(weights), bins)), np.zeros((len(weights), bins))
    done = 0
    for chunk in batches(pictures, _PIXEL_CHUNK):
        scores = [picture.pixels[protocol.name] for picture in chunk]
        chunk_weights = weights[:, done : done + len(chunk)].astype(float)
        foreground += chunk_weights @ np.stack([each.foreground for each in scores]).astype(float)
        background += chunk_weights @ np.stack([each.background for each in scores]).astype(float)
        done += len(chunk)
    areas = px_ap(foreground, background)
    if np.isnan(areas[0]):
        raise DataError(f"protocol {protocol.name!r}: the masks of all {count} pictures are empty; there is no PxAP")
    low, high = interval(areas[1:][~np.isnan(areas[1:])])  # A sample with only empty masks has no area.
    return Score(value=float(areas[0]), low=low, high=high)


def _group_indices(
    pictures: Iterable[JudgedPicture],
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Indices of every picture into `_SIZES`, into `_COUNTS` (-1 without boxes), and into the class names."""
    rows = [(picture.object_share, len(picture.truths), picture.label) for picture in pictures]
    shares, counts, labels = zip(*rows, strict=True)
    sizes = [-1 if share is None else int(np.searchsorted(_SHARES, share, side="right")) for share in shares]
    return np.array(sizes), np.minimum(np.array(counts), len(_COUNTS)) - 1, np.array(labels)


def _groups(columns: Columns, indices: Int[np.ndarray, " n"], names: tuple[str, ...]) -> list[Group]:
    """The groups that have a picture.

    Args:
        indices: the group of every picture by its index in `names`; any other index is in no group.
    """
    inside = (indices >= 0) & (indices < len(names))
    counts = np.bincount(indices[inside], minlength=len(names))
    means: dict[str, list[float | None]] = {}
    for measure, column in columns.measures.items():
        counted = inside & ~np.isnan(column)
        sums = np.bincount(indices[counted], weights=column[counted], minlength=len(names)).tolist()
        parts = np.bincount(indices[counted], minlength=len(names)).tolist()
        means[measure] = [100.0 * total / part if part else None for total, part in zip(sums, parts, strict=True)]
    return [
        Group(
            name=names[index],
            pictures=int(counts[index]),
            scores={measure: values[index] for measure, values in means.items()},
        )
        for index in np.flatnonzero(counts).tolist()
    ]


def _title(measure: str) -> str:
    """The name of a measure for people."""
    return {"top1_cls": "top-1 cls", "top5_cls": "top-5 cls", "top1_loc": "top-1 loc", "top5_loc": "top-5 loc",
            "gt_known_loc": "GT-known loc", "px_ap": "PxAP", "mean_iou": "mean IoU"}.get(measure, measure)  # fmt: skip
