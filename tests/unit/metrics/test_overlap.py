"""Overlaps of boxes equal counts of pixels, whether the far edge is inside or not."""

import numpy as np
import pytest

from tiny_models import naive_area, naive_iou, naive_shared
from tscam.metrics.overlap import Edges, overlaps


def random_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    low = random.integers(0, 9, size=(count, 2))
    return np.concatenate([low, low + random.integers(0, 7, size=(count, 2))], axis=1)


def test_the_overlaps_of_two_boxes_by_hand() -> None:
    box, truth = np.array([[0, 0, 3, 4]]), np.array([[2, 1, 7, 3]])
    inclusive = overlaps(box, truth, edges="inclusive")  # 4×5 = 20, 6×3 = 18, shared 2×3 = 6
    assert inclusive.iou.tolist() == [[6 / 32]]
    assert inclusive.iog.tolist() == [[6 / 18]]
    assert inclusive.iob.tolist() == [[6 / 20]]
    half_open = overlaps(box, truth, edges="half-open")  # 3×4 = 12, 5×2 = 10, shared 1×2 = 2
    assert half_open.iou.tolist() == [[2 / 20]]
    assert half_open.iog.tolist() == [[2 / 10]]
    assert half_open.iob.tolist() == [[2 / 12]]


def test_boxes_that_touch_share_a_pixel_only_where_the_far_edge_is_inside() -> None:
    box, truth = np.array([[0, 0, 4, 4]]), np.array([[4, 4, 9, 6]])
    assert overlaps(box, truth, edges="inclusive").iou[0, 0] == 1 / (25 + 18 - 1)
    assert overlaps(box, truth, edges="half-open").iou[0, 0] == 0


@pytest.mark.parametrize(("edges", "extra"), [("inclusive", 1), ("half-open", 0)])
def test_overlaps_of_random_boxes_equal_those_of_their_painted_pixels(edges: Edges, extra: int) -> None:
    random = np.random.default_rng(1)
    boxes, truths = random_boxes(random, 40), random_boxes(random, 30)
    shares = overlaps(boxes, truths, edges=edges)
    for row, box in enumerate(boxes):
        for column, truth in enumerate(truths):
            painted = np.zeros((2, 17, 17), dtype=bool)
            for layer, (x0, y0, x1, y1) in zip(painted, (box, truth), strict=True):
                layer[y0 : y1 + extra, x0 : x1 + extra] = True
            shared, joined = painted.all(axis=0).sum(), painted.any(axis=0).sum()
            box_area, truth_area = painted[0].sum(), painted[1].sum()
            assert shares.iou[row, column] == (shared / joined if joined else 0)
            assert shares.iog[row, column] == (shared / truth_area if truth_area else 0)
            assert shares.iob[row, column] == (shared / box_area if box_area else 0)


def test_fractional_edges_follow_the_naive_formula() -> None:
    random = np.random.default_rng(2)
    boxes, truths = (random.random((count, 4)) * 9 + [0, 0, 9, 9] for count in (5, 3))
    shares = overlaps(boxes, truths, edges="inclusive")
    for row, box in enumerate(boxes.tolist()):
        for column, truth in enumerate(truths.tolist()):
            assert shares.iou[row, column] == pytest.approx(naive_iou(box, truth), rel=1e-12)
            assert shares.iog[row, column] == pytest.approx(naive_shared(box, truth) / naive_area(truth), rel=1e-12)
            assert shares.iob[row, column] == pytest.approx(naive_shared(box, truth) / naive_area(box), rel=1e-12)


def test_a_box_without_area_has_overlap_zero_and_no_division_by_zero() -> None:
    nothing, box = np.array([[3, 3, 3, 3]]), np.array([[0, 0, 9, 5]])
    for shares in (
        overlaps(nothing, box, edges="half-open"),
        overlaps(box, nothing, edges="half-open"),
        overlaps(nothing, nothing, edges="half-open"),
    ):
        assert (shares.iou.tolist(), shares.iog.tolist(), shares.iob.tolist()) == ([[0]], [[0]], [[0]])


def test_a_box_with_swapped_edges_has_no_negative_area() -> None:
    shares = overlaps(np.array([[9, 9, 2, 2]]), np.array([[0, 0, 9, 9]]), edges="inclusive")
    assert (shares.iou.tolist(), shares.iob.tolist()) == ([[0]], [[0]])


def test_no_boxes_have_no_overlaps() -> None:
    assert overlaps(np.empty((0, 4), dtype=np.int64), np.array([[0, 0, 1, 1]]), edges="inclusive").iou.shape == (0, 1)
