"""Training pictures, a batch a step: order and augmentation depend on seed, epoch and picture alone.

So a run is the same for any number of workers and processes, wherever it is resumed.
"""

import mmap
import multiprocessing
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import psutil
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from tscam.datasets import Dataset
from tscam.errors import ConfigError, ImageError, TrainingError, one_line
from tscam.image import InputFormat
from tscam.system.loading import read_ahead
from tscam.training.augmentation import resized, training_view


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """Settings of the training pictures.

    Attributes:
        batch_size: pictures of a step, over all processes.
        resize_size: longer side of the resized pictures that crops are taken from, in pixels; they have the proportions
            of the view.
        seed: seed of order, augmentation and stochastic depth.
        rand_augment: magnitude of RandAugment, 1 to 30; None does none.
        fast_decode: decode JPEGs at a smaller size.
        cache: keep the resized pictures in memory: `ram`.
    """

    batch_size: int
    resize_size: int
    seed: int
    rand_augment: int | None = None
    fast_decode: bool = False
    cache: Literal["none", "ram"] = "none"


class Batch(NamedTuple):
    """One process's share of a step; it may be empty.

    Attributes:
        indices: indices of the pictures in the dataset.
        pixels: their views.
        labels: their class ids.
        draws: uniform numbers for stochastic depth.
    """

    indices: Int[Tensor, " b"]
    pixels: UInt8[Tensor, "b H W 3"]
    labels: Int[Tensor, " b"]
    draws: Float[Tensor, "b branches"]


