"""States and models that are saved again and again, each with its number as content."""

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
    """A model all of whose weights have this value."""
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
    """Save the state and the model of a number."""
    tensors = {f"tensor {index}": torch.full(shape, float(number)) for index, shape in enumerate(_SHAPES)}
    save_state(run / "state", tensors, {"number": number, "rows": [number] * 10})
    save_model(model_of(number), run / "weights" / "last")


def saved(run: Path) -> tuple[int, int]:
    """The numbers of the saved state and model.

    Raises:
        AssertionError: one of them mixes numbers, or a state is corrupt.
    """
    state = load_state(run / "state")
    number = state.facts["number"]
    assert isinstance(number, int)
    assert not state.corrupt
    assert state.facts["rows"] == [number] * 10
    for index, shape in enumerate(_SHAPES):
        assert torch.equal(state.tensors[f"tensor {index}"], torch.full(shape, float(number)))
    model = load_model(run / "weights" / "last")
    values = {value for tensor in model.state_dict().values() for value in tensor.unique().tolist()}
    assert len(values) == 1, values
    return number, int(values.pop())


def keep_saving(run: Path, log: Path, count: int, elsewhere: Path) -> None:
    """Save number after number from 1 on, and log the begin and end of each; temporary files belong elsewhere."""
    assert Path(tempfile.gettempdir()) == elsewhere
    assert elsewhere.stat().st_dev != run.stat().st_dev
    with log.open("ab", buffering=0) as file:
        for number in range(1, count + 1):
            file.write(f"begun {number}\n".encode())
            save(run, number)
            file.write(f"done {number}\n".encode())


def logged(log: Path) -> tuple[int, int]:
    """The last number that was begun, and the last that was done."""
    last = {"begun": 0, "done": 0}
    for line in log.read_text().splitlines():
        word, number = line.split()
        last[word] = int(number)
    return last["begun"], last["done"]


def other_disk(path: Path) -> Path:
    """A folder for temporary files on another disk than that of a path."""
    for folder in (Path("/dev/shm"), Path("/run"), Path("/var/tmp"), Path("/tmp"), Path.home()):
        if folder.is_dir() and os.access(folder, os.W_OK) and folder.stat().st_dev != path.stat().st_dev:
            return Path(tempfile.mkdtemp(dir=folder))
    raise AssertionError(f"no other disk than that of {path}")


def require_whole(run: Path, log: Path) -> None:
    """Assert that a kill has left the number that was begun, or the one before it.

    Raises:
        AssertionError: it has not.
    """
    begun, done = logged(log)
    state_number, model_number = saved(run)
    numbers = (done, model_number, state_number, begun)
    assert done <= model_number <= state_number <= begun <= done + 1, numbers
