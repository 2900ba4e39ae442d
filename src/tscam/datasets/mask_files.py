"""Segmentation masks of a picture: the files of its objects and of the pixels that scores ignore."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool

from tscam.errors import DataError
from tscam.image import printable, read_grey_levels


@dataclass(frozen=True)
class Masks:
    """The segmentation files of one picture; pixels that are not black are inside.

    Attributes:
        objects: one file an object; together they are the foreground.
        ignore: pixels that scores ignore where they are not foreground.
    """

    objects: tuple[Path, ...]
    ignore: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, the objects first."""
        return self.objects if self.ignore is None else (*self.objects, self.ignore)


def read_masks(
    masks: Masks, *, size_wh: tuple[int, int], picture_wh: tuple[int, int] | None = None, scaled: bool = False
) -> tuple[Bool[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Read the foreground and the ignored pixels of one picture, which share none.

    Args:
        size_wh: width and height of the result; masks are resized to it, each pixel taking its nearest.
        picture_wh: width and height of the picture as displayed, which masks must have; not checked by default.
        scaled: masks need only the proportions of the picture, to a pixel.

    Raises:
        ImageError: a mask cannot be read, or is not a PNG of at most eight bits a channel (JPEG makes noisy edges).
        DataError: a mask has another size than the picture.

    Source:
        Choe et al., CVPR 2020 and their wsolevaluation: grey levels above 0.5 of 255, OpenCV's nearest pixel, objects
        joined by "or", ignored pixels less the foreground.
    """
    foreground = np.zeros((size_wh[1], size_wh[0]), dtype=bool)
    for path in masks.objects:
        foreground |= _read_mask(path, size_wh, picture_wh, scaled)
    if masks.ignore is None:
        return foreground, np.zeros_like(foreground)
    return foreground, _read_mask(masks.ignore, size_wh, picture_wh, scaled) & ~foreground


def _read_mask(
    path: Path, size_wh: tuple[int, int], picture_wh: tuple[int, int] | None, scaled: bool
) -> Bool[np.ndarray, "H W"]:
    levels = read_grey_levels(path)
    height, width = levels.shape
    if picture_wh is not None and not _fits((width, height), picture_wh, scaled=scaled):
        raise DataError(
            f"{printable(path)}: a mask of {width}×{height} pixels for a picture of {picture_wh[0]}×{picture_wh[1]}; "
            f"expected masks of the picture's {'proportions' if scaled else 'size'}"
        )
    # By OpenCV: its nearest pixel is not always the floor of the scaled index, in any precision.
    return cv2.resize(levels, size_wh, interpolation=cv2.INTER_NEAREST) > 0.5


def _fits(mask_wh: tuple[int, int], picture_wh: tuple[int, int], *, scaled: bool) -> bool:
    if not scaled:
        return mask_wh == picture_wh
    (width, height), (picture_width, picture_height) = mask_wh, picture_wh
    return abs(width * picture_height - height * picture_width) <= max(picture_width, picture_height)
