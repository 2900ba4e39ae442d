"""States and models that are saved again and again, each one told from all others by what is in it."""

import os
import tempfile
from pathlib import Path

import torch

from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import save_model
from tscam.model import LocalizationModel, create_model
from tscam.training.run.state import load_state, save_state

_SHAPES = ((5, 7), (300, 40), (1,))


def model_of(number: int) -> LocalizationModel:
    """A model with this number in each of its weights."""
    model = create_model(
        "vit_tiny_patch16_224",
        label_names=3,
        image_size=16,
        backbone_args={"embed_dim": 24, "depth": 1, "num_heads": 2},
    )
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, number)
    return model


def save(run: Path, number: int) -> None:
    """Saves state and model of this number."""
    tensors = {f"tensor {place}": torch.full(shape, float(number)) for place, shape in enumerate(_SHAPES)}
    save_state(run / "state", tensors, {"number": number, "rows": [number] * 10})
    save_model(model_of(number), run / "weights" / "last")


def saved(run: Path) -> tuple[int, int]:
    """The numbers of the state and of the model that are there.

    Raises:
        AssertionError: one is not wholly of one number, or a state is corrupt.
    """
    state = load_state(run / "state")
    number = state.facts["number"]
    assert isinstance(number, int)
    assert not state.corrupt
    assert state.facts["rows"] == [number] * 10
    for place, shape in enumerate(_SHAPES):
        assert torch.equal(state.tensors[f"tensor {place}"], torch.full(shape, float(number)))
    model = load_model(run / "weights" / "last")
    values = {value for tensor in model.state_dict().values() for value in tensor.unique().tolist()}
    assert len(values) == 1, values
    return number, int(values.pop())


def keep_saving(run: Path, log: Path, count: int, elsewhere: Path) -> None:
    """Saves number after number from 1 on, and logs what is begun and done; temporary files belong elsewhere."""
    assert Path(tempfile.gettempdir()) == elsewhere
    assert elsewhere.stat().st_dev != run.stat().st_dev
    with log.open("ab", buffering=0) as written:
        for number in range(1, count + 1):
            written.write(f"begun {number}\n".encode())
            save(run, number)
            written.write(f"done {number}\n".encode())


def logged(log: Path) -> tuple[int, int]:
    """The last numbers that were begun and done."""
    last = {"begun": 0, "done": 0}
    for line in log.read_text().splitlines():
        word, number = line.split()
        last[word] = int(number)
    return last["begun"], last["done"]


def other_disk(path: Path) -> Path:
    """A folder for temporary files on another disk than a path's."""
    for place in (Path("/dev/shm"), Path("/run"), Path("/var/tmp"), Path("/tmp"), Path.home()):
        if place.is_dir() and os.access(place, os.W_OK) and place.stat().st_dev != path.stat().st_dev:
            return Path(tempfile.mkdtemp(dir=place))
    raise AssertionError(f"no other disk than that of {path}")


def require_whole(run: Path, log: Path) -> None:
    """What a kill has left is the number that was begun, or the one before it.

    Raises:
        AssertionError: it is not.
    """
    begun, done = logged(log)
    of_state, of_model = saved(run)
    assert done <= of_model <= of_state <= begun <= done + 1, (begun, done, of_state, of_model)
