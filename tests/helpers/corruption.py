"""States whose bytes change on the disk, and what must follow; a loss that is not a number."""

import itertools
import random
import shutil
from math import nan
from pathlib import Path

import torch
from torch import Tensor

from tscam.backbones.features import Features
from tscam.config import TrainConfig
from tscam.methods.ts_cam import TsCam
from tscam.training.run.state import State, load_state
from tscam.verbs.train import train


def corrupt(path: Path, random: random.Random) -> str:
    """Flip bits of one to three bytes of a file, or cut it off; return what was done."""
    content = bytearray(path.read_bytes())
    if random.random() < 0.3:
        length = random.randrange(len(content))
        path.write_bytes(content[:length])
        return f"{path.name} cut off at {length}"
    positions = random.sample(range(len(content)), random.randint(1, 3))
    for position in positions:
        content[position] ^= random.randint(1, 255)
    path.write_bytes(content)
    return f"{path.name} changed at {positions}"


def corrupt_is_refused(folder: Path, scratch: Path, random: random.Random) -> bool:
    """Corrupt a file of the newest of two states; True if the one before is then loaded, False if nothing changed.

    Raises:
        AssertionError: another content is loaded, or the reason does not name the file.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder, scratch)
    before, newest = sorted(scratch.glob("*.json"))
    expected, content = _read(folder / before.name), _read(folder / newest.name)
    damage = corrupt(random.choice([newest, newest.with_suffix(".safetensors")]), random)
    state = load_state(scratch)
    if not state.corrupt:
        assert _same(state, content), damage  # white space between the facts
        return False
    assert _same(state, expected), damage
    assert len(state.corrupt) == 1
    assert str(newest) in state.corrupt[0]
    assert "\n" not in state.corrupt[0]
    return True


def train_with_nan(config: TrainConfig, step: int) -> Path:
    """Work for a child: train with a loss of NaN in one step, counted over all epochs."""
    healthy = TsCam.loss
    steps = itertools.count(1)

    def loss(self: TsCam, features: Features, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        return healthy(self, features, labels, label_smoothing=label_smoothing) * (nan if next(steps) == step else 1.0)

    TsCam.loss = loss  # type: ignore[assignment, method-assign]
    return train(config)


def _read(path: Path) -> State:
    """The content of one state, by itself."""
    scratch = path.parent.with_name("one state")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for suffix in (".json", ".safetensors"):
        shutil.copy(path.with_suffix(suffix), scratch)
    return load_state(scratch)


def _same(one: State, other: State) -> bool:
    return (
        one.facts == other.facts
        and one.tensors.keys() == other.tensors.keys()
        and all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    )
