"""Shared by the tests of training: settings of a tiny run, the content of its folder, a learner and a batch."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tscam.config import TrainConfig
from tscam.model import LocalizationModel, create_model
from tscam.system.processes import ALONE
from tscam.training.learner import Learner
from tscam.training.pictures import Batch
from tscam.training.run.run_folder import RunFacts, RunFolder
from tscam.training.splits import Splits, read_splits
from tscam.verbs.train import learner_settings, training_settings

TINY: Mapping[str, int] = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


def settings(data: Path, out: Path, **changes: Any) -> TrainConfig:
    """Two epochs in batches of five; the last epoch is the best, and no samples are drawn."""
    tiny: dict[str, Any] = {
        "backbone": "vit_tiny_patch16_224", "backbone_args": TINY, "weights": "none", "image_size": 32,
        "resize_size": 36, "epochs": 2, "batch_size": 5, "learning_rate": 1e-3, "learning_rate_steps": (2,),
        "select": "last", "device": "cpu", "workers": 0, "samples_every": 0,
    }  # fmt: skip
    return TrainConfig(data=data, out=out, **(tiny | changes))


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def losses(run: Path) -> list[float]:
    return [float(row["train_loss"]) for row in rows(run)]


def tensors(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / "weights" / which / "model.safetensors")


def saved_facts(run: Path, which: str) -> dict[str, Any]:
    """The facts about a model in its folder: `threshold`, `metrics`, …"""
    config: dict[str, Any] = json.loads((run / "weights" / which / "config.json").read_text())
    facts: dict[str, Any] = config["tscam"]
    return facts


def same_bits(one: Path, other: Path, which: str = "last") -> bool:
    ours, theirs = tensors(one, which), tensors(other, which)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def seeded_model(*, drop_path: float = 0.0, depth: int = 2, seed: int = 3, method: str = "ts-cam") -> LocalizationModel:
    """A model of five classes and views of 16 rows and 24 columns, with random weights that are always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create_model(
            "vit_tiny_patch16_224", label_names=5, image_size=(16, 24), drop_path=drop_path, method=method,
            backbone_args=dict(TINY) | {"depth": depth},
        )  # fmt: skip


def learner_of(model: LocalizationModel, *, notes: list[str] | None = None, **changes: Any) -> Learner:
    """A learner on the CPU; its messages are appended to `notes`."""
    config = settings(Path("data"), Path("run"), **changes)
    messages = [] if notes is None else notes
    model.train()
    return Learner(
        model, learner_settings(config), device=torch.device("cpu"), processes=ALONE, on_note=messages.append
    )


def splits_of(config: TrainConfig) -> Splits:
    """The splits of a run."""
    return read_splits(training_settings(config).splits)


def run_folder_of(config: TrainConfig, *, data_hash: str = "") -> RunFolder:
    """The folder of a run on a class-per-folder dataset whose last epoch is kept."""
    facts = RunFacts(selection="last epoch", dataset="folder", data_hash=data_hash)
    return RunFolder(training_settings(config).run, facts)


def seeded_batch(*, pictures: int = 7, branches: int = 4, seed: int = 5) -> Batch:
    """Noise for `seeded_model`."""
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        indices=torch.arange(pictures),
        pixels=torch.randint(256, (pictures, 16, 24, 3), dtype=torch.uint8, generator=generator),
        labels=torch.randint(5, (pictures,), generator=generator),
        draws=torch.rand((pictures, branches), generator=generator),
    )


def steps(learner: Learner, count: int, *, pictures: int = 7) -> list[float]:
    """The losses of steps, each on its own batch."""
    branches = len(learner.model.backbone.drop_rates)
    return [
        learner.step(
            seeded_batch(pictures=pictures, branches=branches, seed=number), step_number=number, pictures=pictures,
            rate_factor=1.0,
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
