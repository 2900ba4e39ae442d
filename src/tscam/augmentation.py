"""Picture → training view: resize, random crop, random flip. What is drawn depends on the given generator alone."""

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

from tscam.image import InputFormat, normalize


def training_view(
    picture: Image.Image, *, to: InputFormat, resize_size: int, random: np.random.Generator
) -> Float[np.ndarray, "3 H W"]:
    """A random crop of the picture, flipped half of the time, as the network sees it.

    The whole picture is first resized to a square of `resize_size` pixels, bilinear with antialiasing, aspect ignored.

    Source:
        The released TS-CAM code: resize to 256×256, random crop of 224, horizontal flip.
    """
    width, height = to.size_wh
    resized = picture.resize((resize_size, resize_size), Image.Resampling.BILINEAR)
    left = int(random.integers(resize_size - width + 1))
    top = int(random.integers(resize_size - height + 1))
    crop = resized.crop((left, top, left + width, top + height))
    return normalize(ImageOps.mirror(crop) if random.random() < 0.5 else crop, to=to)
