"""Threshold policies: how they are read, refused and named, and the level of a map under them."""

import numpy as np
import pytest

from tscam.errors import ConfigError
from tscam.metrics.protocol import protocols
from tscam.metrics.threshold import ThresholdPolicy, best_threshold, threshold_policy


@pytest.mark.parametrize(
    ("text", "name", "parameter", "label"),
    [
        ("model", "model", None, "model"),
        (0.2, "fixed", 0.2, "0.2"),
        ("0.35", "fixed", 0.35, "0.35"),
        (" 1e-3 ", "fixed", 0.001, "0.001"),
        ("val", "val", None, "val"),
        ("pseudo", "pseudo", None, "pseudo"),
        ("otsu", "otsu", None, "otsu"),
        ("oracle", "oracle", None, "oracle"),
        ("percentile:80", "percentile", 80.0, "percentile:80"),
        ("percentile:97.5", "percentile", 97.5, "percentile:97.5"),
    ],
)
def test_a_policy_is_read_from_a_number_or_its_name(
    text: float | str, name: str, parameter: float | None, label: str
) -> None:
    policy = threshold_policy(text)
    assert (policy.name, policy.parameter, policy.label) == (name, parameter, label)
    assert policy.is_per_map == (name in ("otsu", "percentile"))
    assert threshold_policy(policy.label) == policy


def test_the_oracle_is_called_an_oracle() -> None:
    assert threshold_policy("oracle").explained == "ORACLE: best on the scored pictures themselves"
    others = [threshold_policy(text).explained for text in ("model", 0.2, "val", "pseudo", "otsu", "percentile:80")]
    assert not any("ORACLE" in explained for explained in others)
    assert len({*others}) == 6


@pytest.mark.parametrize("text", [0.0, 1.0, -0.1, 1.5, "2", "nan", "inf", "-inf"])
def test_a_number_that_is_no_fraction_is_refused(text: float | str) -> None:
    with pytest.raises(
        ConfigError, match=f"^threshold {text}; expected a fraction of the map's maximum, between 0 and 1$"
    ):
        threshold_policy(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "orcale",
            "threshold 'orcale'; did you mean 'oracle'? expected a number between 0 and 1, or one of model, val",
        ),
        ("best", "threshold 'best'; expected a number between 0 and 1, or one of model, val, pseudo, otsu, oracle, p"),
        ("", "threshold ''; expected a number"),
        ("Otsu", "did you mean 'otsu'?"),
        ("percentile", "did you mean 'percentile:80'?"),
        ("percentile:", "did you mean 'percentile:80'?"),
        ("percentile:0", "did you mean 'percentile:80'?"),
        ("percentile:100", "did you mean 'percentile:80'?"),
        ("percentile:nan", "did you mean 'percentile:80'?"),
        ("percentile:many", "did you mean 'percentile:80'?"),
        ("otsu:3", "did you mean 'otsu'?"),
        ("0,2", "threshold '0,2'; expected a number between 0 and 1"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        threshold_policy(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def naive_otsu(map_: np.ndarray) -> int:
    """Return the level with the largest variance between what is above it and the rest; the first of equals."""
    best, best_level = -1.0, 0
    for level in range(255):
        below, above = map_[map_ <= level], map_[map_ > level]
        if len(below) and len(above):
            between = len(below) * len(above) * (below.mean() - above.mean()) ** 2
            if between > best + 1e-9:
                best, best_level = between, level
    return best_level


@pytest.mark.parametrize("seed", range(5))
def test_otsus_level_separates_a_map_of_two_hills(seed: int) -> None:
    random = np.random.default_rng(seed)
    hills = np.concatenate([random.normal(60, 20, 500), random.normal(170, 25, 300 + 50 * seed)])
    map_ = np.clip(hills, 0, 255).astype(np.uint8).reshape(-1, 50)
    assert threshold_policy("otsu").level(map_) == naive_otsu(map_)


def test_otsus_level_of_a_flat_map_puts_nothing_or_everything_above_it() -> None:
    assert threshold_policy("otsu").level(np.zeros((4, 6), dtype=np.uint8)) == 0
    assert threshold_policy("otsu").level(np.full((4, 6), 9, dtype=np.uint8)) in (0, 9)


@pytest.mark.parametrize("percent", [1, 50, 80, 99.9])
def test_a_percentile_is_the_level_of_that_percentage_of_the_pixels(percent: float) -> None:
    map_ = np.random.default_rng(1).permutation(np.arange(250).repeat(4)).astype(np.uint8).reshape(20, 50)
    level = threshold_policy(f"percentile:{percent}").level(map_)
    assert level == int(np.percentile(np.sort(map_.ravel()), percent))
    assert (map_ > level).mean() == pytest.approx(1 - percent / 100, abs=0.01)


def test_a_policy_with_one_threshold_for_all_maps_gives_no_map_a_level() -> None:
    map_ = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert [threshold_policy(text).level(map_) for text in ("model", 0.2, "val", "pseudo", "oracle")] == [None] * 5


def test_the_threshold_with_most_hits_is_the_best() -> None:
    thresholds = np.arange(0, 1, 0.1)
    hits = np.array([3, 4, 9, 4, 8, 8, 2, 1, 0, 0])
    assert best_threshold(hits, thresholds, nearest_to=0.5) == 2
    assert best_threshold(hits.astype(float), thresholds, nearest_to=0.5) == 2


def test_the_nearest_to_the_published_one_wins_among_equal_thresholds() -> None:
    thresholds = np.arange(0, 1, 0.1)
    hits = np.array([7, 9, 2, 9, 9, 1, 9, 0, 0, 0])
    assert best_threshold(hits, thresholds, nearest_to=0.1) == 1
    assert best_threshold(hits, thresholds, nearest_to=0.33) == 3
    assert best_threshold(hits, thresholds, nearest_to=0.99) == 6


@pytest.mark.parametrize("step", [0.01, 0.001, 0.02])
@pytest.mark.parametrize("published", [0.1, 0.12, 0.2])
def test_the_lowest_wins_among_equally_near_thresholds(step: float, published: float) -> None:
    thresholds = np.arange(0, 1, step)
    index = round(published / step)
    for distance in range(1, 5):
        hits = np.zeros(len(thresholds))
        hits[[index - distance, index + distance]] = 5
        assert best_threshold(hits, thresholds, nearest_to=published) == index - distance, distance


def test_the_best_of_a_flat_curve_is_the_published_one() -> None:
    thresholds = protocols["ts-cam"].thresholds
    for published in (0.1, 0.12):
        best = best_threshold(np.full(len(thresholds), 8), thresholds, nearest_to=published)
        assert thresholds[best] == pytest.approx(published, abs=1e-12)


def test_a_policy_is_a_value() -> None:
    assert ThresholdPolicy(name="fixed", parameter=0.2) == threshold_policy("0.2")
    assert len({threshold_policy("otsu"), threshold_policy("otsu")}) == 1
