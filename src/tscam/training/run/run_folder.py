"""The folder of a training run: its settings, a row of metrics an epoch, the best and the last weights, its state."""

import json
import platform
import re
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from tscam.backbones.creation import pretrained_source
from tscam.checkpoints.model_folder import save_model
from tscam.config import TrainConfig
from tscam.errors import TrainingError
from tscam.model import LocalizationModel
from tscam.recipe import to_yaml, train_config
from tscam.training.run.progress import EpochRow
from tscam.training.run.state import State, load_state, save_state
from tscam.writing import (
    LOCK,
    claim_output,
    literal,
    locked,
    require_claimable,
    write_csv,
    write_json,
    write_text_atomically,
)

_VERSIONS_OF = ("tscam", "torch", "timm", "accelerate", "numpy", "opencv-python-headless", "pillow")

# Those of them whose change a person should know of when a run goes on.
_TOLD_OF = ("tscam", "torch", "timm")

# What a folder of a run may hold that has not saved its first state, beside `state`; and what that may.
_BEGUN = re.compile(r"config\.yaml|run\.json|\.lock|\..*\.part")
_BEGUN_STATE = re.compile(r"\d{6,}\.safetensors|\..*\.part")

_OTHER_DATA = (
    "the data set has changed since the run began (its pictures' names, sizes in bytes, labels or boxes); put it back, "
    "or train anew into another folder"
)

# Settings that do not change the result: where things are and how fast they go.
_FREE = frozenset(
    {
        "data", "out", "overwrite", "device", "devices", "processes", "workers", "cache", "accumulate", "auto_batch",
        "save_minutes", "samples_every", "tracker",
    }
)  # fmt: skip


