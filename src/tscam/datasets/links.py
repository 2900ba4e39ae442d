"""Links out of a data set: a folder that the user named may have them, a list of names may not use them."""

import os
from pathlib import Path

from tscam.datasets.base import Dataset
from tscam.errors import DataError


class Inside:
    """Tells if paths below a folder stay inside the data set when links are followed.

    Args:
        root: the folder that the user named.
        folder: the folder that paths are relative to; it may itself be a link to another place.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._folder = str(folder)
        self._real_roots = tuple(os.path.join(os.path.realpath(path), "") for path in (root, folder))  # noqa: PTH118
        self._real_parents: dict[str, str] = {}

    def target(self, path: str) -> str | None:
        """Return where a path leads, if that is outside; None for all others, and for missing files."""
        parent, _, name = path.rpartition("/")
        real_parent = self._real_parents.get(parent)
        if real_parent is None:
            real_parent = os.path.realpath(os.path.join(self._folder, parent))  # noqa: PTH118 - a million paths.
            self._real_parents[parent] = real_parent
        real = os.path.join(real_parent, name)  # noqa: PTH118
        if os.path.islink(real):  # noqa: PTH114
            real = os.path.realpath(real)
        return None if real.startswith(self._real_roots) else real

    def require(self, path: str, source: str) -> None:
        """Refuse a path that a list names and that leads outside.

        Raises:
            DataError: it does.
        """
        target = self.target(path)
        if target is not None:
            raise DataError(
                f"{source}: {path!r:.200} is a link out of the data set, to {target!r:.200}; copy it, a list may not "
                "name such a link"
            )


def outside_pictures(dataset: Dataset) -> list[str]:
    """Return the pictures of a split that are behind links out of the data set."""
    prefix = os.path.relpath(dataset.image_root, dataset.root)
    if prefix.startswith(".."):  # wsolevaluation's pictures, where the user named the folder of their lists.
        inside, prefix = Inside(dataset.root, dataset.image_root), "."
    else:
        inside = Inside(dataset.root, dataset.root)
    paths = (image_id if prefix == "." else f"{prefix}/{image_id}" for image_id in dataset.image_ids)
    return [
        image_id for image_id, path in zip(dataset.image_ids, paths, strict=True) if inside.target(path) is not None
    ]
