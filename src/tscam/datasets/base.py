"""What a data set is, and the readers that make one from a folder. Each reader turns its convention into ours, once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from tscam.datasets.mask_files import Masks
from tscam.errors import DataError
from tscam.registry import Registry


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """One split of a data set, column by column (a million pictures are a million short strings, not objects).

    Attributes:
        name: of its reader: `cub`, `imagenet`, `wsol`, `folder`.
        split: which part this is.
        root: the folder that was given.
        image_root: the folder that `image_ids` are relative to.
        class_names: the name of each class, by class id.
        image_ids: path of each picture relative to `image_root`, with forward slashes; unique in the split.
        labels: class id of each picture, from 0.
        boxes: of each picture, float `(x0, y0, x1, y1)` half-open edges in pixels of the picture as displayed; `(0, 4)`
            for a picture without boxes; None where the whole data set has none.
        box_rule: how evaluation rounds these boxes to view pixels (`tscam.metrics.ts_cam`).
        threshold: the published one, fraction of the map's maximum.
        masks: the files of each picture's segmentation; None where the data set has none.
        sizes_wh: width and height of each picture as displayed, in pixels, where the data set's own lists state them;
            None where the pictures must be asked.
    """

    name: str
    split: str
    root: Path
    image_root: Path
    class_names: tuple[str, ...]
    image_ids: tuple[str, ...]
    labels: Int[np.ndarray, " n"]
    boxes: tuple[Float[np.ndarray, "_ 4"], ...] | None
    box_rule: Literal["cub", "ilsvrc"] = "ilsvrc"
    threshold: float = 0.10
    masks: tuple[Masks, ...] | None = None
    sizes_wh: Int[np.ndarray, "n 2"] | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    def path(self, index: int) -> Path:
        """The file of a picture."""
        return self.image_root / self.image_ids[index]

    def subset(self, indices: Sequence[int] | Int[np.ndarray, " m"], *, split: str) -> "Dataset":
        """The pictures of these indices, in their order, under the name of another split."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            split=split,
            image_ids=tuple(self.image_ids[index] for index in indices),
            labels=self.labels[chosen],
            boxes=None if self.boxes is None else tuple(self.boxes[index] for index in indices),
            masks=None if self.masks is None else tuple(self.masks[index] for index in indices),
            sizes_wh=None if self.sizes_wh is None else self.sizes_wh[chosen],
        )


@dataclass(frozen=True, kw_only=True)
class DatasetReader:
    """How one layout of a data set is read.

    Attributes:
        recognizes: does this folder look like that layout? Looks at names alone.
        splits: names of the splits that the folder holds, of `train`, `val` and `test`, or `all` alone.
        read: folder and split → `Dataset`. Raises `DataError`, naming file and line.
    """

    recognizes: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
    read: Callable[[Path, str], Dataset]

    def training_split(self, root: Path) -> str:
        """The split that `train` takes unless told otherwise: `train`, else `all`.

        Raises:
            DataError: the folder holds neither.
        """
        return self._first_held(root, ("train", "all"), purpose="training")

    def test_split(self, root: Path) -> str:
        """The split that `evaluate` takes unless told otherwise: `test`, else `val`, else `all`.

        Raises:
            DataError: the folder holds none of them.
        """
        return self._first_held(root, ("test", "val", "all"), purpose="test")

    def _first_held(self, root: Path, wanted: tuple[str, ...], *, purpose: str) -> str:
        held = self.splits(root)
        for split in wanted:
            if split in held:
                return split
        raise DataError(
            f"{root}: no {purpose} split; it holds {', '.join(held) or 'none'}, expected {' or '.join(wanted)}"
        )


dataset_readers: Registry[DatasetReader] = Registry("dataset")

# Fits nearly every tree of pictures, ImageNet's too: asked last.
_ASKED_LAST = "folder"


def read_dataset(root: Path, *, name: str | None = None, split: str | None = None) -> Dataset:
    """One split of the data set in a folder.

    Args:
        root: the folder.
        name: of the reader; None looks at the folder.
        split: None takes the reader's test split.

    Raises:
        DataError: the folder is missing or empty, holds no known layout, the split holds no picture, or its files are
            broken.
        ConfigError: no reader of that name.
    """
    reader = find_reader(root, name=name)
    chosen = split or reader.test_split(root)
    held = reader.splits(root)
    if chosen not in held:
        raise DataError(f"{root}: no split {chosen!r}; it holds {', '.join(held) or 'none'}")
    dataset = reader.read(root, chosen)
    if not len(dataset):
        raise DataError(f"{root}: the split {chosen!r} holds no picture")
    return dataset


def find_reader(root: Path, *, name: str | None = None) -> DatasetReader:
    """The reader of that name, or the one whose layout the folder has.

    Raises:
        DataError: the folder is missing or empty, or no layout fits.
        ConfigError: no reader of that name.
    """
    if name is None:
        return dataset_readers[recognize(root)]
    reader = dataset_readers[name]
    _require_folder(root)
    return reader


def recognize(root: Path) -> str:
    """The name of the reader whose layout the folder has.

    Raises:
        DataError: none fits.
    """
    _require_folder(root)
    for name in sorted(dataset_readers, key=lambda name: (name == _ASKED_LAST, name)):
        if dataset_readers[name].recognizes(root):
            return name
    raise DataError(
        f"{root}: no data set recognized; expected CUB's list files, ImageNet's train/ and val/, wsolevaluation's "
        f"metadata/, or a folder a class (readers: {', '.join(dataset_readers)})"
    )


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --data takes the folder of a data set")
    if not any(root.iterdir()):
        raise DataError(f"{root}: an empty folder; --data takes the folder of a data set")


def has_boxes(dataset: Dataset) -> bool:
    """Has every picture a box?"""
    return dataset.boxes is not None and all(len(of_picture) for of_picture in dataset.boxes)