class RunFolder:
    """A run folder. Only the first of several processes holds it and writes.

    Attributes:
        path: absolute.
        config: settings of the run, its paths absolute; they stand in `config.yaml`, but for `overwrite`: a recipe
            that is run again must not empty the run that it came from.
        selection: how the best epoch is chosen; it stands beside its numbers wherever they are.
        dataset: name of the data set's reader, which does so too.
        data_hash: of everything that is read of the data set but the pixels.
    """

    def __init__(self, config: TrainConfig, *, selection: str, dataset: str, data_hash: str) -> None:
        self.path = literal(config.out)
        self.config = replace(
            config, data=literal(config.data), out=self.path, weights=_absolute(config.weights), overwrite=False
        )
        self.selection, self.dataset, self.data_hash = selection, dataset, data_hash
        self._base_model = pretrained_source(config.backbone) if config.weights == "pretrained" else ""
        self._overwrite = config.overwrite
        self._inputs = (config.data, Path(config.weights))  # `pretrained` names no file, which does no harm

    def require_free(self) -> None:
        """Refuses the folder for a new run as `begun` would, and leaves it as it is.

        Raises:
            OutputError: another process holds it, it is in use, or it cannot be written.
        """
        is_locked = False
        with suppress(OSError):  # A name that no file can have is refused below.
            is_locked = (self.path / LOCK).exists()
        if is_locked:
            with locked(self.path):
                pass
        require_claimable(self.path, overwrite=self._overwrite, inputs=self._inputs)

    def require_same_data(self) -> None:
        """Refuses to begin a run anew with other data than it was begun with.

        Raises:
            TrainingError: the data set is not that of `run.json`.
        """
        if self._begun_with().get("data", self.data_hash) != self.data_hash:
            raise TrainingError(f"{self.config.data}: {_OTHER_DATA}")

    def changed_versions(self) -> list[str]:
        """Packages whose version is another than when the run began, each with both; empty where that is not known."""
        versions = self._begun_with().get("versions")
        then = versions if isinstance(versions, dict) else {}
        now = {name: version(name) for name in _TOLD_OF}
        return [f"{name} was {then[name]} and is {now[name]}" for name in now if then.get(name, now[name]) != now[name]]

    @contextmanager
    def held(self) -> Generator[None]:
        """Keeps other runs out; what a killed process has begun to write is removed.

        Raises:
            OutputError: another process holds the folder, or it cannot be written.
        """
        with locked(self.path):
            for begun in list(self.path.rglob(".*.part")):
                with suppress(OSError):
                    begun.unlink()
            yield

    @contextmanager
    def begun(self) -> Generator[None]:
        """Keeps other runs out; the folder is claimed for a new run, and its settings are written.

        Raises:
            OutputError: the folder is in use or cannot be written.
        """
        with locked(self.path):  # not `held`: the folder may be another's
            claim_output(self.path, overwrite=self._overwrite, inputs=self._inputs)
            write_text_atomically(self.path / "config.yaml", to_yaml(self.config))
            run: dict[str, Any] = {
                "versions": {name: version(name) for name in _VERSIONS_OF},
                "python": platform.python_version(),
                "platform": platform.platform(),
                "git": _git_commit(),
                "seed": self.config.seed,
                "data": self.data_hash,
                "selection": self.selection,
            }
            write_json(self.path / "run.json", run, indent=2)
            yield

    def save(self, tensors: Mapping[str, Tensor], position: Mapping[str, object]) -> None:
        """Keeps the state of the run.

        Raises:
            OutputError: the disk refuses; the states before are as they were.
        """
        facts = {"settings": _settings(self.config), "data": self.data_hash, "position": dict(position)}
        save_state(self.path / "state", tensors, facts)

    def load(self) -> State:
        """The newest state that is whole.

        Raises:
            TrainingError: there is none, or settings or data are not those that it was saved under.
        """
        state = load_state(self.path / "state")
        then, now = state.facts["settings"], _settings(self.config)
        changed = [f"{name} was {then.get(name)!r} and is {now[name]!r}" for name in now if then.get(name) != now[name]]
        if changed:
            raise TrainingError(
                f"{self.path / 'config.yaml'}: settings have changed since the run began: {'; '.join(changed)}; "
                "put them back, or train anew into another folder"
            )
        if state.facts["data"] != self.data_hash:
            raise TrainingError(f"{self.config.data}: {_OTHER_DATA}")
        return state

    def write_rows(self, rows: Sequence[EpochRow]) -> None:
        """Writes `metrics.csv`, whole, so that no death of the process loses or repeats a row.

        Raises:
            OutputError: the disk refuses.
        """
        names = [column.name for column in fields(EpochRow)]
        write_csv(self.path / "metrics.csv", names, [[getattr(row, name) for name in names] for row in rows])

    def write_weights(self, row: EpochRow, model: LocalizationModel, *, is_best: bool) -> None:
        """Keeps an epoch's weights as `weights/last`, and as `weights/best` where it is the best.

        Raises:
            OutputError: the disk refuses.
        """
        metrics = {"protocol": "ts-cam", "dataset": self.dataset, "selection": self.selection, **asdict(row)}
        for name in ("last", "best") if is_best else ("last",):
            save_model(model, self.path / "weights" / name, metrics=metrics, base_model=self._base_model)

    @property
    def best(self) -> Path:
        """The model folder of the best epoch."""
        return self.path / "weights" / "best"

    def _begun_with(self) -> dict[str, Any]:
        """What `run.json` says; empty where it cannot be read."""
        try:
            said = json.loads((self.path / "run.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return said if isinstance(said, dict) else {}


def settings_of_run(path: Path) -> TrainConfig:
    """The settings that a run folder was made with; `out` is where it is now.

    Raises:
        TrainingError: not a run folder.
        ConfigError: its settings cannot be read.
    """
    settings = path / "config.yaml"
    if not settings.is_file():
        raise TrainingError(f"{path}: not the folder of a run, it has no config.yaml; RUN is what train's --out was")
    return train_config(str(settings), out=path)


def require_merely_begun(path: Path) -> None:
    """Refuses a folder that holds anything but what a run has made before its first state.

    Raises:
        TrainingError: there is something else in it, or no run was begun there.
    """
    state = path / "state"
    others = [entry.name for entry in path.iterdir() if not _BEGUN.fullmatch(entry.name) and entry != state]
    if state.is_dir():
        others += [f"state/{entry.name}" for entry in state.iterdir() if not _BEGUN_STATE.fullmatch(entry.name)]
    elif state.exists():
        others.append("state")
    if others:
        raise TrainingError(
            f"{path}: no state of a run is here, and beginning anew would remove {min(others)!r} ({len(others)} such "
            "in all); move what you need elsewhere, then `tscam train … --overwrite`"
        )
    if not (path / "run.json").is_file() and not (path / LOCK).exists():
        raise TrainingError(f"{path}: no run was begun here, it has no run.json; RUN is what train's --out was")


def _settings(config: TrainConfig) -> dict[str, object]:
    """Those that decide the result, as JSON keeps them."""
    kept = {name: value for name, value in asdict(config).items() if name not in _FREE}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def _absolute(weights: str) -> str:
    return str(literal(Path(weights))) if weights not in ("pretrained", "none") else weights


def _git_commit() -> str | None:
    """The commit of the working copy that this package runs from, with `+` where it was changed; None outside one."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # else it may be another project's folder around ours
        return git("describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
