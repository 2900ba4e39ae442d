"""Intervals equal a naive bootstrap; McNemar's test equals the sum of binomials."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from tscam.metrics.statistics import Difference, difference, interval, mean_scores, resamples


def hits(seed: int, count: int, share: float) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < share).astype(float)


def exact_mcnemar(lost: int, won: int) -> Fraction:
    """Return the two-sided p in exact arithmetic: twice the tail of the rarer change, 1 at most."""
    tail = sum(math.comb(lost + won, rare) for rare in range(min(lost, won) + 1))
    return min(Fraction(1), 2 * Fraction(tail, 2 ** (lost + won)))


def pair(lost: int, won: int, *, both: int = 3, neither: int = 2) -> tuple[np.ndarray, np.ndarray]:
    first = np.repeat([1.0, 0.0, 1.0, 0.0], [lost, won, both, neither])
    second = np.repeat([0.0, 1.0, 1.0, 0.0], [lost, won, both, neither])
    return first, second


def p_of(lost: int, won: int) -> float:
    change = difference(*pair(lost, won), is_hit=True)
    assert change.p is not None
    return change.p


def test_every_sample_draws_as_many_pictures_as_there_are_and_samples_repeat_in_every_run() -> None:
    samples, again = (np.concatenate(list(resamples(7))) for _ in range(2))
    assert samples.shape == (1000, 7)
    assert (samples.sum(axis=1) == 7).all()
    assert np.array_equal(samples, again)
    assert len({row.tobytes() for row in samples}) > 500
    assert samples.mean() == 1
    assert abs(samples.astype(float).var() - 6 / 7) < 0.05  # binomial: 7 draws of chance 1/7


def test_a_picture_is_drawn_as_often_as_any_other() -> None:
    counts = np.concatenate(list(resamples(40))).astype(int).sum(axis=0)
    assert np.abs(counts - 1000).max() < 5 * math.sqrt(1000 * 39 / 40)


def test_the_interval_equals_a_naive_bootstrap() -> None:
    values = np.array([0.0, 0.25, 1.0, 0.7, 0.1])
    random, means = np.random.default_rng(0), []
    for _ in range(1000):
        sample = random.integers(5, size=5)
        means.append(100 * sum(values[index] for index in sample) / 5)
    low, high = np.percentile(means, [2.5, 97.5])
    (score,) = mean_scores(values[:, None])
    assert score.value == pytest.approx(41.0, abs=1e-12)
    assert (score.low, score.high) == pytest.approx((low, high), abs=1e-9)


def test_the_interval_of_few_pictures_is_near_that_of_all_possible_samples() -> None:
    values = np.array([0.0, 0.2, 0.9, 1.0])
    means = [100 * sum(sample) / 4 for sample in itertools.product(values.tolist(), repeat=4)]
    low, high = np.percentile(means, [2.5, 97.5])
    (score,) = mean_scores(values[:, None])
    assert score.low == pytest.approx(low, abs=6)  # 1000 draws from 256 possible samples
    assert score.high == pytest.approx(high, abs=6)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.84])
def test_the_interval_of_many_pictures_is_the_normal_one(share: float) -> None:
    column = hits(1, 4000, share)
    (score,) = mean_scores(column[:, None])
    mean = column.mean()
    half = 1.96 * math.sqrt(mean * (1 - mean) / 4000)
    assert score.value == pytest.approx(100 * mean, abs=1e-12)
    assert score.low == pytest.approx(100 * (mean - half), abs=0.15)
    assert score.high == pytest.approx(100 * (mean + half), abs=0.15)


def test_columns_share_their_samples_and_have_separate_intervals() -> None:
    column = hits(2, 50, 0.6)
    both = mean_scores(np.stack([column, 1 - column], axis=1))
    assert both[0] == mean_scores(column[:, None])[0]
    assert both[1].value == pytest.approx(100 - both[0].value)
    assert (both[1].low, both[1].high) == pytest.approx((100 - both[0].high, 100 - both[0].low))


def test_equal_values_have_an_interval_of_no_width() -> None:
    scores = mean_scores(np.array([[1.0, 0.0]] * 9))
    assert [(score.value, score.low, score.high) for score in scores] == [(100, 100, 100), (0, 0, 0)]


def test_one_picture_is_its_own_interval() -> None:
    (score,) = mean_scores(np.array([[0.37]]))
    assert (score.value, score.low, score.high) == pytest.approx((37, 37, 37))


def test_the_interval_is_the_middle_95_percent() -> None:
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))


@pytest.mark.parametrize(("lost", "won"), [(0, 1), (0, 5), (1, 5), (3, 3), (2, 9), (9, 2), (10, 25), (40, 60)])
def test_mcnemar_equals_the_sum_of_binomials(lost: int, won: int) -> None:
    assert p_of(lost, won) == pytest.approx(float(exact_mcnemar(lost, won)), rel=1e-9)


def test_mcnemar_by_hand() -> None:
    assert p_of(0, 5) == pytest.approx(2 / 32)
    assert p_of(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    assert p_of(5, 1) == p_of(1, 5)


def test_models_that_never_differ_or_equally_often_both_ways_have_p_one() -> None:
    assert p_of(0, 0) == 1
    assert p_of(7, 7) == 1
    assert difference(hits(3, 30, 0.4), hits(3, 30, 0.4), is_hit=True) == Difference(
        value=0.0, low=0.0, high=0.0, p=1.0
    )


def test_pictures_on_which_both_models_agree_do_not_change_p() -> None:
    first, second = pair(3, 11, both=0, neither=0)
    more_first, more_second = pair(3, 11, both=400, neither=300)
    assert difference(first, second, is_hit=True).p == difference(more_first, more_second, is_hit=True).p


def test_fifty_thousand_differing_pictures_do_not_overflow() -> None:
    near, far = p_of(24_900, 25_100), p_of(20_000, 30_000)
    # The normal approximation with its correction for continuity.
    assert near == pytest.approx(math.erfc(199 / math.sqrt(50_000) / math.sqrt(2)), rel=1e-3)
    assert 0 <= far < 1e-300


def test_the_difference_is_the_second_minus_the_first_and_resampled_in_pairs() -> None:
    first, second = pair(10, 30, both=100, neither=60)
    change = difference(first, second, is_hit=True)
    assert change.value == pytest.approx(100 * 20 / 200)
    half = 100 * 1.96 * math.sqrt((40 / 200 - 0.1**2) / 200)
    assert change.low == pytest.approx(10 - half, abs=0.8)
    assert change.high == pytest.approx(10 + half, abs=0.8)
    swapped = difference(second, first, is_hit=True)
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx((-change.value, -change.high, -change.low))
    assert swapped.p == change.p


def test_fractions_have_a_difference_and_no_test() -> None:
    change = difference(np.array([0.2, 0.4, 0.9]), np.array([0.3, 0.5, 0.4]), is_hit=False)
    assert change.value == pytest.approx(-10)
    assert change.p is None
