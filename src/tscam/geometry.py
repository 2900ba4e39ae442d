"""Boxes and the view: arithmetic of rectangles, and the way between picture pixels and view pixels.

A box is float `(x0, y0, x1, y1)`: half-open pixel edges, 0-based, in the frame that is named beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
from jaxtyping import Float

# One box outside an array.
Box = tuple[float, float, float, float]


def box_area(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Areas in square pixels; 0 for a box without width or height, never negative."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None)
    return sides[:, 0] * sides[:, 1]


def scale_boxes(
    boxes: Float[np.ndarray, "n 4"], *, from_wh: tuple[int, int], to_wh: tuple[int, int]
) -> Float[np.ndarray, "n 4"]:
    """Boxes in pixels of a picture as boxes in pixels of the same picture at another size, neither rounded nor clipped.

    Args:
        from_wh, to_wh: width and height of the picture in the two sizes.
    """
    x, y = to_wh[0] / from_wh[0], to_wh[1] / from_wh[1]
    return boxes * np.array([x, y, x, y])


def scale_box(box: Box, *, from_wh: tuple[int, int], to_wh: tuple[int, int]) -> Box:
    """`scale_boxes` for a single box."""
    return to_box(scale_boxes(np.array([box]), from_wh=from_wh, to_wh=to_wh)[0])


def to_box(edges: Iterable[SupportsFloat]) -> Box:
    """Four edges, such as a row of an array, as a tuple of Python numbers.

    Raises:
        ValueError: not four.
    """
    x0, y0, x1, y1 = map(float, edges)
    return x0, y0, x1, y1


@dataclass(frozen=True)
class View:
    """The whole picture, resized to what the network sees, aspect ignored.

    Attributes:
        picture_wh: width and height of the picture as displayed, in its own pixels.
        view_wh: width and height of the network's input, in pixels.
    """

    picture_wh: tuple[int, int]
    view_wh: tuple[int, int]

    def to_picture(self, boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
        """Boxes in view pixels → boxes in picture pixels, clipped to the picture, not rounded."""
        width, height = self.picture_wh
        scaled = scale_boxes(boxes, from_wh=self.view_wh, to_wh=self.picture_wh)
        return np.clip(scaled, 0.0, np.array([width, height, width, height], dtype=float))
