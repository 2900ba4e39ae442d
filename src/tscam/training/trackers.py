"""Trackers of other makers, which take a run's metrics as it goes; each by its name, through accelerate.

A run that is cut short and taken up again goes on in the tracker, too, and no point is there twice: beside the
tracker's own files stands a line for each point that it took.
"""

import json
import secrets
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tscam.errors import ConfigError, did_you_mean, one_line

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

_PROJECT = "tscam"

# What takes its later points back when a run goes on from an earlier step; the others keep theirs.
_TAKES_BACK = "tensorboard"

_Point = tuple[int, str]  # A step and the name of a value.


class Tracker:
    """Takes the metrics of a run. This one does nothing."""

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Takes values by name, after so many steps of the whole training."""

    def close(self) -> None:
        """Nothing is taken any more."""


@contextmanager
def open_tracker(
    name: str | None,
    *,
    run: Path,
    settings: Mapping[str, object],
    first_step: int,
    on_note: Callable[[str], None] = lambda _: None,
) -> Generator[Tracker]:
    """The tracker of that name, closed at the end; None gives one that does nothing.

    A tracker that fails later, for want of a network or of space, is left alone from then on: training matters more.

    Args:
        run: folder of the run; what the tracker keeps on this machine is below `tracker/` in it, where it can be told.
        settings: of the run; the tracker takes them once.
        first_step: steps of the training that are done; points after it, from before the run was cut short, are made
            anew.
        on_note: takes what a person should know, as a line of text.

    Raises:
        ConfigError: no such tracker, it is not installed, or it does not start.
    """
    if name is None:
        yield Tracker()
        return
    require_tracker(name)
    with _alone():
        try:
            with _quiet():
                tracker = _Opened(name, run=run, settings=settings, first_step=first_step, on_note=on_note)
        except Exception as fault:  # What other makers raise has no common type.
            raise ConfigError(
                f"tracker {name!r} does not start ({one_line(fault)}); set it up as its makers say, or train without"
            ) from fault
        try:
            yield tracker
        finally:
            tracker.close()


def require_tracker(name: str | None) -> None:
    """Refuses a tracker that cannot be opened.

    Raises:
        ConfigError: no such tracker, or it is not installed.
    """
    if name is None:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, LoggerType, get_available_trackers

    if name not in LOGGER_TYPE_TO_CLASS:
        hint = did_you_mean(name, LOGGER_TYPE_TO_CLASS) or "."
        raise ConfigError(f"no tracker named {name!r}{hint} There are: {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}")
    # One that a program has registered with accelerate is there.
    if name in LoggerType.list() and name not in map(str, get_available_trackers()):
        package = "'tscam[track]'" if name == "tensorboard" else name
        raise ConfigError(f"tracker {name!r} is not installed; pip install {package}, or train without")


class _Opened(Tracker):
    """One of accelerate's, with the points that it has."""

    def __init__(
        self,
        name: str,
        *,
        run: Path,
        settings: Mapping[str, object],
        first_step: int,
        on_note: Callable[[str], None],
    ) -> None:
        self._name, self._on_note = name, on_note
        folder = run / "tracker"
        folder.mkdir(parents=True, exist_ok=True)
        journal = folder / f"{name}.jsonl"
        known_id, points = _read_journal(journal)
        self._has = {point for point in points if name != _TAKES_BACK or point[0] <= first_step}
        new_id = secrets.token_hex(16)  # As long as the pickiest wants it.
        tracker = _create(name, known_id, new_id=new_id, run=run, folder=folder, first_step=first_step)
        tracker.start()
        self._tracker: GeneralTracker | None = tracker
        if name == "wandb":  # Its own steps only rise, and it would drop what comes late for one that it has begun.
            tracker.tracker.define_metric("*", step_metric="step")
        if known_id is None and name == "tensorboard":  # Its own way makes two more folders, which count as runs.
            tracker.log({"settings": _as_table(settings)}, step=0)
        elif known_id is None:
            tracker.store_init_configuration({key: _plain(value) for key, value in settings.items()})
        self._journal = journal.open("a", encoding="utf-8", buffering=1)  # A line is kept even when the process dies.
        self._journal.write("\n")  # Ends one that a crash of the machine has cut off.
        if known_id is None:
            self._journal.write(json.dumps({"id": _own_id(name, tracker) or new_id}) + "\n")

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        new = {key: float(value) for key, value in values.items() if (step, key) not in self._has}
        if self._tracker is None or not new:
            return
        with self._left_alone_on_failure():
            if self._name == "wandb":
                self._tracker.log({**new, "step": step})
            else:
                self._tracker.log(new, step=step)
            self._journal.write(json.dumps({"step": step, "keys": list(new)}) + "\n")

    def close(self) -> None:
        if self._tracker is not None:
            with self._left_alone_on_failure():
                self._tracker.finish()
            self._tracker = None
        self._journal.close()

    @contextmanager
    def _left_alone_on_failure(self) -> Generator[None]:
        try:
            with _quiet():
                yield
        except Exception as fault:  # As above.
            self._tracker = None
            self._on_note(
                f"tracker {self._name!r} has failed ({one_line(fault)}) and is left alone; metrics.csv has all epochs"
            )


