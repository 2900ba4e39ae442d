"""Raw map → localization map → boxes: exact rectangles, the paper's cut, and a naive implementation to agree with."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscam.boxes import boxes_above, find_boxes, find_regions, localization_map, mask_above, require_threshold
from tscam.errors import ConfigError
from tscam.geometry import View

SEEDS = st.integers(0, 2**32 - 1)


def naive_mask(map_: np.ndarray, threshold: float) -> list[list[bool]]:
    """The formula pixel by pixel: 8-bit levels above the whole part of threshold × highest level."""
    levels = [[int(np.float32(value) * np.float32(255)) for value in row] for row in map_]
    level = int(threshold * max(max(row) for row in levels))
    return [[value > level for value in row] for row in levels]


def naive_regions(inside: list[list[bool]], *, diagonal: bool) -> list[set[tuple[int, int]]]:
    """Connected pixels (y, x), grown one from another."""
    height, width = len(inside), len(inside[0])
    left = {(y, x) for y, x in product(range(height), range(width)) if inside[y][x]}
    steps = [(dy, dx) for dy, dx in product((-1, 0, 1), repeat=2) if diagonal or 0 in (dy, dx)]
    regions = []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            near = {(y + dy, x + dx) for dy, dx in steps} & left
            left -= near
            edge.extend(near)
        regions.append(region)
    return regions


def naive_boxes(map_: np.ndarray, threshold: float) -> list[tuple[int, int, int, int]]:
    """Around each region; and around each hole with the pixels that rim it, since its contour runs on them."""
    inside = naive_mask(map_, threshold)
    height, width = map_.shape
    boxes = [bounds(region, 0) for region in naive_regions(inside, diagonal=True)]
    for region in naive_regions([[not value for value in row] for row in inside], diagonal=False):
        if all(0 < y < height - 1 and 0 < x < width - 1 for y, x in region):
            boxes.append(bounds(region, 1))
    return sorted(boxes)


def bounds(region: set[tuple[int, int]], rim: int) -> tuple[int, int, int, int]:
    ys, xs = [y for y, _ in region], [x for _, x in region]
    return min(xs) - rim, min(ys) - rim, max(xs) + 1 + rim, max(ys) + 1 + rim


def random_map(seed: int, *, height: int = 19, width: int = 26) -> np.ndarray:
    """Smooth enough to have regions, rough enough to have holes."""
    random = np.random.default_rng(seed)
    grid = random.random((int(random.integers(2, 9)), int(random.integers(2, 9))))
    return localization_map(grid, size_wh=(width, height))


def test_a_localization_map_is_resized_first_and_normalized_after() -> None:
    raw = np.array([[0.0, 4.0]])
    # At three pixels the outer centres are 1/6 inside the picture: 0, 2, 4 before normalization.
    assert localization_map(raw, size_wh=(3, 1)).tolist() == [[0.0, 0.5, 1.0]]
    # At one pixel every maximum is gone before normalization could see it.
    assert localization_map(raw, size_wh=(1, 2)).tolist() == [[0.0], [0.0]]


@given(seed=SEEDS, scale=st.floats(1e-3, 1e3), shift=st.floats(-1e2, 1e2))
def test_a_localization_map_fills_zero_to_one_whatever_the_scale_of_the_raw_map(
    seed: int, scale: float, shift: float
) -> None:
    raw = np.random.default_rng(seed).random((5, 7)) * scale + shift
    map_ = localization_map(raw, size_wh=(31, 20))
    assert map_.dtype == np.float32
    assert map_.shape == (20, 31)
    assert (float(map_.min()), float(map_.max())) == (0.0, 1.0)


@pytest.mark.parametrize("level", [-2.0, 0.0, 0.5, 1e30])
def test_a_flat_map_becomes_zeros_and_gives_no_box(level: float) -> None:
    map_ = localization_map(np.full((5, 7), level), size_wh=(31, 20))
    assert not map_.any()
    assert boxes_above(map_, threshold=0.2).shape == (0, 4)
    assert boxes_above(map_, threshold=0.0).shape == (0, 4)


def test_a_map_that_is_not_finite_becomes_zeros() -> None:
    raw = np.array([[0.0, np.inf], [1.0, 2.0]])
    assert not localization_map(raw, size_wh=(2, 2)).any()


def test_known_rectangles_come_back_exactly_and_the_largest_first() -> None:
    map_ = np.zeros((40, 60), dtype=np.float32)
    map_[2:5, 50:60] = 0.6  # 10×3, at the right border
    map_[10:38, 4:31] = 0.9  # 27×28
    map_[20:33, 40:47] = 1.0  # 7×13: the highest, not the largest
    assert boxes_above(map_, threshold=0.5).tolist() == [[4, 10, 31, 38], [40, 20, 47, 33], [50, 2, 60, 5]]


def test_boxes_of_a_raw_map_are_in_pixels_of_the_picture_and_the_largest_first() -> None:
    raw = np.full((4, 6), -3.0, dtype=np.float32)
    raw[0:2, 4:6] = 9.0
    raw[2:4, 0:3] = 7.0
    # A grid as large as the view is not interpolated: a cell is one view pixel, 50 × 20 pixels of the picture.
    boxes = find_boxes(raw, View(picture_wh=(300, 80), view_wh=(6, 4)), threshold=0.5, objects="parts")
    assert boxes.tolist() == [[0, 40, 150, 80], [200, 0, 300, 40]]


def test_regions_are_searched_for_in_the_view_and_not_on_the_grid() -> None:
    raw = np.array([[0.0, 0.0, 1.0, 0.0]], dtype=np.float32)
    # Between cells the map is bilinear: at 8 view pixels it is 0, 0, 0, .25, .75, .75, .25, 0, and its maximum .75.
    boxes = find_boxes(raw, View(picture_wh=(80, 30), view_wh=(8, 1)), threshold=0.5)
    assert boxes.tolist() == [[40, 0, 60, 30]]
    assert find_boxes(raw, View(picture_wh=(80, 30), view_wh=(8, 1)), threshold=0.2).tolist() == [[30, 0, 70, 30]]


def test_a_flat_raw_map_gives_no_box() -> None:
    assert find_boxes(np.full((5, 7), 2.5), View(picture_wh=(310, 200), view_wh=(31, 20)), threshold=0.2).shape == (
        0,
        4,
    )


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_a_threshold_that_is_no_fraction_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=rf"^threshold {threshold:g}; expected a fraction of the map's maximum"):
        require_threshold(threshold)


def test_no_threshold_and_a_fraction_pass() -> None:
    for threshold in (None, 0.1, 0.999):
        require_threshold(threshold)


def test_a_single_pixel_is_a_box_of_one_by_one() -> None:
    map_ = np.zeros((5, 7))
    map_[3, 6] = 1.0
    assert boxes_above(map_, threshold=0.1).tolist() == [[6, 3, 7, 4]]


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    assert boxes_above(np.eye(4, 6), threshold=0.5).tolist() == [[0, 0, 4, 4]]


def test_a_hole_counts_as_a_smaller_region_with_the_pixels_around_it() -> None:
    map_ = np.zeros((12, 15))
    map_[1:11, 2:14] = 1.0
    map_[4:7, 5:10] = 0.0
    assert boxes_above(map_, threshold=0.5).tolist() == [[2, 1, 14, 11], [4, 3, 11, 8]]


def test_the_mask_begins_above_the_level_not_at_it() -> None:
    levels = np.array([[50, 51, 52, 255]], dtype=np.float32) / np.float32(255)
    assert mask_above(levels, threshold=0.2).tolist() == [[0, 0, 1, 1]]


def test_the_level_is_a_fraction_of_the_maps_own_maximum() -> None:
    levels = np.array([[9, 10, 11, 50]], dtype=np.float32) / np.float32(255)
    assert mask_above(levels, threshold=0.2).tolist() == [[0, 0, 1, 1]]


@settings(max_examples=60)
@given(seed=SEEDS, thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_higher_threshold_never_adds_a_pixel(seed: int, thresholds: tuple[float, float]) -> None:
    low, high = sorted(thresholds)
    map_ = random_map(seed)
    assert (mask_above(map_, threshold=high) <= mask_above(map_, threshold=low)).all()


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, threshold=st.floats(0, 1))
def test_masks_and_boxes_agree_with_a_naive_implementation(seed: int, threshold: float) -> None:
    map_ = random_map(seed)
    assert mask_above(map_, threshold=threshold).tolist() == naive_mask(map_, threshold)
    boxes = boxes_above(map_, threshold=threshold)
    assert sorted(tuple(box) for box in boxes.tolist()) == naive_boxes(map_, threshold)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, threshold=st.floats(0, 1))
def test_pure_noise_agrees_with_a_naive_implementation_too(seed: int, threshold: float) -> None:
    map_ = np.random.default_rng(seed).random((9, 13), dtype=np.float32)
    boxes = boxes_above(map_, threshold=threshold)
    assert sorted(tuple(box) for box in boxes.tolist()) == naive_boxes(map_, threshold)


def blocks(*values: float) -> np.ndarray:
    """Blocks of 4×6 pixels and these values side by side on zeros; the first is twice as high as wide."""
    map_ = np.zeros((16, 2 + 8 * len(values)), dtype=np.float32)
    for number, value in enumerate(values):
        map_[2:6, 2 + 8 * number : 8 + 8 * number] = value
    map_[2:14, 2:8] = values[0]
    return map_


def view_of(map_: np.ndarray) -> View:
    height, width = map_.shape
    return View(picture_wh=(width, height), view_wh=(width, height))


def test_parts_are_all_regions_of_a_fifth_of_the_largest_ones_area_whose_peak_is_half_of_the_maximum() -> None:
    map_ = blocks(0.8, 1.0, 0.49, 0.5)
    map_[10:12, 12:14] = 1.0  # too small
    first, second, third, fourth = ([2 + 8 * number, 2, 8 + 8 * number, 6] for number in range(4))
    first[3] = 14
    view = view_of(map_)
    assert find_boxes(map_, view, threshold=0.2).tolist() == [first]
    parts = find_boxes(map_, view, threshold=0.2, objects="parts").tolist()
    assert (parts[0], sorted(parts[1:])) == (first, [second, fourth])
    assert third in boxes_above(map_, threshold=0.2).tolist()
    assert find_boxes(map_, view, threshold=0.6, objects="parts").tolist() == [first, second]


def test_a_hole_is_no_part_and_a_region_in_a_hole_is_one() -> None:
    map_ = np.zeros((24, 31), dtype=np.float32)
    map_[1:23, 2:29] = 1.0
    map_[3:21, 4:27] = 0.0
    map_[5:19, 6:25] = 1.0
    boxes = find_boxes(map_, view_of(map_), threshold=0.5, objects="parts")
    assert boxes.tolist() == [[2, 1, 29, 23], [6, 5, 25, 19]]


def test_parts_that_touch_at_a_corner_are_one() -> None:
    map_ = np.zeros((12, 17), dtype=np.float32)
    map_[1:5, 1:6] = map_[5:10, 6:12] = 1.0
    assert find_boxes(map_, view_of(map_), threshold=0.5, objects="parts").tolist() == [[1, 1, 12, 10]]


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, threshold=st.floats(0.5, 0.95))
def test_the_first_of_several_parts_is_the_one_object(seed: int, threshold: float) -> None:
    map_ = random_map(seed)  # At such thresholds no region's peak is too low.
    one, parts = (find_boxes(map_, view_of(map_), threshold=threshold, objects=objects) for objects in ("one", "parts"))
    assert parts[:1].tolist() == one.tolist()
    regions = boxes_above(map_, threshold=threshold).tolist()
    assert all(box in regions for box in parts.tolist())


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, threshold=st.floats(0.05, 0.95))
def test_the_mean_of_a_region_is_that_of_the_raw_map_over_its_pixels(seed: int, threshold: float) -> None:
    raw = 3 * random_map(seed) - 1
    regions = find_regions(raw, view_of(raw), threshold=threshold, objects="parts")
    naive = naive_regions(naive_mask(localization_map(raw, size_wh=raw.shape[::-1]), threshold), diagonal=True)
    means = {bounds(region, 0): np.mean([raw[pixel] for pixel in region]) for region in naive}
    assert len(regions.boxes) == len(regions.means)
    for box, mean in zip(regions.boxes.tolist(), regions.means.tolist(), strict=True):
        x0, y0, x1, y1 = map(int, box)
        assert mean == pytest.approx(means[x0, y0, x1, y1], abs=1e-5)


def test_boxes_and_regions_of_a_flat_map_are_none() -> None:
    regions = find_regions(np.full((5, 7), 2.5), View(picture_wh=(310, 200), view_wh=(31, 20)), threshold=0.2)
    assert (regions.boxes.shape, regions.means.shape) == ((0, 4), (0,))
