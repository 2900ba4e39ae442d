"""Processes that work on one task: who this one is, its share, and what all of them hold together.

They are started by `tscam.system.launch`, or by PyTorch's own `torchrun` on one machine or several.
"""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from tscam.errors import PeerError, one_line

Item = TypeVar("Item")

# How long the others wait for one that scores pictures or checks a data set.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """All processes of a task, seen from one of them.

    Attributes:
        rank: of this one, from 0.
        count: of all.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Does this one write files and speak to people?"""
        return self.rank == 0

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            with _peers():
                distributed.barrier()

    def sum(self, numbers: Sequence[float], *, device: torch.device) -> list[float]:
        """Each number summed over all processes."""
        if self.count == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=device)
        with _peers():
            distributed.all_reduce(total)
        return total.tolist()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Sums the tensors of the processes in place, all at once."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _peers():
            distributed.all_reduce(flat)
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def gather(self, items: list[Item]) -> list[Item]:
        """The items of all processes, those of the first one first."""
        if self.count == 1:
            return items
        found: list[list[Item]] = [[] for _ in range(self.count)]
        with _peers():
            distributed.all_gather_object(found, items)
        return [item for of_process in found for item in of_process]


@contextmanager
def _peers() -> Generator[None]:
    """Raises `PeerError` where PyTorch finds that another process is no longer there."""
    try:
        yield
    except RuntimeError as fault:
        raise PeerError(
            f"another process has died ({one_line(fault)}); the last saved state is kept, go on with `tscam resume`"
        ) from fault


# A process that was not started as one of several.
ALONE = Processes()


def is_member() -> bool:
    """Was this process started as one of several?"""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined(device: torch.device) -> Generator[Processes]:
    """All processes of the task that this one was started for; just this one where it was started alone."""
    if not is_member():
        yield ALONE
        return
    is_gpu = device.type == "cuda"
    distributed.init_process_group(
        "nccl" if is_gpu else "gloo", timeout=_PATIENCE, device_id=device if is_gpu else None
    )
    try:
        yield Processes(rank=distributed.get_rank(), count=distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def local_rank() -> int:
    """The number of this process among those on this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))
