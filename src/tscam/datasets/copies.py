"""Copies: pictures whose files have the same content."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tscam.datasets.base import Dataset
from tscam.datasets.inspection import Inspection
from tscam.errors import DataError, one_line
from tscam.image import printable
from tscam.system.loading import read_ahead


def shared_pictures(datasets: Sequence[Dataset], inspections: Sequence[Inspection]) -> Iterator[tuple[str, str]]:
    """Yield each picture whose content is also in an earlier split, after the first picture with that content."""
    split_counts = Counter(
        size for files in inspections for size in np.unique(files.byte_counts[files.byte_counts > 0]).tolist()
    )
    sizes = [size for size, splits in split_counts.items() if splits > 1]
    first: dict[bytes, tuple[Dataset, str]] = {}
    for dataset, files in zip(datasets, inspections, strict=True):
        candidates = np.flatnonzero(np.isin(files.byte_counts, sizes)).tolist()
        digests = read_ahead(map(dataset.path, candidates), _digest, workers=os.cpu_count() or 1, depth=64)
        for index, digest in zip(candidates, digests, strict=True):
            first_dataset, image_id = first.setdefault(digest, (dataset, dataset.image_ids[index]))
            if first_dataset is not dataset:
                yield f"{first_dataset.split}: {image_id}", f"{dataset.split}: {dataset.image_ids[index]}"


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as fault:
        raise DataError(f"{printable(path)}: can no longer be read ({one_line(fault)}); check again") from fault
