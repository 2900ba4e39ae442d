"""The verb `check`: a dataset is read as a whole, and its faults are named."""

from pathlib import Path

from tscam.datasets.check import DatasetCheck, check_dataset
from tscam.decoding import MAX_PIXELS
from tscam.system.loading import Progress


def check(
    data: Path, *, dataset: str | None = None, max_pixels: int = MAX_PIXELS, on_progress: Progress | None = None
) -> DatasetCheck:
    """Read every split of a dataset and decode every picture of it.

    Args:
        data: folder of the dataset.
        dataset: name of the dataset reader; detected from the folder by default.
        max_pixels: pixels of the largest picture that is read.
        on_progress: called after every picture with how many are done, of how many.

    Raises:
        DataError: the folder has no known layout, or a list file is broken.
        ConfigError: no reader of that name.
    """
    return check_dataset(data, name=dataset, max_pixels=max_pixels, on_progress=on_progress)
