"""Runs for the tests of reliability: four unlike ones, what came of a run, and a kill with what must follow."""

import hashlib
import json
import random
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import faults
import tiny_runs
from data_sets import write_folder
from faults import Ended, Fault, in_child
from tscam.config import TrainConfig
from tscam.training.loop import resume, train

# Each step's state is saved, or that of the epochs' ends alone.
EVERY_STEP, EPOCHS = 1e-9, 1e9

KINDS: Mapping[str, Mapping[str, Any]] = {
    "every step saved": {"save_minutes": EVERY_STEP},
    "three parts a step, average, saved at epochs": {
        "save_minutes": EPOCHS, "accumulate": 3, "ema": 0.9, "schedule": "cosine", "warmup_epochs": 1,
        "layer_decay": 0.7, "clip_norm": 1.0, "label_smoothing": 0.1, "rand_augment": 9, "select": "oracle",
    },
    "two workers, average, every step saved": {"save_minutes": EVERY_STEP, "workers": 2, "ema": 0.5},
    "two workers, three parts a step, saved at epochs": {
        "save_minutes": EPOCHS, "workers": 2, "accumulate": 3, "cache": "ram", "head_learning_rate": 3e-3,
    },
}  # fmt: skip

# The parts of a run, by what the kinds of their events have in them; all others are of other files of the folder.
PARTS = {
    "before the first step": r"^start",
    "step": r"^step|to train$",
    "scoring": r"to score$",
    "state": r" state\b",
    "weights": r"^swap| weights\b",
}


def data_in(folder: Path) -> Path:
    """A folder with `data`: twelve pictures of three classes to train on, six to test on, all with boxes."""
    write_folder(folder / "data", splits={"train": 4, "test": 2})
    return folder


def settings(folder: Path, **changes: Any) -> TrainConfig:
    """A run `run` on the data of a folder; an epoch has three steps, the last one of a single picture."""
    kept = {"select": "val", "val_fraction": 0.25, "batch_size": 4, "drop_path": 0.2, "out": folder / "run"}
    changed: dict[str, Any] = kept | changes
    return tiny_runs.settings(folder / "data", changed.pop("out"), **changed)


def outcome(run: Path) -> dict[str, str]:
    """Hashes of all that is in a run folder but settings and pictures, and of its last state's facts and tensors."""
    left_out = {".lock", "config.yaml", "run.json", "results.png"}
    found: dict[str, bytes] = {}
    for path in run.rglob("*"):
        name = path.relative_to(run).as_posix()
        if path.is_file() and name not in left_out and path.parent.name != "state":
            found[name] = path.read_bytes().replace(str(run).encode(), b"RUN")
    states = sorted((run / "state").iterdir())
    assert [path.suffix for path in states] == [".json", ".safetensors"] * 2  # and nothing of what was cut short
    found["facts of the last state"] = json.dumps(json.loads(states[-2].read_bytes())["facts"]).encode()
    found["tensors of the last state"] = states[-1].read_bytes()
    return {name: hashlib.sha256(content).hexdigest()[:12] for name, content in sorted(found.items())}


def unbroken(config: TrainConfig) -> Ended:
    """A run without a fault, with its events."""
    ended = in_child(train, config, watched=config.out)
    assert ended.result == config.out, ended
    return ended


def part_of(kind: str) -> str:
    """The part of a run that a kind of event belongs to."""
    return next((part for part, pattern in PARTS.items() if re.search(pattern, kind)), "other files")


def kills(events: Mapping[str, int], count: int, random: random.Random) -> list[Fault]:
    """So many kills in turn in each part of a run, at events that are drawn by lot.

    Where a file has just been written by code beneath Python, every second kill leaves half of it.
    """
    by_part: dict[str, list[str]] = {}
    for kind in events:
        by_part.setdefault(part_of(kind), []).append(kind)
    drawn = []
    for number in range(count):
        kinds = by_part[list(by_part)[number % len(by_part)]]
        kind = random.choice(kinds)
        is_tensors = "open r+" in kind and ("state/" in kind or "model.safetensors" in kind)
        do = faults.kill_half_written if is_tensors and random.random() < 0.5 else faults.kill
        drawn.append(Fault(kind=kind, nth=random.randint(1, events[kind]), do=do))
    return drawn


def killed_and_resumed(config: TrainConfig, kill: Fault, *more: Fault) -> None:
    """Kills a run, kills it again each time it is taken up, and lets it then come to its end.

    A run that has no state yet says that it must begin anew.
    """
    ended = in_child(train, config, watched=config.out, faults=[kill])
    assert ended.code == -signal.SIGKILL, (kill, ended)
    for again in more:
        go_on(config, again)
    ended = go_on(config)
    assert ended.result == config.out, (kill, more, ended)


def go_on(config: TrainConfig, *kill: Fault) -> Ended:
    """Resumes a run, or begins it anew where nothing was saved yet."""
    ended = in_child(resume, config.out, watched=config.out, faults=kill)
    if list((config.out / "state").glob("*.json")) or ended.code:
        return ended
    said = str(ended.error)
    assert "no state was saved yet" in said or "not the folder of a run" in said
    return in_child(train, replace(config, overwrite=True), watched=config.out, faults=kill)


def parts_hit(drawn: Sequence[Fault]) -> set[str]:
    return {part_of(fault.kind) for fault in drawn}
