"""The folder of a training run: its settings, a row of metrics an epoch, the best and the last weights, its state."""

import json
import platform
import re
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import cast

from torch import Tensor

from tscam.checkpoints.model_folder import save_model
from tscam.decoding import PixelRange
from tscam.errors import TrainingError
from tscam.model import LocalizationModel
from tscam.system.output_folder import LOCK, claimed_output, locked, require_claimable
from tscam.system.writing import remove_partial_files, write_csv, write_json, write_text_atomically
from tscam.training.run.progress import EpochRow
from tscam.training.run.state import State, load_state, save_state

CONFIG_FILE = "config.yaml"

_RECORDED_PACKAGES = ("tscam", "torch", "timm", "accelerate", "numpy", "opencv-python-headless", "pillow")

# Packages whose changed version is reported when a run is resumed.
_REPORTED_PACKAGES = ("tscam", "torch", "timm")

# Files of a run that has not saved its first state, in its folder and in `state`.
_EARLY_FILE = re.compile(r"config\.yaml|run\.json|\.lock|\..*\.part")
_EARLY_STATE_FILE = re.compile(r"\d{6,}\.safetensors|\..*\.part")

_OTHER_DATA = (
    "the dataset has changed since the run began (names, sizes in bytes, labels or boxes of its pictures); put it "
    "back, or train into another folder"
)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run folder.

    Attributes:
        out: the folder, as an absolute path.
        data: folder of the dataset, for messages.
        inputs: files and folders that the run reads; they are never emptied.
        overwrite: replace what is in `out`.
        recipe: text of `config.yaml`: all settings of the run as a recipe that gives the same run again.
        settings: all settings of the run, as JSON values.
        fixed: names of the settings that decide the result; they must not change before the run is resumed.
        seed: seed of the run, for `run.json`.
        save_minutes: minutes between saved states, beside those of every epoch.
        samples_every: epochs between sheets of sample pictures; 0 draws none.
        tracker: name of the tracker that takes the metrics.
    """

    out: Path
    data: Path
    inputs: tuple[Path, ...]
    overwrite: bool
    recipe: str
    settings: Mapping[str, object]
    fixed: tuple[str, ...]
    seed: int
    save_minutes: float
    samples_every: int
    tracker: str | None


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Facts about a run's data and start that are written beside its settings.

    Attributes:
        selection: how the best epoch is chosen, in words.
        dataset: name of the dataset reader.
        data_hash: hash of everything that is read of the dataset except pixels.
        base_model: source of pretrained weights, for the model card; empty if the weights are of another origin.
        pixel_range: the range that pictures of more than eight bits are scaled by; None if there are none.
    """

    selection: str
    dataset: str
    data_hash: str
    base_model: str = ""
    pixel_range: PixelRange | None = None


