"""Training pictures in batches: order and augmentation depend on seed, epoch and picture alone, not on workers."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from tscam.augmentation import training_view
from tscam.datasets import Dataset
from tscam.image import InputFormat, read_image


class TrainingPictures(TorchDataset[tuple[Tensor, int]]):
    """(epoch, index) → training view and class id."""

    def __init__(self, dataset: Dataset, *, to: InputFormat, resize_size: int, seed: int) -> None:
        self.dataset, self.to, self.resize_size, self.seed = dataset, to, resize_size, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = key
        random = np.random.default_rng([self.seed, epoch, index])
        picture = read_image(self.dataset.path(index))
        view = training_view(picture, to=self.to, resize_size=self.resize_size, random=random)
        return torch.from_numpy(view), int(self.dataset.labels[index])


class EpochOrder(Sampler[tuple[int, int]]):
    """A new order each epoch. The last, smaller batch is trained on too, as in the original."""

    def __init__(self, pictures: int, *, seed: int) -> None:
        self.pictures, self.seed, self.epoch = pictures, seed, 1

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.pictures)
        return iter([(self.epoch, int(index)) for index in order])

    def __len__(self) -> int:
        return self.pictures


def training_batches(
    pictures: TrainingPictures, order: EpochOrder, *, batch_size: int, workers: int
) -> DataLoader[tuple[Tensor, int]]:
    """Batches of views `[b 3 H W]` and class ids `[b]`, in the order of `order.epoch`."""
    return DataLoader(
        pictures,
        sampler=order,
        batch_size=batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Its own, else it draws from that of drop path: once an epoch without workers, once a run with them.
        generator=torch.Generator(),
    )
