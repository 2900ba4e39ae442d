"""Bytes of a state that change on the disk, and what must come of it; a loss that is no number."""

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
from tscam.training.loop import train
from tscam.training.run.state import State, load_state


def spoil(path: Path, random: random.Random) -> str:
    """Flips bits of one to three bytes of a file, or cuts it off; returns what was done."""
    content = bytearray(path.read_bytes())
    if random.random() < 0.3:
        length = random.randrange(len(content))
        path.write_bytes(content[:length])
        return f"{path.name} cut off at {length}"
    places = random.sample(range(len(content)), random.randint(1, 3))
    for place in places:
        content[place] ^= random.randint(1, 255)
    path.write_bytes(content)
    return f"{path.name} changed at {places}"


def spoilt_is_refused(folder: Path, scratch: Path, random: random.Random) -> bool:
    """Spoils a file of the newest of two states; True where the one before is then taken, False where nothing changed.

    Raises:
        AssertionError: another content is taken, or the reason does not name the file.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder, scratch)
    before, newest = sorted(scratch.glob("*.json"))
    expected, content = _read(folder / before.name), _read(folder / newest.name)
    done = spoil(random.choice([newest, newest.with_suffix(".safetensors")]), random)
    state = load_state(scratch)
    if not state.spoilt:
        assert _same(state, content), done  # white space between the facts
        return False
    assert _same(state, expected), done
    assert len(state.spoilt) == 1
    assert str(newest) in state.spoilt[0]
    assert "\n" not in state.spoilt[0]
    return True


def train_with_nan(config: TrainConfig, step: int) -> Path:
    """Work for a child: the loss of this step, counted over all epochs, is NaN."""
    healthy = TsCam.loss
    steps = itertools.count(1)

    def loss(self: TsCam, features: Features, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        return healthy(self, features, labels, label_smoothing=label_smoothing) * (nan if next(steps) == step else 1.0)

    TsCam.loss = loss  # type: ignore[assignment, method-assign]
    return train(config)


def _read(path: Path) -> State:
    """The state that is oldest but for this one's followers."""
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