class RunFolder:
    """A run folder. Only the first of several processes locks it and writes.

    Attributes:
        path: absolute.
    """

    def __init__(self, settings: RunSettings, facts: RunFacts) -> None:
        self.path, self.settings, self.facts = settings.out, settings, facts

    @property
    def best(self) -> Path:
        """The model folder of the best epoch."""
        return self.path / "weights" / "best"

    def require_free(self) -> None:
        """Refuse the folder for a new run as `begin` would, without changing it.

        Raises:
            OutputError: another process has locked it, it is not empty, or it cannot be written.
        """
        require_claimable(self.path, overwrite=self.settings.overwrite, inputs=self.settings.inputs)

    def require_same_data(self) -> None:
        """Refuse to restart a run with other data than it began with.

        Raises:
            TrainingError: the dataset differs from that of `run.json`.
        """
        if self._read_record().get("data", self.facts.data_hash) != self.facts.data_hash:
            raise TrainingError(f"{self.settings.data}: {_OTHER_DATA}")

    def recorded_pixel_range(self) -> PixelRange | None:
        """The range that the run began with; None if its pictures have eight bits.

        Raises:
            TrainingError: `run.json` states something else.
        """
        try:
            return PixelRange.from_json(self._read_record().get("pixel_range"))
        except ValueError as fault:
            raise TrainingError(f"{self.path / 'run.json'}: {fault}; put it back") from fault

    def changed_versions(self) -> list[str]:
        """Packages whose version has changed since the run began, each with both; empty if that is not known."""
        recorded = self._read_record().get("versions")
        then = recorded if isinstance(recorded, dict) else {}
        now = {name: version(name) for name in _REPORTED_PACKAGES}
        return [f"{name} was {then[name]} and is {now[name]}" for name in now if then.get(name, now[name]) != now[name]]

    @contextmanager
    def reopen(self) -> Generator[None]:
        """Lock the folder of a resumed run; remove partial files that a killed process left.

        Raises:
            OutputError: another process has locked the folder, or it cannot be written.
        """
        with locked(self.path):
            remove_partial_files(self.path)
            yield

    @contextmanager
    def begin(self) -> Generator[None]:
        """Lock the folder, claim it for a new run and write its settings.

        Raises:
            OutputError: the folder is not empty or cannot be written.
        """
        with claimed_output(self.path, overwrite=self.settings.overwrite, inputs=self.settings.inputs):
            write_text_atomically(self.path / CONFIG_FILE, self.settings.recipe)
            record: dict[str, object] = {
                "versions": {name: version(name) for name in _RECORDED_PACKAGES},
                "python": platform.python_version(),
                "platform": platform.platform(),
                "git": _git_commit(),
                "seed": self.settings.seed,
                "data": self.facts.data_hash,
                "selection": self.facts.selection,
            }
            if self.facts.pixel_range is not None:
                record["pixel_range"] = self.facts.pixel_range.to_json()
            write_json(self.path / "run.json", record, indent=2)
            yield

    def save(self, tensors: Mapping[str, Tensor], position: Mapping[str, object]) -> None:
        """Save the state of the run.

        Raises:
            OutputError: the disk refuses; the states before are unchanged.
        """
        facts = {"settings": self._fixed(), "data": self.facts.data_hash, "position": dict(position)}
        save_state(self.path / "state", tensors, facts)

    def load(self) -> State:
        """Load the newest state that is not corrupt.

        Raises:
            TrainingError: there is none, or settings or data have changed since it was saved.
        """
        state = load_state(self.path / "state")
        then, now = cast("Mapping[str, object]", state.facts["settings"]), self._fixed()
        changed = [f"{name} was {then.get(name)!r} and is {now[name]!r}" for name in now if then.get(name) != now[name]]
        if changed:
            raise TrainingError(
                f"{self.path / CONFIG_FILE}: settings have changed since the run began: {'; '.join(changed)}; "
                "put them back, or train into another folder"
            )
        if state.facts["data"] != self.facts.data_hash:
            raise TrainingError(f"{self.settings.data}: {_OTHER_DATA}")
        return state

    def write_rows(self, rows: Sequence[EpochRow]) -> None:
        """Write `metrics.csv` as a whole, so that no death of the process loses or repeats a row.

        Raises:
            OutputError: the disk refuses.
        """
        names = [column.name for column in fields(EpochRow)]
        write_csv(self.path / "metrics.csv", names, [[getattr(row, name) for name in names] for row in rows])

    def write_weights(self, row: EpochRow, model: LocalizationModel, *, is_best: bool) -> None:
        """Write an epoch's weights as `weights/last`, and also as `weights/best` if it is the best epoch.

        Raises:
            OutputError: the disk refuses.
        """
        facts = self.facts
        metrics = {"protocol": "ts-cam", "dataset": facts.dataset, "selection": facts.selection, **asdict(row)}
        for name in ("last", "best") if is_best else ("last",):
            save_model(model, self.path / "weights" / name, metrics=metrics, base_model=facts.base_model)

    def _fixed(self) -> Mapping[str, object]:
        return {name: self.settings.settings[name] for name in self.settings.fixed}

    def _read_record(self) -> Mapping[str, object]:
        """The content of `run.json`; empty if it cannot be read."""
        try:
            record = json.loads((self.path / "run.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return record if isinstance(record, dict) else {}


def require_only_begun(path: Path) -> None:
    """Refuse a folder that contains anything but the files of a run before its first state.

    Raises:
        TrainingError: there are other files, or no run has begun there.
    """
    state = path / "state"
    others = [entry.name for entry in path.iterdir() if not _EARLY_FILE.fullmatch(entry.name) and entry != state]
    if state.is_dir():
        others += [f"state/{entry.name}" for entry in state.iterdir() if not _EARLY_STATE_FILE.fullmatch(entry.name)]
    elif state.exists():
        others.append("state")
    if others:
        raise TrainingError(
            f"{path}: no state of a run is here, and restarting would remove {min(others)!r} ({len(others)} such files "
            "in all); move what you need elsewhere, then `tscam train … --overwrite`"
        )
    if not (path / "run.json").is_file() and not (path / LOCK).exists():
        raise TrainingError(f"{path}: no run was begun here, it has no run.json; RUN is what train's --out was")


def _git_commit() -> str | None:
    """The commit of the working copy that this package runs from, with `+` if it is changed; None outside one."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # otherwise it may be another project's folder around ours
        return git("describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
