"""Data sets, one reader a file; importing this package files them all."""

from tscam.datasets import cub, folder, imagenet
from tscam.datasets.base import Dataset, DatasetReader, dataset_readers, find_reader, read_dataset, recognize
from tscam.datasets.check import DatasetCheck, SplitCheck, check_dataset, require_usable, verify_pictures

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
    "imagenet",
    "read_dataset",
    "recognize",
    "require_usable",
    "verify_pictures",
]
