"""Functions that tests run in other processes, which import this module."""

import itertools
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import closing

from faults import kill
from tscam.errors import DataError
from tscam.system.loading import in_processes

ModelChoice = tuple[str, str, Mapping[str, int]]  # backbone, method, arguments of the backbone


def square(number: int) -> tuple[int, int]:
    """Return the square, and the id of the process that computed it."""
    return number * number, os.getpid()


def inverse(number: int) -> float:
    return 1 / number


def refused_at_two(number: int) -> int:
    if number == 2:
        raise DataError("picture 2: no map; add it")
    return number


def killed_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def compiled_and_plain_losses(models: Sequence[ModelChoice]) -> list[tuple[float, float]]:
    """Return the training loss of each model, compiled to one graph and plain; a break in the graph is an error."""
    import torch

    from tscam.model import create_model

    losses = []
    for backbone, method, args in models:
        torch.manual_seed(1)
        model = create_model(
            backbone, label_names=7, method=method, image_size=(64, 96), drop_path=0.5, backbone_args=args
        ).train()
        pixels, labels = torch.randn(3, 3, 64, 96), torch.tensor([4, 0, 6])
        draws = torch.rand(3, len(model.backbone.drop_rates))
        compiled = torch.compile(model.loss, fullgraph=True, backend="eager")
        both = (loss(pixels, labels, draws=draws, label_smoothing=0.1).item() for loss in (compiled, model.loss))
        losses.append((next(both), next(both)))
    return losses


def work_and_be_killed() -> None:
    """Work for a child: write the ids of three processes that work for it, and be killed while they do."""
    with closing(in_processes(itertools.count(), square, processes=3, depth=9)) as results:
        pids: set[int] = set()
        for _, pid in results:
            pids.add(pid)
            if len(pids) == 3:
                os.write(1, " ".join(map(str, pids)).encode() + b"\n")
                kill()
