"""Processes that work on one task: this process's rank and device, its share, and what all of them have together.

They are started by `tscam.system.launch`, or by PyTorch's own `torchrun` on one machine or several. PyTorch is
imported only where there are several, or where a device is looked for.
"""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from tscam.errors import ConfigError, PeerError, one_line, quoted

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")

# How long the others wait for one that scores pictures or checks a data set.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """All processes of a task, seen from one of them.

    Attributes:
        rank: index of this process, from 0.
        count: number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """True for the process that writes files and speaks to people."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            from torch import distributed

            with _peer_errors():
                distributed.barrier()

    def sum(self, numbers: Sequence[float], *, device: "torch.device") -> list[float]:
        """Return each number summed over all processes."""
        if self.count == 1:
            return list(numbers)
        import torch
        from torch import distributed

        total = torch.tensor(numbers, dtype=torch.float64, device=device)
        with _peer_errors():
            distributed.all_reduce(total)
        return total.tolist()

    def add_up(self, tensors: Sequence["torch.Tensor"]) -> None:
        """Sum the tensors of the processes in place, all in one message."""
        if self.count == 1 or not tensors:
            return
        import torch
        from torch import distributed

        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _peer_errors():
            distributed.all_reduce(flat)
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def gather(self, items: list[Item]) -> list[Item]:
        """Return the items of all processes, in the order of their ranks."""
        if self.count == 1:
            return items
        from torch import distributed

        items_by_rank: list[list[Item]] = [[] for _ in range(self.count)]
        with _peer_errors():
            distributed.all_gather_object(items_by_rank, items)
        return list(chain.from_iterable(items_by_rank))


# The processes of a task that has one.
ALONE = Processes()


def is_member() -> bool:
    """True if this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def local_rank() -> int:
    """Index of this process among those on this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def own_device(name: str | None, *, gpus: Sequence[int] = ()) -> str | None:
    """Name of the device that this process computes on: each of several processes has a GPU of its own.

    Args:
        name: the device that was asked for; one that is neither None nor `cuda` serves all processes.
        gpus: numbers of the GPUs to use, one for each process; by default the first ones.
    """
    if gpus:
        return f"cuda:{gpus[local_rank()]}"
    if not is_member() or name not in (None, "cuda"):
        return name
    import torch

    return f"cuda:{local_rank()}" if torch.cuda.is_available() else name


def find_device(name: str | None) -> "torch.device":
    """Return the device of that name; None takes the GPU where there is one, else the CPU.

    Raises:
        ConfigError: no such device here.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # it is there, and it computes
    except (RuntimeError, AssertionError, ImportError) as fault:
        devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise ConfigError(f"no device {quoted(name)} here; there is {', '.join(devices)}") from fault
    return device


@contextmanager
def joined(device: str | None) -> Generator[Processes]:
    """All processes of the task that this one was started for; `ALONE` where it was started alone.

    Args:
        device: where this process computes, as `own_device` names it.

    Raises:
        ConfigError: no such device here.
    """
    if not is_member():
        if device not in (None, "cpu"):
            find_device(device)
        yield ALONE
        return
    from torch import distributed

    here = find_device(device)
    is_gpu = here.type == "cuda"
    distributed.init_process_group("nccl" if is_gpu else "gloo", timeout=_PATIENCE, device_id=here if is_gpu else None)
    try:
        yield Processes(rank=distributed.get_rank(), count=distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


@contextmanager
def _peer_errors() -> Generator[None]:
    """Raise `PeerError` where PyTorch finds that another process is no longer there."""
    try:
        yield
    except RuntimeError as fault:
        raise PeerError(
            f"another process has died ({one_line(fault)}); the last saved state is kept, continue with `tscam resume`"
        ) from fault
