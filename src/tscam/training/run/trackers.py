"""Trackers of experiments: the metrics of a run go to TensorBoard, Weights & Biases, Trackio or MLflow as it trains.

Each works as accelerate drives it. A resumed run continues at its next step: in the same folder of TensorBoard, and as
a new run of the others.
"""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from tscam.errors import ConfigError, did_you_mean, one_line, quoted

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

_PROJECT = "tscam"
_PACKAGES = {"tensorboard": "'tscam[track]'", "wandb": "wandb", "trackio": "trackio", "mlflow": "mlflow"}


class Tracker:
    """Records the metrics of a run; without a backend, and after one has failed, it records nothing."""

    def __init__(self, backend: "GeneralTracker | None" = None, *, on_note: Callable[[str], None] = print) -> None:
        self._backend, self._on_note = backend, on_note

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Record values by name after `step` steps of the whole training."""
        self._try(lambda backend: backend.log(dict(values), step=step))

    def close(self) -> None:
        """Write out what is pending."""
        self._try(lambda backend: backend.finish())

    def _try(self, action: Callable[["GeneralTracker"], None]) -> None:
        if self._backend is None:
            return
        try:
            with redirect_stdout(sys.stderr):  # Standard output is for results.
                action(self._backend)
        except Exception as fault:  # The backends' errors have no common type.
            self._backend = None
            self._on_note(f"the tracker failed and is not used again ({one_line(fault)}); metrics.csv has all epochs")


@contextmanager
def open_tracker(
    name: str | None, *, run: Path, settings: Mapping[str, object], on_note: Callable[[str], None]
) -> Generator[Tracker]:
    """Open the tracker of this name, and close it at the end. None gives one that records nothing.

    Args:
        run: folder of the run; TensorBoard and wandb write below `tracker/` in it.
        settings: recorded once at the start.
        on_note: called with a line of text when the tracker fails.

    Raises:
        ConfigError: no such tracker, it is not installed, or it does not start.
    """
    require_tracker(name)
    if name is None:
        yield Tracker()
        return
    with _single_process_state():
        try:
            with redirect_stdout(sys.stderr):
                tracker = Tracker(_start(name, run=run, settings=settings), on_note=on_note)
        except Exception as fault:  # No common type here, either.
            raise ConfigError(
                f"tracker {name!r} does not start ({one_line(fault)}); set it up as its manual says, or train without"
            ) from fault
        try:
            yield tracker
        finally:
            tracker.close()


def require_tracker(name: str | None) -> None:
    """Refuse a tracker that is unknown or not installed.

    Raises:
        ConfigError: it cannot be opened.
    """
    if name is None:
        return
    if name not in _PACKAGES:
        hint = did_you_mean(name, _PACKAGES) or "."
        raise ConfigError(f"no tracker named {quoted(name)}{hint} Known: {', '.join(sorted(_PACKAGES))}")
    from accelerate.tracking import get_available_trackers

    if name not in map(str, get_available_trackers()):
        raise ConfigError(f"tracker {name!r} is not installed; pip install {_PACKAGES[name]}, or train without")


def _start(name: str, *, run: Path, settings: Mapping[str, object]) -> "GeneralTracker":
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    folder = run / "tracker"
    folder.mkdir(parents=True, exist_ok=True)
    arguments: dict[str, dict[str, object]] = {
        "tensorboard": {"run_name": name, "logging_dir": folder},
        "wandb": {"run_name": _PROJECT, "name": run.name, "dir": str(folder)},
        "trackio": {"run_name": _PROJECT, "name": run.name},
        "mlflow": {"experiment_name": _PROJECT, "run_name": run.name},
    }
    backend = LOGGER_TYPE_TO_CLASS[name](**arguments[name])
    backend.start()
    text = {key: str(value) for key, value in settings.items()}
    if name == "tensorboard":  # Its `store_init_configuration` makes two more folders, which it then shows as runs.
        backend.log({"settings": "\n".join(f"    {key}: {value}" for key, value in text.items())}, step=0)
    else:
        backend.store_init_configuration(text)
    return backend


@contextmanager
def _single_process_state() -> Generator[None]:
    """Give accelerate the state of a single process that uses no GPU, unless the program has made one already.

    From the environment it would join a group of processes.
    """
    from accelerate import PartialState
    from accelerate.utils import clear_environment

    if PartialState._shared_state:
        yield
        return
    with clear_environment():
        PartialState(cpu=True)
    try:
        yield
    finally:
        PartialState._reset_state()
