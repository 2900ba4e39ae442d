"""Data sets, one reader a file; importing this package files them all."""

from tscam.datasets import cub, folder, imagenet
from tscam.datasets.base import (
    Dataset,
    DatasetReader,
    dataset_readers,
    find_reader,
    has_boxes,
    read_dataset,
    recognize,
    require_boxes,
)
from tscam.datasets.check import DatasetCheck, SplitCheck, check_dataset, require_usable, verify_pictures
from tscam.datasets.hold_out import hold_out

__all__ = [
    "Dataset",
    "DatasetCheck",
    "DatasetReader",
    "SplitCheck",
    "check_dataset",
    "cub",
    "dataset_readers",
    "find_reader",
    "folder",
    "has_boxes",
    "hold_out",
    "imagenet",
    "read_dataset",
    "recognize",
    "require_boxes",
    "require_usable",
    "verify_pictures",
]
