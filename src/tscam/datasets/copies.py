"""Copies: pictures whose files have the same content."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int

from tscam.datasets.base import Dataset
from tscam.system.loading import read_ahead

_HEAD = 4096  # Bytes that tell nearly all files of one size apart.


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A picture whose file has the same content as that of an earlier picture, the first with that content."""

    image_id: str
    split: str
    class_name: str
    first_image_id: str
    first_split: str
    first_class_name: str

    def describe(self) -> str:
        """Return a line of text."""
        line = f"{self.first_split}: {self.first_image_id} and {self.split}: {self.image_id} are the same file"
        if self.class_name == self.first_class_name:
            return line
        return f"{line}, under two classes: {self.first_class_name!r}, {self.class_name!r}"


def find_copies(dataset: Dataset) -> list[list[int]]:
    """Return groups of pictures of a split that are copies, each in ascending order; missing files are in no group."""
    byte_counts = np.array([_byte_count(dataset.path(index)) for index in range(len(dataset))], dtype=np.int64)
    return _groups(dataset.path, byte_counts)


def copies_in(datasets: Sequence[Dataset], byte_counts: Sequence[Int[np.ndarray, " _"]]) -> Iterator[Copy]:
    """Yield each picture that is a copy of an earlier one, in the order of the splits and their pictures.

    Args:
        datasets: the splits of a data set.
        byte_counts: size of each file of a split; 0 for what cannot be read.
    """
    starts = np.cumsum([0, *map(len, datasets)])

    def picture(number: int) -> tuple[Dataset, int]:
        split = int(np.searchsorted(starts, number, side="right")) - 1
        return datasets[split], number - int(starts[split])

    def path(number: int) -> Path:
        dataset, index = picture(number)
        return dataset.path(index)

    groups = _groups(path, np.concatenate(byte_counts)) if byte_counts else []
    for other, first in sorted((other, first) for first, *others in groups for other in others):
        (earlier, first_index), (dataset, index) = picture(first), picture(other)
        yield Copy(
            image_id=dataset.image_ids[index],
            split=dataset.split,
            class_name=dataset.class_names[dataset.labels[index]],
            first_image_id=earlier.image_ids[first_index],
            first_split=earlier.split,
            first_class_name=earlier.class_names[earlier.labels[first_index]],
        )


def _groups(path: Callable[[int], Path], byte_counts: Int[np.ndarray, " n"]) -> list[list[int]]:
    sizes, counts = np.unique(byte_counts[byte_counts > 0], return_counts=True)
    candidates = np.flatnonzero(np.isin(byte_counts, sizes[counts > 1])).tolist()
    heads = _by_digest(candidates, path, most=_HEAD)
    same_head: dict[tuple[int, bytes], list[int]] = {}
    for number, digest in heads:
        same_head.setdefault((int(byte_counts[number]), digest), []).append(number)
    same: dict[bytes, list[int]] = {}
    for number, digest in _by_digest(_members(same_head.values()), path, most=None):
        same.setdefault(digest, []).append(number)
    return [group for group in same.values() if len(group) > 1]


def _members(groups: Iterable[list[int]]) -> list[int]:
    """Return the members of groups of several, in ascending order."""
    return sorted(number for group in groups if len(group) > 1 for number in group)


def _by_digest(numbers: Sequence[int], path: Callable[[int], Path], *, most: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield pictures with a digest of their file, or of its first bytes; those that cannot be read are left out."""
    digests = read_ahead(map(path, numbers), partial(_digest, most=most), workers=os.cpu_count() or 1, depth=64)
    for number, digest in zip(numbers, digests, strict=True):
        if digest is not None:
            yield number, digest


def _digest(path: Path, *, most: int | None) -> bytes | None:
    try:
        with path.open("rb") as file:
            if most is not None:
                return hashlib.sha256(file.read(most)).digest()
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


def _byte_count(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
