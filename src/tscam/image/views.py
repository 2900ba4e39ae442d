"""RGB picture → pixels as a network takes them, and the view that leads back to picture pixels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image

from tscam.decoding import PixelRange
from tscam.geometry import View


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """The input that a network expects.

    Attributes:
        size_hw: height and width of the view, in pixels.
        mean, std: mean and standard deviation of each channel (R, G, B), of values in [0, 1].
        pixel_range: range of values that pictures of more than eight bits were scaled by in training; None if there
            were no such pictures.
    """

    size_hw: tuple[int, int]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    pixel_range: PixelRange | None = None

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.size_hw[1], self.size_hw[0]


def preprocess(picture: Image.Image, *, to: InputFormat) -> tuple[Float[np.ndarray, "3 H W"], View]:
    """Return a picture as the network sees it, and the view that leads back to picture pixels.

    The whole picture is resized, bilinear with antialiasing, aspect ignored; this is the test view of TS-CAM.

    Returns:
        Normalized pixels, float32, and the `View`.
    """
    resized = picture.resize(to.size_wh, Image.Resampling.BILINEAR)
    return normalize(resized, to=to), View(picture_wh=picture.size, view_wh=to.size_wh)


def normalize(picture: Image.Image, *, to: InputFormat) -> Float[np.ndarray, "3 H W"]:
    """Scale pixels to [0, 1], subtract the mean, divide by the standard deviation; float32, channels first."""
    mean, std = np.array(to.mean, dtype=np.float32), np.array(to.std, dtype=np.float32)
    pixels = (np.asarray(picture, dtype=np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
