"""Runs for the tests of reliability: four different ones, their outcomes, and kills at any event."""

import hashlib
import json
import os
import random
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faults
import tiny_runs
from data_sets import write_folder
from faults import Ended, Fault, in_child
from tscam.config import TrainConfig
from tscam.recipe import to_yaml
from tscam.verbs.train import resume, train

# Minutes between states: one at every step, or at the epochs' ends alone.
EVERY_STEP, EPOCHS = 1e-9, 1e9

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "every step saved": {"save_minutes": EVERY_STEP},
    "three parts a step, average, saved at epochs": {
        "save_minutes": EPOCHS, "accumulate": 3, "ema": 0.9, "schedule": "cosine", "warmup_epochs": 1,
        "layer_decay": 0.7, "clip_norm": 1.0, "label_smoothing": 0.1, "rand_augment": 9, "select": "oracle",
    },
    "two readers, average, every step saved": {"save_minutes": EVERY_STEP, "workers": 2, "ema": 0.5},
    "two readers, three parts a step, saved at epochs": {
        "save_minutes": EPOCHS, "workers": 2, "accumulate": 3, "cache": "ram", "head_learning_rate": 3e-3,
    },
}  # fmt: skip

# The parts of a run by patterns of their events; all other events are of other files of the folder.
PARTS = {
    "before the first step": r"^start",
    "step": r"^step|to train$",
    "scoring": r"to score$",
    "state": r" state\b",
    "weights": r" weights\b",
}


@dataclass(frozen=True, kw_only=True)
class Whole:
    """An uninterrupted run: the number of occurrences by event, and its outcome."""

    events: Mapping[str, int]
    outcome: Mapping[str, str]


class Bench:
    """A dataset, and runs on it: nine pictures of three classes to train on, three held out, six to test on.

    An epoch has three steps, the last one of a single picture.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_folder(folder / "data", splits={"train": 4, "test": 2})
        self._count = 0
        self._wholes: dict[str, Whole] = {}

    def run(self, **changes: Any) -> TrainConfig:
        """A new run, in a folder of its own."""
        self._count += 1
        settings = {"select": "val", "val_fraction": 0.25, "batch_size": 4, "drop_path": 0.2}
        return tiny_runs.settings(self.folder / "data", self.folder / f"{self._count}" / "run", **(settings | changes))

    def whole(self, **changes: Any) -> Whole:
        """The uninterrupted run of these settings."""
        key = json.dumps(changes, sort_keys=True)
        if key not in self._wholes:
            config = self.run(**changes)
            ended = in_child(train, config, watched=config.out)
            assert ended.result == config.out, ended
            self._wholes[key] = Whole(events=ended.events, outcome=outcome(config.out))
        return self._wholes[key]


def memory_folder() -> Path | None:
    """A folder whose files are in memory, if there is one."""
    folder = Path("/dev/shm")
    return folder if os.access(folder, os.W_OK) else None


def recipe_of(config: TrainConfig) -> Path:
    """All settings of a run as a file beside its folder."""
    path = config.out.with_name("recipe.yaml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(to_yaml(config))
    return path


def outcome(run: Path) -> dict[str, str]:
    """Hashes of the files of a run except settings and pictures, and of the facts and tensors of its last state."""
    excluded = {".lock", "config.yaml", "run.json", "results.png"}
    contents: dict[str, bytes] = {}
    for path in run.rglob("*"):
        name = path.relative_to(run).as_posix()
        if path.is_file() and name not in excluded and path.parent.name != "state":
            contents[name] = path.read_bytes().replace(str(run).encode(), b"RUN")
    states = sorted((run / "state").iterdir())
    assert [path.suffix for path in states] == [".json", ".safetensors"] * 2  # and no partial file
    contents["facts of the last state"] = json.dumps(json.loads(states[-2].read_bytes())["facts"]).encode()
    contents["tensors of the last state"] = states[-1].read_bytes()
    return {name: hashlib.sha256(content).hexdigest()[:12] for name, content in sorted(contents.items())}


def part_of(event: str) -> str:
    """The part of a run that an event belongs to."""
    return next((part for part, pattern in PARTS.items() if re.search(pattern, event)), "other files")


def kills(events: Mapping[str, int], count: int, random: random.Random) -> list[Fault]:
    """Random kills, in each part of a run in turn.

    Where native code has just written a file, every second kill leaves half of it.
    """
    by_part: dict[str, list[str]] = {}
    for event in events:
        by_part.setdefault(part_of(event), []).append(event)
    drawn = []
    for number in range(count):
        event = random.choice(list(by_part.values())[number % len(by_part)])
        is_tensors = "open r+" in event and ("state/" in event or "model.safetensors" in event)
        do = faults.kill_half_written if is_tensors and random.random() < 0.5 else faults.kill
        drawn.append(Fault(event=event, nth=random.randint(1, events[event]), do=do))
    return drawn


def kill_and_resume(config: TrainConfig, kills: Sequence[Fault]) -> None:
    """Begin a run, kill it at each of the events in turn, and resume it until it has ended."""
    ended = in_child(train, config, watched=config.out, faults=kills[:1])
    for again in [*kills[1:], None]:
        assert ended.code == -signal.SIGKILL, ended
        ended = go_on(config, faults=[] if again is None else [again])
    assert ended.result == config.out, ended


def go_on(config: TrainConfig, *, faults: Sequence[Fault] = ()) -> Ended:
    """Resume a run; a run whose settings were not yet written begins again."""
    is_run = (config.out / "config.yaml").is_file()
    return in_child(*((resume, config.out) if is_run else (train, config)), watched=config.out, faults=faults)
