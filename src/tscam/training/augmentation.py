"""Picture → training view: resize, random crop, random flip. Random numbers come from the caller's generator alone."""

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torchvision.transforms.v2 import RandAugment


def resized(picture: Image.Image, *, size_hw: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """The whole picture at another height and width, bilinear with antialiasing, aspect ignored."""
    return np.asarray(picture.resize(size_hw[::-1], Image.Resampling.BILINEAR))


def training_view(
    whole: UInt8[np.ndarray, "h w 3"],
    *,
    size_hw: tuple[int, int],
    random: np.random.Generator,
    rand_augment: int | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """A random crop of a resized picture, flipped half of the time; pixels are neither scaled nor normalized.

    Args:
        size_hw: height and width of the view, in pixels.
        rand_augment: magnitude, 1 to 30, of two random operations on colours and shape that follow; None does none.

    Source:
        The released TS-CAM code: resize to 256×256, random crop of 224, horizontal flip. RandAugment: Cubuk et al.,
        NeurIPS 2020, as torchvision has it.
    """
    height, width = size_hw
    left = int(random.integers(whole.shape[1] - width + 1))
    top = int(random.integers(whole.shape[0] - height + 1))
    view = whole[top : top + height, left : left + width]
    if random.random() < 0.5:
        view = view[:, ::-1]
    return view if rand_augment is None else _rand_augmented(view, rand_augment, seed=int(random.integers(2**63)))


def _rand_augmented(view: UInt8[np.ndarray, "H W 3"], magnitude: int, *, seed: int) -> UInt8[np.ndarray, "H W 3"]:
    with torch.random.fork_rng(devices=[]):  # torchvision draws from PyTorch's generator, which is restored
        torch.default_generator.manual_seed(seed)
        return np.asarray(RandAugment(num_ops=2, magnitude=magnitude)(Image.fromarray(view)))
