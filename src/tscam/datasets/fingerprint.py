"""Hashes of the files that are read from a dataset, so that work on it is resumed only if they are unchanged."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from tscam.datasets.base import Dataset
from tscam.names import nfc


def hash_datasets(datasets: Iterable[Dataset]) -> str:
    """Return a hash of names, sizes in bytes, labels and boxes of all pictures."""
    digest = hashlib.sha256()
    for dataset in datasets:
        sizes = [byte_count(dataset.path(index)) for index in range(len(dataset))]
        boxes = [] if dataset.boxes is None else [picture_boxes.tolist() for picture_boxes in dataset.boxes]
        names = [list(map(nfc, dataset.class_names)), list(map(nfc, dataset.image_ids))]
        facts = [dataset.split, *names, dataset.labels.tolist(), sizes, boxes]
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def hash_masks(datasets: Iterable[Dataset]) -> str:
    """Return a hash of names and sizes in bytes of all masks."""
    digest = hashlib.sha256()
    for dataset in datasets:
        for masks in dataset.masks or ():
            digest.update(json.dumps([[str(file), byte_count(file)] for file in masks.files]).encode())
    return digest.hexdigest()


def byte_count(path: Path) -> int | None:
    """Return the size of a file; None if it cannot be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return None
