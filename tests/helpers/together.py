"""Work that several processes do together: scoring pictures, and training."""

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from faults import Fault, kill, watch
from scoring import score
from tscam.checkpoints.loader import load_model
from tscam.config import TrainConfig
from tscam.datasets import read_dataset
from tscam.predictors.pytorch import PyTorchPredictor
from tscam.system.launch import launch
from tscam.system.processes import joined
from tscam.training.run.progress import Progress
from tscam.verbs.train import train


def scores(model: Path, data: Path, counts: Sequence[int]) -> list[list[str]]:
    """The results of the first pictures of a dataset in this process, as text, for each count of pictures."""
    dataset = read_dataset(data, split="test")
    predictor = PyTorchPredictor(load_model(model), device="cpu")
    with joined("cpu") as processes:
        return [
            score(
                predictor, dataset.subset(range(count), split="test"), threshold=0.1, batch_size=4, processes=processes
            ).lines()
            for count in counts
        ]


def left_alone() -> list[float]:
    """Let the second of two processes die while the first one waits for a sum."""
    with joined("cpu") as processes:
        processes.wait()
        if not processes.is_main:
            kill()
        return processes.sum([1.0], device=torch.device("cpu"))


def launched(config: TrainConfig, faults: Sequence[Fault], rank: int) -> object:
    """Train with the number of processes in the settings; one of them has faults."""
    return launch(_trained, (config, faults, rank), processes=config.processes, on_message=lambda _: None)


def _trained(task: tuple[TrainConfig, Sequence[Fault], int], send: Callable[[Progress | str], None]) -> Path:
    config, faults, rank = task
    if int(os.environ["RANK"]) == rank:
        watch(config.out, faults)
    return train(config, on_progress=send, on_note=send)


def rows(run: Path) -> list[dict[str, str]]:
    """The rows of `metrics.csv`."""
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_training(run: Path, other: Path) -> None:
    """Assert the same losses, up to the order in which floats are added, and the same scores."""
    ours, theirs = rows(run), rows(other)
    assert len(ours) == len(theirs)
    for one, another in zip(ours, theirs, strict=True):
        loss, other_loss = float(one.pop("train_loss")), float(another.pop("train_loss"))
        assert abs(loss - other_loss) <= 1e-6 * other_loss
        assert one == another
