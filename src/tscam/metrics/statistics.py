"""Uncertainty of numbers: bootstrap intervals over pictures, paired tests of two models on the same pictures."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt16

_SEED = 0
_REPLICATES = 1000
_AT_ONCE = 50  # replicates: for a million pictures they take a tenth of a gigabyte
CONFIDENCE = 95.0


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number in percent, and the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def describe(self) -> str:
        return f"{self.value:6.2f} %  [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference between two models on the same pictures: the second minus the first, in percent.

    Attributes:
        low, high: bounds of the 95 % paired bootstrap interval.
        p: two-sided p of the exact McNemar test; None for measures that are not right or wrong.
    """

    value: float
    low: float
    high: float
    p: float | None


def resamples(pictures: int) -> Iterator[UInt16[np.ndarray, "r n"]]:
    """Counts of each picture in each of 1000 bootstrap samples, some samples at a time; the same at every call."""
    random = np.random.default_rng(_SEED)
    for _ in range(_REPLICATES // _AT_ONCE):
        drawn = np.zeros((_AT_ONCE, pictures), dtype=np.uint16)
        for row in drawn:
            row[:] = np.bincount(random.integers(pictures, size=pictures), minlength=pictures)
        yield drawn


def interval(samples: Float[np.ndarray, " r"]) -> tuple[float, float]:
    """Bounds of the middle 95 % of bootstrap samples.

    Source:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval).
    """
    outside = (100 - CONFIDENCE) / 2
    low, high = np.percentile(samples, [outside, 100 - outside])
    return float(low), float(high)


def mean_scores(columns: Float[np.ndarray, "n k"]) -> list[Score]:
    """The mean of each column over pictures, in percent, with intervals.

    Args:
        columns: values in [0, 1], NaN for a picture that a measure does not count.
    """
    if np.isnan(columns).any():
        return [_mean_of_counted(column) for column in columns.T]
    pictures = len(columns)
    samples = np.concatenate([drawn @ columns for drawn in resamples(pictures)]) * (100 / pictures)
    scores = []
    for column, column_samples in zip(columns.T, samples.T, strict=True):
        low, high = interval(column_samples)
        scores.append(Score(value=100 * float(column.sum()) / pictures, low=low, high=high))
    return scores


def _mean_of_counted(column: Float[np.ndarray, " n"]) -> Score:
    """The mean of one column over the pictures that count; a sample without any has no mean, and is left out."""
    counted = ~np.isnan(column)
    terms = np.stack([np.where(counted, column, 0.0), counted], axis=1)
    sums = np.concatenate([drawn @ terms for drawn in resamples(len(column))])
    drawn_any = sums[:, 1] > 0
    low, high = interval(100 * sums[drawn_any, 0] / sums[drawn_any, 1])
    total, pictures = terms.sum(axis=0).tolist()
    return Score(value=100 * total / pictures, low=low, high=high)


def difference(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], *, is_hit: bool) -> Difference:
    """The difference between the values of two models on the same pictures.

    Args:
        is_hit: True if all values are 0 or 1; only then there is a p.

    Source:
        McNemar, Psychometrika 1947, in its exact form: on the pictures where two equally good models differ, each is
        right in half of the cases.
    """
    score = mean_scores((second - first)[:, None])[0]
    p = _mcnemar(first > 0.5, second > 0.5) if is_hit else None
    return Difference(value=score.value, low=score.low, high=score.high, p=p)


def _mcnemar(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]) -> float:
    lost, won = int((first & ~second).sum()), int((second & ~first).sum())
    differing = lost + won
    logs = [
        math.lgamma(differing + 1) - math.lgamma(rare + 1) - math.lgamma(differing - rare + 1) - differing * math.log(2)
        for rare in range(min(lost, won) + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))
