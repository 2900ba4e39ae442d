"""Reference figures, and the weights that they were computed with (see `tests/reference/README.md`)."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_FOLDER = Path(__file__).parents[1] / "reference"


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(_FOLDER / name) as file:
        return {key: file[key] for key in file.files}


def table(name: str) -> Any:
    return json.loads((_FOLDER / name).read_text())


def seeded_weights(shapes: Mapping[str, Sequence[int]], *, seed: int, scale: float) -> dict[str, Tensor]:
    """Return the weights of the rule in the README."""
    random = np.random.RandomState(seed)
    weights = {}
    for name in sorted(shapes):
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(0)
            continue
        noise = random.standard_normal(shapes[name]).astype(np.float32)
        if name.endswith("running_var"):
            value = np.abs(noise) + np.float32(0.5)
        elif name.endswith("weight") and re.search(r"norm|^bn|\.bn|residual_bn", name):
            value = 1 + np.float32(0.1) * noise
        else:
            value = np.float32(scale) * noise
        weights[name] = torch.from_numpy(np.asarray(value, dtype=np.float32))
    return weights


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference as a fraction of the largest value."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
