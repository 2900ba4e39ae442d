"""Data sets, one reader a file; importing this package registers all of them."""

from tscam.datasets import class_folders, cub, imagenet, wsol
from tscam.datasets.base import (
    Dataset,
    DatasetReader,
    dataset_readers,
    find_reader,
    has_boxes,
    read_dataset,
    recognize,
)
from tscam.datasets.check import DatasetCheck, SplitCheck, check_dataset
from tscam.datasets.copies import Copy
from tscam.datasets.hold_out import hold_out
from tscam.datasets.inspection import common_range, require_usable, verify_pictures
from tscam.datasets.mask_files import Masks, read_masks
from tscam.datasets.wsol import require_writable, write_wsol_metadata

__all__ = [
    "Copy",
    "Dataset",
    "DatasetCheck",
    "DatasetReader",
    "Masks",
    "SplitCheck",
    "check_dataset",
    "class_folders",
    "common_range",
    "cub",
    "dataset_readers",
    "find_reader",
    "has_boxes",
    "hold_out",
    "imagenet",
    "read_dataset",
    "read_masks",
    "recognize",
    "require_usable",
    "require_writable",
    "verify_pictures",
    "write_wsol_metadata",
    "wsol",
]