class TrainingPictures(TorchDataset["Batch | ImageError"]):
    """The batch of an epoch and picture indices, or the error of a picture that cannot be read.

    Args:
        size_hw: height and width of the view, in pixels.
        branches: numbers to draw for each picture.
    """

    def __init__(self, dataset: Dataset, settings: PictureSettings, *, size_hw: tuple[int, int], branches: int) -> None:
        self.dataset, self.settings, self.size_hw, self.branches = dataset, settings, size_hw, branches
        longer = max(size_hw)
        height, width = (round(side * settings.resize_size / longer) for side in size_hw)
        self.resize_hw = (height, width)
        self._resized: UInt8[np.ndarray, "n h w 3"] | None = None

    def __getitem__(self, key: tuple[int, list[int]]) -> "Batch | ImageError":
        epoch, indices = key
        count = len(indices)
        pixels = np.empty((count, *self.size_hw, 3), dtype=np.uint8)
        draws = np.empty((count, self.branches), dtype=np.float32)
        for row, index in enumerate(indices):
            random = np.random.default_rng([self.settings.seed, epoch, index])
            try:
                whole = self._whole(index)
            except ImageError as fault:  # returned: a worker's exception would have its traceback as the message
                return fault
            pixels[row] = training_view(
                whole, size_hw=self.size_hw, random=random, rand_augment=self.settings.rand_augment
            )
            draws[row] = random.random(self.branches, dtype=np.float32)
        labels = self.dataset.labels[indices]
        return Batch(*(torch.from_numpy(array) for array in (np.array(indices, dtype=np.int64), pixels, labels, draws)))

    def keep_in_memory(self, *, workers: int) -> None:
        """Decode every picture once, in threads, into memory that worker processes share.

        Raises:
            ConfigError: there is not enough memory.
            ImageError: a picture cannot be read.
        """
        height, width = self.resize_hw
        shape = (len(self.dataset), height, width, 3)
        needed, free = int(np.prod(shape)), psutil.virtual_memory().available
        if needed > free:
            raise ConfigError(
                f"cache ram needs {needed / 1e9:.1f} GB for {shape[0]} pictures of {height}×{width} pixels, "
                f"{free / 1e9:.1f} GB are free; train with --cache none"
            )
        # Anonymous and shared: forked workers see it, and /dev/shm does not limit it.
        pictures = np.frombuffer(mmap.mmap(-1, needed), dtype=np.uint8).reshape(shape)
        loaded = read_ahead(range(len(self.dataset)), self._whole, workers=max(workers, 1), depth=64)
        for index, whole in enumerate(loaded):
            pictures[index] = whole
        self._resized = pictures

    def _whole(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        if self._resized is not None:
            return self._resized[index]
        least_side = self.settings.resize_size if self.settings.fast_decode else None
        return resized(self.dataset.read(index, least_side=least_side), size_hw=self.resize_hw)


class EpochOrder(Sampler[tuple[int, list[int]]]):
    """The pictures that one process trains on, step by step, in a new order each epoch.

    The last, smaller batch is trained on too, as in the original. All processes together take the batch that a single
    one would.

    Attributes:
        pictures: pictures of an epoch, over all processes.
        batch_size: pictures of a step, over all processes.
        epoch: the epoch that is iterated over, from 1.
        first_step: the step that iteration starts at, from 0.
    """

    def __init__(self, pictures: int, *, batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.pictures, self.batch_size, self.seed = pictures, batch_size, seed
        self.rank, self.processes = rank, processes
        self.epoch, self.first_step = 1, 0

    @property
    def steps(self) -> int:
        """Number of steps of an epoch."""
        return -(-self.pictures // self.batch_size)

    def pictures_in(self, step: int) -> int:
        """Number of pictures of a step, from 0, over all processes."""
        return min(self.batch_size, self.pictures - step * self.batch_size)

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.pictures)
        for step in range(self.first_step, self.steps):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield self.epoch, np.array_split(batch, self.processes)[self.rank].tolist()

    def __len__(self) -> int:
        return self.steps - self.first_step


class TrainingBatches:
    """The batches of one process, read ahead by worker processes that last for the whole training."""

    def __init__(self, pictures: TrainingPictures, order: EpochOrder, *, workers: int) -> None:
        # A cache in memory is visible to forked workers alone; elsewhere the platform's start method is kept.
        can_fork = "fork" in multiprocessing.get_all_start_methods()
        self.pictures, self.order, self.workers = pictures, order, workers
        self._loader = DataLoader(
            pictures,
            sampler=order,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_begin_worker,
            multiprocessing_context="fork" if workers and can_fork else None,
            # A generator of its own; otherwise the loader draws from PyTorch's: once an epoch without workers, once a
            # run with them.
            generator=torch.Generator(),
        )

    def of_epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from 1, starting at a step, from 0.

        Raises:
            ImageError: a picture cannot be read.
            TrainingError: a worker process was killed.
        """
        self.order.epoch, self.order.first_step = epoch, first_step
        return read_batches(iter(self._loader))

    def close(self) -> None:
        """End the worker processes."""
        # Otherwise multiprocessing ends them by a signal that they ignore, and waits: an error still refers to the
        # loader.
        if self._loader._iterator is not None:
            self._loader._iterator._shutdown_workers()  # type: ignore[attr-defined]  # of the iterator with workers


@contextmanager
def open_batches(pictures: TrainingPictures, order: EpochOrder, *, workers: int) -> Generator[TrainingBatches]:
    """The batches of a training, whose worker processes end with the block.

    Raises:
        TrainingError: a worker process was killed.
    """
    batches = TrainingBatches(pictures, order, workers=workers)
    try:
        with _worker_deaths_named():  # PyTorch's signal reaches this process anywhere, in a step or a save
            yield batches
    finally:
        batches.close()


def read_batches(batches: Iterator["Batch | ImageError"]) -> Iterator[Batch]:
    """The batches of a loader.

    Raises:
        ImageError: a picture cannot be read.
        TrainingError: a worker process was killed.
    """
    while True:
        with _worker_deaths_named():
            batch = next(batches, None)
        if batch is None:
            return
        if isinstance(batch, ImageError):
            raise ImageError(f"{batch}, then `tscam resume`") from batch
        yield batch


def normalized(pixels: UInt8[Tensor, "b H W 3"], *, to: InputFormat) -> Float[Tensor, "b 3 H W"]:
    """The bits of `image.normalize`, computed on the device of the pixels."""
    # Tensors, not numbers: division by a number is a multiplication on a GPU.
    full, mean, std = (torch.tensor(values, device=pixels.device) for values in (255.0, to.mean, to.std))
    return ((pixels.float() / full - mean) / std).permute(0, 3, 1, 2).contiguous()


@contextmanager
def _worker_deaths_named() -> Generator[None]:
    """Turn PyTorch's error about a killed worker process into one line with a way out."""
    try:
        yield
    except RuntimeError as fault:
        if "DataLoader worker" not in str(fault):
            raise
        raise TrainingError(
            f"a process that reads pictures has died ({one_line(fault)}), often for lack of memory; "
            "continue with `tscam resume`, or train with fewer --workers"
        ) from fault


def _begin_worker(_: int) -> None:
    """Ignore signals to the whole process group: the training process answers them, and still needs its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
