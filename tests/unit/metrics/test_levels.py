"""Every level of a map is judged as a loop over thresholds judges it, with OpenCV's own contours at each."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tscam.boxes import boxes_above, boxes_by_level
from tscam.geometry import View
from tscam.metrics.levels import (
    LevelScores,
    judge_levels,
    level_map,
    map_in_view,
    truths_in_view,
    wrong_at_every_level,
)
from tscam.metrics.protocol import BoxProtocol, protocols
from tscam.metrics.ts_cam import OUTCOMES

HEIGHT, WIDTH = 37, 53


def protocol(**changes: object) -> BoxProtocol:
    base = protocols["max-box-acc"]
    assert isinstance(base, BoxProtocol)
    return replace(base, **changes)  # type: ignore[arg-type]


def smooth_map(seed: int, *, size_wh: tuple[int, int] = (WIDTH, HEIGHT), grid: int = 9) -> np.ndarray:
    raw = np.random.default_rng(seed).random((grid, grid + 2)).astype(np.float32)
    map_ = cv2.resize(raw, size_wh, interpolation=cv2.INTER_CUBIC)
    return (map_ - map_.min()) / (map_.max() - map_.min())


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((HEIGHT, WIDTH)).astype(np.float32)


def squares(*sides: int) -> np.ndarray:
    """Return bright squares in one row, each with a dark pixel in its middle: a hole is a region, too."""
    map_ = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    for index, side in enumerate(sides):
        map_[5 : 5 + side, 2 + 16 * index : 2 + 16 * index + side] = 0.8
        map_[5 + side // 2, 2 + 16 * index + side // 2] = 0.1
    return map_


# Maps of values in [0, 1], which need not reach 0 or 1.
MAPS = {
    "smooth": smooth_map(0),
    "smooth, float64": smooth_map(1).astype(np.float64),
    "noise": noise(2),
    "few values": np.floor(noise(3) * 4) / 4,
    "from 0.2 to 0.6": smooth_map(4) * np.float32(0.4) + np.float32(0.2),
    "dim": smooth_map(5) * np.float32(0.003),
    "zeros": np.zeros((HEIGHT, WIDTH), dtype=np.float32),
    "flat": np.full((HEIGHT, WIDTH), 0.4, dtype=np.float32),
    "ones": np.ones((HEIGHT, WIDTH), dtype=np.float32),
    "equal squares with holes": squares(9, 9, 9),
    "the last square is the largest": squares(7, 8, 9),
    "whole rows at the edge": np.pad(np.ones((4, WIDTH), dtype=np.float32), ((HEIGHT - 4, 0), (0, 0))),
}

TRUTHS = np.array([[20, 4, 44, 30], [2, 5, 11, 14], [0, 0, 52, 36]])


def naive_contours(above: np.ndarray) -> list[np.ndarray]:
    return list(cv2.findContours(above.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0])


def naive_box(contour: np.ndarray, *, clip: bool) -> list[int]:
    x, y, width, height = cv2.boundingRect(contour)
    if clip:
        return [x, y, min(x + width, WIDTH - 1), min(y + height, HEIGHT - 1)]
    return [x, y, x + width, y + height]


def naive_iou(box: Sequence[int], truth: Sequence[int], extra: int) -> float:
    def area(edges: Sequence[int]) -> int:
        return max(edges[2] - edges[0] + extra, 0) * max(edges[3] - edges[1] + extra, 0)

    shared = area([*map(max, box[:2], truth[:2]), *map(min, box[2:], truth[2:])])
    joined = area(box) + area(truth) - shared
    return shared / joined if joined else 0.0


def naive(map_: np.ndarray, level: int, rules: BoxProtocol, truths: np.ndarray) -> tuple[float, list[int]]:
    """Return the IoU at a level and the box of the largest region."""
    contours = naive_contours((map_ * map_.dtype.type(255)).astype(np.uint8) > level)
    boxes = [naive_box(contour, clip=rules.clip) for contour in contours]
    largest = list(rules.no_box)
    if boxes:
        areas = [cv2.contourArea(contour) for contour in contours]
        largest = boxes[areas.index(max(areas))]
    compared = boxes if rules.contours == "all" and boxes else [largest]
    extra = 1 if rules.edges == "inclusive" else 0
    return max(naive_iou(box, truth, extra) for box in compared for truth in truths.tolist()), largest


RULES = {
    "max-box-acc": protocol(),
    "max-box-acc-v2": protocol(contours="all"),
    "not clipped": protocol(clip=False, no_box=(0, 0, 1, 1)),
    "all, half-open": protocol(contours="all", edges="half-open"),
    "half-open, another box for none": protocol(edges="half-open", no_box=(3, 2, 50, 31)),
    "all, not clipped, another box for none": protocol(contours="all", clip=False, no_box=(3, 2, 50, 31)),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("rules", RULES)
def test_every_level_is_judged_as_by_a_loop_over_levels(name: str, rules: str) -> None:
    map_, box_protocol = MAPS[name], RULES[rules]
    scores = judge_levels(level_map(map_), TRUTHS, box_protocol)
    assert scores.highest == int((map_ * map_.dtype.type(255)).astype(np.uint8).max())
    for level in range(256):
        iou, box = naive(map_, level, box_protocol, TRUTHS)
        assert scores.iou[level] == np.float32(iou), level
        assert scores.boxes[level].tolist() == box, level


@pytest.mark.parametrize("name", MAPS)
def test_the_box_at_a_threshold_is_the_first_one_of_boxes_above(name: str) -> None:
    map_ = MAPS[name]
    judged = judge_levels(level_map(map_), TRUTHS, protocol(clip=False))
    thresholds = np.append(np.arange(0, 1, 0.01), [0.001, 0.5019607, 0.999])
    for threshold, level in zip(thresholds, judged.levels(thresholds), strict=True):
        boxes = boxes_above(map_, threshold=float(threshold))
        box = judged.boxes[level].tolist()
        assert box == (boxes[0].astype(int).tolist() if len(boxes) else [0, 0, 0, 0]), threshold


@pytest.mark.parametrize("name", MAPS)
def test_boxes_of_all_regions_keep_opencvs_order(name: str) -> None:
    levels = (MAPS[name] * MAPS[name].dtype.type(255)).astype(np.uint8)
    by_level = boxes_by_level(levels)
    ends = [*by_level.starts[1:].tolist(), len(by_level.boxes)]
    for level in range(256):
        contours = naive_contours(levels > level)
        row = by_level.row_of_level[level]
        if row == len(by_level.starts):
            assert not contours
            continue
        row_boxes = by_level.boxes[by_level.starts[row] : ends[row]].tolist()
        assert row_boxes == [naive_box(contour, clip=False) for contour in contours]


def test_the_first_of_several_regions_of_equal_area_counts_as_the_largest() -> None:
    scores = judge_levels(level_map(squares(9, 9, 9)), TRUTHS, protocol())
    assert len(naive_contours(squares(9, 9, 9) > 0.5)) == 6  # OpenCV begins with the last square.
    first = naive_box(naive_contours(squares(9, 9, 9) > 0.5)[0], clip=True)
    holes = [area for area in map(cv2.contourArea, naive_contours(squares(9, 9, 9) > 0.5)) if area < 10]
    assert len(holes) == 3
    areas = [cv2.contourArea(contour) for contour in naive_contours(squares(9, 9, 9) > 0.5)]
    assert areas.count(max(areas)) == 3
    assert areas[0] == max(areas)
    assert scores.boxes[120].tolist() == first


def test_the_best_one_of_several_boxes_counts() -> None:
    map_ = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    map_[20:35, 2:30], map_[3:9, 40:49] = 1.0, 0.9
    truth = np.array([[40, 3, 48, 8]])
    largest = judge_levels(level_map(map_), truth, protocol())
    best = judge_levels(level_map(map_), truth, protocol(contours="all"))
    assert largest.iou[100] == 0
    assert best.iou[100] == np.float32(9 * 6 / (10 * 7))
    assert best.iou[240] == 0  # The small region reaches 0.9 · 255 = 229.
    assert largest.boxes[100].tolist() == best.boxes[100].tolist() == [2, 20, 30, 35]


def test_a_flat_map_has_the_box_for_none_at_every_level_and_its_iou() -> None:
    truth = np.array([[0, 0, 1, 3]])
    scores = judge_levels(level_map(MAPS["zeros"]), truth, protocol(no_box=(0, 0, 1, 1)))
    assert scores.highest == 0
    assert {*scores.iou.tolist()} == {0.5}  # 2×2 of 2×4 pixels
    assert {*map(tuple, scores.boxes.tolist())} == {(0, 0, 1, 1)}
    assert scores.levels(np.array([0.0, 0.3, 0.99])).tolist() == [0, 0, 0]


def test_a_map_of_ones_is_one_box_up_to_the_last_level() -> None:
    scores = judge_levels(level_map(MAPS["ones"]), TRUTHS, protocol())
    assert {*map(tuple, scores.boxes[:255].tolist())} == {(0, 0, WIDTH - 1, HEIGHT - 1)}
    assert scores.boxes[255].tolist() == [0, 0, 0, 0]
    assert scores.levels(np.array([0.0, 0.5, 0.999])).tolist() == [0, 127, 254]


def test_thresholds_are_fractions_of_the_maps_own_maximum() -> None:
    map_ = MAPS["from 0.2 to 0.6"]
    scores = judge_levels(level_map(map_), TRUTHS, protocol())
    assert scores.highest in (152, 153)  # 0.6 · 255, in float32
    thresholds = np.arange(0, 1, 0.001)
    assert scores.levels(thresholds).tolist() == [int(threshold * scores.highest) for threshold in thresholds]


def test_outcomes_at_each_level_are_those_of_the_largest_box() -> None:
    rules = protocols["ts-cam"]
    assert isinstance(rules, BoxProtocol)
    outcomes = set()
    for name, truths in (("smooth", TRUTHS[:2]), ("noise", TRUTHS[2:]), ("smooth", TRUTHS[1:2]), ("zeros", TRUTHS)):
        scores = judge_levels(level_map(MAPS[name]), truths, rules)
        assert scores.outcomes is not None
        for level in range(256):
            outcome = naive_outcome(scores.boxes[level].tolist(), truths.tolist())
            assert OUTCOMES[scores.outcomes[level]] == outcome
            outcomes.add(outcome)
    assert outcomes >= {"right", "part", "more", "wrong"}
    assert judge_levels(level_map(MAPS["smooth"]), TRUTHS, protocol()).outcomes is None


def naive_outcome(box: Sequence[int], truths: Sequence[Sequence[int]]) -> str:
    def area(edges: Sequence[int]) -> int:
        return max(edges[2] - edges[0] + 1, 0) * max(edges[3] - edges[1] + 1, 0)

    shared = [area([*map(max, box[:2], truth[:2]), *map(min, box[2:], truth[2:])]) for truth in truths]
    ious = [naive_iou(box, truth, 1) for truth in truths]
    best = ious.index(max(ious))
    if ious[best] > 0.5:
        return "right"
    if sum(part / area(truth) > 0.3 for part, truth in zip(shared, truths, strict=True)) >= 2:
        return "multi_instance"
    if shared[best] / area(box) > 0.5:
        return "part"
    return "more" if shared[best] / area(truths[best]) >= 0.7 else "wrong"


def test_a_picture_without_a_map_is_wrong_at_every_level() -> None:
    for name in ("ts-cam", "max-box-acc", "max-box-acc-v2"):
        box_protocol = protocols[name]
        assert isinstance(box_protocol, BoxProtocol)
        nothing = wrong_at_every_level(box_protocol)
        assert not nothing.iou.any()
        assert {*map(tuple, nothing.boxes.tolist())} == {box_protocol.no_box}
        assert nothing.highest == 255
        if nothing.outcomes is not None:
            assert {OUTCOMES[index] for index in nothing.outcomes} == {"wrong"}
        assert (nothing.outcomes is None) == (name != "ts-cam")


def test_true_boxes_are_truncated_to_whole_pixels_as_in_wsolevaluation() -> None:
    view = View((310, 200), (224, 224))
    boxes = np.array([[0.0, 0.0, 310.0, 200.0], [31.0, 20.0, 100.5, 199.0], [309.0, 3.0, 310.0, 4.0]])
    truths = truths_in_view(boxes, protocol(), view=view, rule="cub")
    assert truths.tolist() == [
        [int(x0 * 224 / 310), int(y0 * 224 / 200), int(x1 * 224 / 310), int(y1 * 224 / 200)]
        for x0, y0, x1, y1 in boxes.tolist()
    ]
    assert truths[0].tolist() == [0, 0, 224, 224]  # not clipped, as in wsolevaluation


def test_only_the_first_true_box_counts_where_a_protocol_says_so() -> None:
    boxes, view = np.array([[0.0, 0.0, 9.0, 9.0], [20.0, 4.0, 44.0, 30.0]]), View((WIDTH, HEIGHT), (WIDTH, HEIGHT))
    first = truths_in_view(boxes, protocol(truths="first"), view=view, rule="ilsvrc")
    assert first.tolist() == [[0, 0, 9, 9]]
    map_ = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    map_[4:30, 20:44] = 1
    scores: list[LevelScores] = [
        judge_levels(level_map(map_), truths_in_view(boxes, box_protocol, view=view, rule="ilsvrc"), box_protocol)
        for box_protocol in (protocol(truths="first"), protocol())
    ]
    assert scores[0].iou[100] == 0
    assert scores[1].iou[100] == 1.0


@pytest.mark.parametrize("name", ["ts-cam", "max-box-acc"])
def test_a_raw_map_is_resized_in_float32_and_scaled_after(name: str) -> None:
    raw = np.random.default_rng(8).normal(size=(14, 14)).astype(np.float32) * 3
    rules, interpolation = protocols[name], cv2.INTER_LINEAR if name == "ts-cam" else cv2.INTER_CUBIC
    map_ = map_in_view(raw, rules, view_wh=(96, 64))
    size_wh = (96, 64) if name == "ts-cam" else (224, 224)
    expected = cv2.resize(raw, size_wh, interpolation=interpolation)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    assert map_.shape == size_wh[::-1]
    assert np.array_equal(map_, expected)
    assert (map_.min(), map_.max()) == (0, 1)
