"""Data sets, one reader a file; importing this package files them all."""

from tscam.datasets.base import Dataset, DatasetReader, dataset_readers, read_dataset, recognize

__all__ = ["Dataset", "DatasetReader", "dataset_readers", "read_dataset", "recognize"]
