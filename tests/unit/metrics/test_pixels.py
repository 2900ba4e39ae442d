"""PxAP equals a loop over pixels and thresholds; the IoU of masks equals a loop over levels."""

from dataclasses import replace

import numpy as np
import pytest

from tscam.metrics.pixels import PixelScores, judge_empty_map, judge_pixels, px_ap
from tscam.metrics.protocol import PixelProtocol, protocols

HEIGHT, WIDTH = 13, 17


def protocol(step: float = 0.1) -> PixelProtocol:
    base = protocols["pxap"]
    assert isinstance(base, PixelProtocol)
    return replace(base, step=step)


def random_picture(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a map from 0 to 1, foreground, and ignored pixels of which some are foreground."""
    random = np.random.default_rng(seed)
    map_ = np.round(random.random((HEIGHT, WIDTH)), 2).astype(np.float32)
    map_[0, 0], map_[1, 1] = 0, 1
    return map_, random.random((HEIGHT, WIDTH)) < 0.3, random.random((HEIGHT, WIDTH)) < 0.2


def naive_px_ap(pictures: list[tuple[np.ndarray, np.ndarray, np.ndarray]], step: float) -> float:
    """Return the area under precision and recall at each edge of a bin, from the highest down."""
    values, is_object = [], []
    for map_, foreground, ignored in pictures:
        for y in range(HEIGHT):
            for x in range(WIDTH):
                if foreground[y, x] or not ignored[y, x]:
                    values.append(float(map_[y, x]))
                    is_object.append(bool(foreground[y, x]))
    area, recall_before = 0.0, 0.0
    for edge in sorted([*np.arange(0, 1, step).tolist(), 1.0], reverse=True):
        hits = sum(inside and value >= edge for value, inside in zip(values, is_object, strict=True))
        predicted = sum(value >= edge for value in values)
        if predicted:
            recall = hits / sum(is_object)
            area += hits / predicted * (recall - recall_before)
            recall_before = recall
    return 100 * area


def judged(picture: tuple[np.ndarray, np.ndarray, np.ndarray], step: float = 0.1) -> PixelScores:
    map_, foreground, ignored = picture
    return judge_pixels(map_, foreground=foreground, ignored=ignored, protocol=protocol(step))


@pytest.mark.parametrize("step", [0.1, 0.05, 0.3])
def test_the_area_equals_the_loop_over_all_pixels_of_all_pictures(step: float) -> None:
    pictures = [random_picture(seed) for seed in range(3)]
    scores = [judged(picture, step) for picture in pictures]
    area = px_ap(sum(one.foreground for one in scores), sum(one.background for one in scores))  # type: ignore[arg-type]
    assert float(area) == pytest.approx(naive_px_ap(pictures, step), abs=1e-9)


def test_each_row_of_histograms_gives_one_area() -> None:
    scores = [judged(random_picture(seed)) for seed in range(4)]
    stacked = px_ap(np.stack([one.foreground for one in scores]), np.stack([one.background for one in scores]))
    assert stacked.tolist() == [float(px_ap(one.foreground, one.background)) for one in scores]


def test_the_recall_of_the_highest_bin_counts() -> None:
    # Two of the 4 object pixels are alone in the highest bin, two below it beside 6 others: 0.5 · 1 + 0.5 · 4/10.
    assert float(px_ap(np.array([2, 2, 0]), np.array([6, 0, 0]))) != float(
        px_ap(np.array([0, 2, 2]), np.array([0, 6, 0]))
    )
    map_ = np.array([[1.0, 1.0, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]], dtype=np.float32)
    foreground = np.array([[True] * 4 + [False] * 6])
    scores = judge_pixels(map_, foreground=foreground, ignored=np.zeros_like(foreground), protocol=protocol())
    assert float(px_ap(scores.foreground, scores.background)) == pytest.approx(100 * (0.5 * 1 + 0.5 * 4 / 10))


def test_a_perfect_map_has_the_whole_area_and_an_inverted_one_the_objects_fraction() -> None:
    foreground = np.zeros((HEIGHT, WIDTH), dtype=bool)
    foreground[2:7, 3:12] = True
    for map_, area in ((foreground, 100.0), (~foreground, 100 * 45 / (HEIGHT * WIDTH))):
        scores = judged((map_.astype(np.float32), foreground, np.zeros_like(foreground)))
        assert float(px_ap(scores.foreground, scores.background)) == pytest.approx(area, abs=1e-12)


def test_ignored_pixels_are_dropped_unless_they_are_foreground() -> None:
    map_, foreground, ignored = random_picture(5)
    scores = judged((map_, foreground, ignored))
    assert scores.foreground.sum() == foreground.sum()
    assert scores.background.sum() == (~foreground & ~ignored).sum()
    for level in (0, 40, 130, 254, 255):
        above = (map_ * np.float32(255)).astype(np.uint8) > level
        counted = above & (foreground | ~ignored)
        union = (counted | foreground).sum()
        assert scores.mask_iou[level] == np.float32((above & foreground).sum() / union), level


def test_the_iou_of_masks_equals_the_loop_over_levels() -> None:
    for seed in range(3):
        map_, foreground, _ = random_picture(seed)
        dim = map_ * np.float32(0.7)
        scores = judged((dim, foreground, np.zeros_like(foreground)))
        assert scores.highest == int(0.7 * 255)
        for level in range(256):
            above = (dim * np.float32(255)).astype(np.uint8) > level
            assert scores.mask_iou[level] == np.float32((above & foreground).sum() / (above | foreground).sum()), level


def test_a_picture_without_an_object_has_no_iou_and_no_area() -> None:
    map_, _, ignored = random_picture(1)
    no_object = np.zeros_like(ignored)
    scores = judged((map_, no_object, ignored))
    assert not scores.mask_iou.any()
    assert not scores.foreground.any()
    assert np.isnan(px_ap(scores.foreground, scores.background))
    other = judged(random_picture(2))
    area = px_ap(scores.foreground + other.foreground, scores.background + other.background)
    assert 0 < area < px_ap(other.foreground, other.background)


def test_all_pixels_ignored_give_an_iou_of_zero_and_no_division_by_zero() -> None:
    map_, _, _ = random_picture(1)
    scores = judged((map_, np.zeros((HEIGHT, WIDTH), dtype=bool), np.ones((HEIGHT, WIDTH), dtype=bool)))
    assert not scores.mask_iou.any()
    assert not scores.background.any()


def test_a_picture_without_a_map_counts_as_a_map_of_zeros() -> None:
    _, foreground, ignored = random_picture(3)
    scores = judge_empty_map(foreground=foreground, ignored=ignored, protocol=protocol())
    assert scores.highest == 0
    assert scores.foreground.tolist() == [foreground.sum()] + [0] * 11
    assert scores.background.tolist() == [(~foreground & ~ignored).sum()] + [0] * 11
    assert not scores.mask_iou.any()


def test_the_last_bin_begins_at_one() -> None:
    map_ = np.array([[0.0, 0.0999, 0.1, 0.95, 1.0]], dtype=np.float64)
    scores = judge_pixels(
        map_, foreground=np.ones((1, 5), dtype=bool), ignored=np.zeros((1, 5), dtype=bool), protocol=protocol()
    )
    assert scores.foreground.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
