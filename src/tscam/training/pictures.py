"""Training pictures, a batch a step: order and augmentation depend on seed, epoch and picture alone.

So the run is the same for any number of workers and processes, wherever it is taken up again.
"""

import mmap
import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from tscam.datasets import Dataset
from tscam.errors import ConfigError, ImageError, TrainingError, one_line
from tscam.image import InputFormat, read_image
from tscam.system.loading import read_ahead
from tscam.training.augmentation import resized, training_view


class Batch(NamedTuple):
    """What one process trains on in one step; it may be empty.

    Attributes:
        indices: of the pictures in the data set.
        pixels: their views.
        labels: their class ids.
        draws: uniform numbers for stochastic depth.
    """

    indices: Int[Tensor, " b"]
    pixels: UInt8[Tensor, "b H W 3"]
    labels: Int[Tensor, " b"]
    draws: Float[Tensor, "b branches"]


class TrainingPictures(TorchDataset["Batch | ImageError"]):
    """An epoch and picture indices → their batch; or why a picture of it cannot be read.

    Args:
        branches: numbers to draw for each picture.
        fast_decode: let JPEGs be decoded at a smaller size.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        size_hw: tuple[int, int],
        resize_size: int,
        seed: int,
        branches: int,
        rand_augment: int | None = None,
        fast_decode: bool = False,
    ) -> None:
        self.dataset, self.size_hw, self.side, self.seed, self.branches = dataset, size_hw, resize_size, seed, branches
        self.rand_augment, self.least_side = rand_augment, resize_size if fast_decode else None
        self._squares: UInt8[np.ndarray, "n side side 3"] | None = None

    def __getitem__(self, key: tuple[int, list[int]]) -> "Batch | ImageError":
        epoch, indices = key
        count = len(indices)
        pixels = np.empty((count, *self.size_hw, 3), dtype=np.uint8)
        draws = np.empty((count, self.branches), dtype=np.float32)
        for place, index in enumerate(indices):
            random = np.random.default_rng([self.seed, epoch, index])
            try:
                square = self._square(index)
            except ImageError as fault:  # returned: a worker's exception would come with its traceback as the message
                return fault
            pixels[place] = training_view(square, size_hw=self.size_hw, random=random, rand_augment=self.rand_augment)
            draws[place] = random.random(self.branches, dtype=np.float32)
        labels = self.dataset.labels[indices]
        return Batch(*(torch.from_numpy(array) for array in (np.array(indices, dtype=np.int64), pixels, labels, draws)))

    def keep_in_memory(self, *, workers: int) -> None:
        """Decodes every picture once, in threads, into memory that worker processes share.

        Raises:
            ConfigError: there is not so much memory.
            ImageError: a picture cannot be read.
        """
        shape = (len(self.dataset), self.side, self.side, 3)
        needed, free = int(np.prod(shape)), _free_memory()
        if needed > free:
            raise ConfigError(
                f"cache ram needs {needed / 1e9:.1f} GB for {shape[0]} pictures of {self.side}×{self.side} pixels, "
                f"{free / 1e9:.1f} GB are free; train with --cache none"
            )
        # Anonymous and shared: forked workers see it, and no /dev/shm limits it.
        squares = np.frombuffer(mmap.mmap(-1, needed), dtype=np.uint8).reshape(shape)
        loaded = read_ahead(range(len(self.dataset)), self._square, workers=max(workers, 1), depth=64)
        for index, square in enumerate(loaded):
            squares[index] = square
        self._squares = squares

    def _square(self, index: int) -> UInt8[np.ndarray, "side side 3"]:
        if self._squares is not None:
            return self._squares[index]
        return resized(read_image(self.dataset.path(index), least_side=self.least_side), side=self.side)


class EpochOrder(Sampler[tuple[int, list[int]]]):
    """Which pictures one process trains on, step by step, in a new order each epoch.

    The last, smaller batch is trained on too, as in the original. All processes together take the batch that one would.

    Attributes:
        epoch: from 1.
        first_step: where the epoch is entered, from 0.
    """

    def __init__(self, pictures: int, *, batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.pictures, self.batch_size, self.seed = pictures, batch_size, seed
        self.rank, self.processes = rank, processes
        self.epoch, self.first_step = 1, 0

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.pictures // self.batch_size)

    def pictures_in(self, step: int) -> int:
        """Pictures of a step, from 0, over all processes."""
        return min(self.batch_size, self.pictures - step * self.batch_size)

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.pictures)
        for step in range(self.first_step, self.steps):
            whole = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield self.epoch, np.array_split(whole, self.processes)[self.rank].tolist()

    def __len__(self) -> int:
        return self.steps - self.first_step


def training_batches(
    pictures: TrainingPictures, order: EpochOrder, *, workers: int
) -> DataLoader["Batch | ImageError"]:
    """The batches of `order.epoch` from `order.first_step` on, read ahead by worker processes that stay."""
    # A cache in memory is seen by forked workers alone; elsewhere the way of the platform is kept.
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    return DataLoader(
        pictures,
        sampler=order,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_begin_worker,
        multiprocessing_context="fork" if workers and can_fork else None,
        # Its own, else it draws from PyTorch's: once an epoch without workers, once a run with them.
        generator=torch.Generator(),
    )


def read(batches: Iterator["Batch | ImageError"]) -> Iterator[Batch]:
    """The batches of a loader.

    Raises:
        ImageError: a picture cannot be read.
        TrainingError: a worker process was killed.
    """
    while True:
        with reader_deaths_named():
            batch = next(batches, None)
        if batch is None:
            return
        if isinstance(batch, ImageError):
            raise ImageError(f"{batch}, then `tscam resume`") from batch
        yield batch


@contextmanager
def reader_deaths_named() -> Generator[None]:
    """Names the death of a process that reads pictures; its signal finds this process anywhere, in a step or a save.

    Raises:
        TrainingError: one was killed.
    """
    try:
        yield
    except RuntimeError as fault:
        if "DataLoader worker" not in str(fault):
            raise
        raise TrainingError(
            f"a process that reads pictures has died ({one_line(fault)}), often for lack of memory; "
            "go on with `tscam resume`, or train with fewer --workers"
        ) from fault


def end_readers(batches: DataLoader["Batch | ImageError"]) -> None:
    """Ends the processes that read for a loader."""
    # Else multiprocessing ends them by a signal that they do not hear, and waits: an error still refers to the loader.
    if batches._iterator is not None:
        batches._iterator._shutdown_workers()  # type: ignore[attr-defined]  # it is the one of several processes


def normalized(pixels: UInt8[Tensor, "b H W 3"], *, to: InputFormat) -> Float[Tensor, "b 3 H W"]:
    """As `image.normalize`, to the bit, on the device of the pixels."""
    # Tensors, not numbers: division by a number is a multiplication on a GPU.
    full, mean, std = (torch.tensor(values, device=pixels.device) for values in (255.0, to.mean, to.std))
    return ((pixels.float() / full - mean) / std).permute(0, 3, 1, 2).contiguous()


def _begin_worker(_: int) -> None:
    """A signal to the whole group is the training process's to answer, which still needs its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _free_memory() -> int:
    """Bytes that can be had without swapping; where the system does not say, as many as are asked for."""
    memory = Path("/proc/meminfo")
    if memory.is_file():
        sizes = dict(line.split(":") for line in memory.read_text().splitlines())
        return int(sizes["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
