"""PxAP equals a loop over pixels and thresholds, and the IoU of masks one over levels."""

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
    """A map with its ends 0 and 1, foreground, and ignored pixels that lie partly on it."""
    random = np.random.default_rng(seed)
    map_ = np.round(random.random((HEIGHT, WIDTH)), 2).astype(np.float32)
    map_[0, 0], map_[1, 1] = 0, 1
    return map_, random.random((HEIGHT, WIDTH)) < 0.3, random.random((HEIGHT, WIDTH)) < 0.2


def naive_px_ap(pictures: list[tuple[np.ndarray, np.ndarray, np.ndarray]], step: float) -> float:
    """Precision and recall at each edge of a bin, from the highest down."""
    values, is_object = [], []
    for map_, foreground, ignored in pictures:
        for y in range(HEIGHT):
            for x in range(WIDTH):
                if foreground[y, x] or not ignored[y, x]:
                    values.append(float(map_[y, x]))
                    is_object.append(bool(foreground[y, x]))
    area, recall_before = 0.0, 0.0
    for edge in sorted([*np.arange(0, 1, step).tolist(), 1.0], reverse=True):
        hits = sum(each and value >= edge for value, each in zip(values, is_object, strict=True))
        seen = sum(value >= edge for value in values)
        if seen:
            recall = hits / sum(is_object)
            area += hits / seen * (recall - recall_before)
            recall_before = recall
    return 100 * area


def judged(picture: tuple[np.ndarray, np.ndarray, np.ndarray], step: float = 0.1) -> PixelScores:
    map_, foreground, ignored = picture
    return judge_pixels(map_, foreground=foreground, ignored=ignored, protocol=protocol(step))


@pytest.mark.parametrize("step", [0.1, 0.05, 0.3])
def test_the_area_equals_the_loop_over_all_pixels_of_all_pictures(step: float) -> None:
    pictures = [random_picture(seed) for seed in range(3)]
    scores = [judged(picture, step) for picture in pictures]
    area = px_ap(sum(each.foreground for each in scores), sum(each.background for each in scores))  # type: ignore[arg-type]
    assert float(area) == pytest.approx(naive_px_ap(pictures, step), abs=1e-9)


def test_rows_of_histograms_are_areas_of_their_own() -> None:
    scores = [judged(random_picture(seed)) for seed in range(4)]
    stacked = px_ap(np.stack([each.foreground for each in scores]), np.stack([each.background for each in scores]))
    assert stacked.tolist() == [float(px_ap(each.foreground, each.background)) for each in scores]


def test_the_recall_of_the_highest_bin_counts() -> None:
    # Of 4 object pixels 2 lie in the highest bin beside no other, the rest below beside 6: 0.5 · 1 + 0.5 · 4/10.
    assert float(px_ap(np.array([2, 2, 0]), np.array([6, 0, 0]))) != float(
        px_ap(np.array([0, 2, 2]), np.array([0, 6, 0]))
    )
    map_ = np.array([[1.0, 1.0, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]], dtype=np.float32)
    foreground = np.array([[True] * 4 + [False] * 6])
    scores = judge_pixels(map_, foreground=foreground, ignored=np.zeros_like(foreground), protocol=protocol())
    assert float(px_ap(scores.foreground, scores.background)) == pytest.approx(100 * (0.5 * 1 + 0.5 * 4 / 10))


def test_a_perfect_map_has_all_and_a_reversed_one_the_share_of_its_object() -> None:
    foreground = np.zeros((HEIGHT, WIDTH), dtype=bool)
    foreground[2:7, 3:12] = True
    for map_, area in ((foreground, 100.0), (~foreground, 100 * 45 / (HEIGHT * WIDTH))):
        scores = judged((map_.astype(np.float32), foreground, np.zeros_like(foreground)))
        assert float(px_ap(scores.foreground, scores.background)) == pytest.approx(area, abs=1e-12)


def test_ignored_pixels_are_dropped_and_those_of_the_object_are_not() -> None:
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
    nothing = np.zeros_like(ignored)
    scores = judged((map_, nothing, ignored))
    assert not scores.mask_iou.any()
    assert not scores.foreground.any()
    assert np.isnan(px_ap(scores.foreground, scores.background))
    with_another = judged(random_picture(2))
    area = px_ap(scores.foreground + with_another.foreground, scores.background + with_another.background)
    assert 0 < area < px_ap(with_another.foreground, with_another.background)


def test_all_pixels_ignored_give_no_iou_and_divide_by_nothing() -> None:
    map_, _, _ = random_picture(1)
    scores = judged((map_, np.zeros((HEIGHT, WIDTH), dtype=bool), np.ones((HEIGHT, WIDTH), dtype=bool)))
    assert not scores.mask_iou.any()
    assert not scores.background.any()


def test_a_picture_without_a_map_is_one_whose_map_is_zero() -> None:
    _, foreground, ignored = random_picture(3)
    nothing = judge_empty_map(foreground=foreground, ignored=ignored, protocol=protocol())
    assert nothing.highest == 0
    assert nothing.foreground.tolist() == [foreground.sum()] + [0] * 11
    assert nothing.background.tolist() == [(~foreground & ~ignored).sum()] + [0] * 11
    assert not nothing.mask_iou.any()


def test_the_last_bin_begins_at_one() -> None:
    map_ = np.array([[0.0, 0.0999, 0.1, 0.95, 1.0]], dtype=np.float64)
    scores = judge_pixels(
        map_, foreground=np.ones((1, 5), dtype=bool), ignored=np.zeros((1, 5), dtype=bool), protocol=protocol()
    )
    assert scores.foreground.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
