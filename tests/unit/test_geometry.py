"""Boxes and the view in numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tscam.geometry import View, box_area, scale_box, scale_boxes, to_box


def test_a_box_one_pixel_wide_has_the_area_of_its_height() -> None:
    assert box_area(np.array([[7.0, 2.0, 8.0, 9.0]])).tolist() == [7.0]


def test_a_box_that_runs_backwards_has_no_area() -> None:
    assert box_area(np.array([[5.0, 5.0, 3.0, 3.0], [5.0, 5.0, 5.0, 9.0]])).tolist() == [0.0, 0.0]


def test_a_box_scales_by_widths_and_heights_and_is_not_clipped() -> None:
    boxes = np.array([[10.0, 10.0, 40.0, 20.0], [-10.0, 0.0, 110.0, 50.0]])
    scaled = scale_boxes(boxes, from_wh=(100, 50), to_wh=(200, 25))
    assert scaled.tolist() == [[20.0, 5.0, 80.0, 10.0], [-20.0, 0.0, 220.0, 25.0]]
    assert scale_box((10.0, 10.0, 40.0, 20.0), from_wh=(100, 50), to_wh=(200, 25)) == (20.0, 5.0, 80.0, 10.0)


def test_a_row_becomes_a_tuple_of_python_numbers() -> None:
    box = to_box(np.array([1, 2, 3, 4], dtype=np.int16))
    assert box == (1.0, 2.0, 3.0, 4.0)
    assert {type(edge) for edge in box} == {float}
    with pytest.raises(ValueError, match="unpack"):
        to_box([1.0, 2.0, 3.0])


def test_x_scales_by_widths_and_y_by_heights() -> None:
    boxes = np.array([[31.0, 50.0, 310.0, 200.0]])
    scaled = scale_boxes(boxes, from_wh=(310, 200), to_wh=(224, 384))
    np.testing.assert_allclose(scaled, [[22.4, 96.0, 224.0, 384.0]], rtol=1e-12)


def test_picture_boxes_are_clipped_to_the_picture() -> None:
    view = View(picture_wh=(310, 200), view_wh=(224, 224))
    back = view.to_picture(np.array([[-3.0, 112.0, 225.0, 300.0]]))
    np.testing.assert_allclose(back, [[0.0, 100.0, 310.0, 200.0]], rtol=1e-12)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 500), st.integers(1, 500))
def test_there_and_back_is_the_same_box(width: int, height: int, view_width: int, view_height: int) -> None:
    view = View(picture_wh=(width, height), view_wh=(view_width, view_height))
    box = np.array([[0.1 * width, 0.2 * height, 0.7 * width, height]])
    box_view = scale_boxes(box, from_wh=view.picture_wh, to_wh=view.view_wh)
    np.testing.assert_allclose(view.to_picture(box_view), box, rtol=1e-9)
