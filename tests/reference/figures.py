"""Reads the reference figures, and makes the weights that they were computed with (see the README beside)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_FOLDER = Path(__file__).parent


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(_FOLDER / name) as file:
        return {key: file[key] for key in file.files}


def table(name: str) -> Any:
    return json.loads((_FOLDER / name).read_text())


def seeded_weights(shapes: Mapping[str, Sequence[int]], *, seed: int, scale: float) -> dict[str, Tensor]:
    random = np.random.RandomState(seed)
    weights = {}
    for name in sorted(shapes):
        drawn = random.standard_normal(shapes[name]).astype(np.float32)
        is_norm = "norm" in name and name.endswith("weight")
        weights[name] = torch.from_numpy(1 + np.float32(0.1) * drawn if is_norm else np.float32(scale) * drawn)
    return weights


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, in parts of the largest value."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
