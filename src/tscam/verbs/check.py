"""The verb `check`: a dataset is read as a whole, and its faults are named."""

from pathlib import Path

from tscam.datasets.check import DatasetCheck, check_dataset
from tscam.system.loading import Progress


def check(data: Path, *, dataset: str | None = None, on_progress: Progress | None = None) -> DatasetCheck:
    """Read every split of a dataset and decode every picture of it.

    Args:
        data: folder of the dataset.
        dataset: name of the dataset reader; detected from the folder by default.
        on_progress: called after every picture with how many are done, of how many.

    Raises:
        DataError: the folder has no known layout, or a list file is broken.
        ConfigError: no reader of that name.
    """
    return check_dataset(data, name=dataset, on_progress=on_progress)