def _create(
    name: str, known_id: str | None, *, new_id: str, run: Path, folder: Path, first_step: int
) -> "GeneralTracker":
    """A tracker, not yet started, that goes on with the run of the known id, or begins one, of the new id if it may."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    create: Any = LOGGER_TYPE_TO_CLASS[name]
    either = known_id or new_id
    match name:
        case "tensorboard":
            return create(name, folder, purge_step=first_step + 1 if known_id else None)
        case "wandb":
            return create(_PROJECT, id=either, name=run.name, dir=str(folder), resume="allow")
        case "swanlab":
            return create(_PROJECT, id=either, experiment_name=run.name, logdir=str(folder), resume="allow")
        case "trackio":
            return create(_PROJECT, name=f"{run.name}-{either[:8]}", resume="allow")
        case "comet_ml":
            return create(_PROJECT, experiment_key=either, mode="get_or_create")
        case "mlflow":
            return create(_PROJECT, run_name=run.name, run_id=known_id)
        case "clearml":
            return create(_PROJECT, task_name=run.name, reuse_last_task_id=False, continue_last_task=known_id or False)
        case "aim":
            return create(run.name, folder, run_hash=known_id)
        case "dvclive":
            return create(dir=str(folder / name), resume=known_id is not None, dvcyaml=None, save_dvc_exp=False)
    return create(_PROJECT, *([folder] if create.requires_logging_directory else []))  # Accelerate's convention.


def _own_id(name: str, tracker: "GeneralTracker") -> str | None:
    """The id that a tracker gave to a new run itself."""
    match name:
        case "mlflow":
            return str(tracker.tracker.info.run_id)
        case "clearml":
            return str(tracker.tracker.id)
        case "aim":
            return str(tracker.tracker.hash)
    return None


def _read_journal(path: Path) -> tuple[str | None, list[_Point]]:
    """The id of the run in the tracker, None where it has not begun, and the points that the tracker has."""
    id_, points = None, []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        with suppress(ValueError):  # Cut off where the machine went down.
            entry: dict[str, Any] = json.loads(line)
            id_ = entry.get("id", id_)
            points += [(entry["step"], key) for key in entry.get("keys", [])]
    return id_, points


def _as_table(settings: Mapping[str, object]) -> str:
    """Markdown."""
    return "\n".join(
        ["| setting | value |", "| --- | --- |", *(f"| {key} | {_plain(settings[key])} |" for key in settings)]
    )


def _plain(value: object) -> bool | int | float | str | None:
    """What every tracker takes."""
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _quiet() -> AbstractContextManager[object]:
    """What trackers print goes where messages go: standard output is for results."""
    return redirect_stdout(sys.stderr)


@contextmanager
def _alone() -> Generator[None]:
    """Accelerate's state of processes, which its trackers ask for, as of one process that is alone; gone at the end.

    Left to itself it would be made from the environment: it would join a group of processes or take a GPU.
    A program that has made an `Accelerator` has one already, and keeps it.
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
