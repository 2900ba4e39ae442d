"""Names of splits: what people call their folders, and the one name that a split has inside."""

from collections.abc import Callable
from pathlib import Path

from tscam.datasets.listings import folder_names
from tscam.errors import DataError

SPLITS = ("train", "val", "test")

_SYNONYMS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


def split_name(name: str) -> str:
    """Return the split that a folder's name means, in any case: `Validation` is `val`; any other name as it is."""
    return _SYNONYMS.get(name.casefold(), name)


def split_folders(parent: Path, *, is_split: Callable[[Path], bool] = lambda _: True) -> dict[str, Path]:
    """Return the folder of each split in a folder, in the order of `SPLITS`.

    Args:
        is_split: true for a folder that is one by its content, too.

    Raises:
        DataError: two folders are the same split, or the folder cannot be listed.
    """
    folders: dict[str, Path] = {}
    for name in folder_names(parent) if parent.is_dir() else []:
        split = split_name(name)
        if split not in SPLITS or not is_split(parent / name):
            continue
        if split in folders:
            raise DataError(
                f"{parent}: {folders[split].name!r} and {name!r} are both the split {split!r}; keep one of them"
            )
        folders[split] = parent / name
    return {split: folders[split] for split in SPLITS if split in folders}
