"""The contract of a data set and of its readers; each reader converts one layout of folders and lists to ours."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from tscam.datasets.mask_files import Masks
from tscam.datasets.splits import split_name
from tscam.decoding import DECODE_DEFAULTS, DecodeSettings, PixelRange
from tscam.errors import DataError, first_names
from tscam.image import read_image
from tscam.names import NameTable
from tscam.picture_files import count_endings
from tscam.registry import Registry


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """One split of a data set, column by column (a million pictures are a million short strings, not objects).

    Attributes:
        name: registered name of its reader: `cub`, `imagenet`, `wsol`, `folder`.
        split: name of the split.
        root: the folder that the caller named.
        image_root: the folder that `image_ids` are relative to.
        class_names: the name of each class, by class id.
        image_ids: path of each picture relative to `image_root`, with forward slashes; unique in the split.
        labels: class id of each picture, from 0.
        boxes: boxes of each picture, float `(x0, y0, x1, y1)` half-open edges in pixels of the picture as displayed;
            `(0, 4)` for a picture without boxes; None where the whole data set has none.
        box_rule: how evaluation rounds these boxes to view pixels (`tscam.metrics.ts_cam`).
        threshold: the published threshold, fraction of the map's maximum.
        masks: segmentation files of each picture; None where the data set has none.
        sizes_wh: width and height of each picture as displayed, in pixels, as the lists of the data set state them;
            None where they state none.
        decode: how files of pictures are decoded: the range of values of more than eight bits, and the largest size.
        is_listed: True if lists name the pictures, not folders; `check_dataset` then counts the files that none names.
        notes: what reading left out or passed over, a line of text each; verbs that read the data set say them.
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
    decode: DecodeSettings = DECODE_DEFAULTS
    is_listed: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.image_ids)

    def path(self, index: int) -> Path:
        """Return the file of a picture."""
        return self.image_root / self.image_ids[index]

    def read(self, index: int, *, least_side: int | None = None) -> Image.Image:
        """Return a picture, decoded by `decode`; `least_side` as `decode_picture` takes it.

        Raises:
            ImageError: it cannot be read.
        """
        return read_image(self.path(index), settings=self.decode, least_side=least_side)

    def scaled_by(self, pixel_range: PixelRange | None) -> "Dataset":
        """Return the data set with another range for pictures of more than eight bits."""
        return replace(self, decode=replace(self.decode, pixel_range=pixel_range))

    def describe_gaps(self) -> list[str]:
        """Return what reading left out, and how many pictures have an object where not all have, a line each."""
        lines = list(self.notes)
        with_object = sum(len(boxes) > 0 for boxes in self.boxes or ())
        if self.boxes is not None and not with_object:
            lines.append(
                f"split {self.split!r}: no picture has a box, which training does not need; it counts for "
                "classification alone"
            )
        elif self.boxes is not None and with_object < len(self):
            lines.append(
                f"split {self.split!r}: {with_object} of {len(self)} pictures have an object; the others count for "
                "classification, not for localization"
            )
        return lines

    def subset(self, indices: Sequence[int] | Int[np.ndarray, " m"], *, split: str) -> "Dataset":
        """Return the pictures of these indices, in their order, as a split of another name."""
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
    """Functions that read one layout of a data set.

    Attributes:
        recognizes: True if a folder has this layout; looks at names alone.
        splits: folder → names of its splits, out of `train`, `val` and `test`, or `all` alone.
        read: folder and split → `Dataset`. Raises `DataError`, naming file and line.
    """

    recognizes: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
    read: Callable[[Path, str], Dataset]

    def training_split(self, root: Path) -> str:
        """Return the split that `train` takes by default: `train`, else `all`.

        Raises:
            DataError: the folder contains neither.
        """
        return self._first_split(root, ("train", "all"), purpose="training")

    def test_split(self, root: Path) -> str:
        """Return the split that `evaluate` takes by default: `test`, else `val`, else `all`.

        Raises:
            DataError: the folder contains none of them.
        """
        return self._first_split(root, ("test", "val", "all"), purpose="test")

    def _first_split(self, root: Path, candidates: tuple[str, ...], *, purpose: str) -> str:
        splits = self.splits(root)
        for split in candidates:
            if split in splits:
                return split
        raise DataError(
            f"{root}: no {purpose} split; available: {', '.join(splits) or 'none'}, expected {' or '.join(candidates)}"
        )


dataset_readers: Registry[DatasetReader] = Registry("dataset")

# Fits nearly every tree of pictures, ImageNet's too: tried last.
_TRIED_LAST = "folder"

# Folders, and files, that a message on an unknown layout counts.
_LOOKED_AT = 1000


def read_dataset(
    root: Path, *, name: str | None = None, split: str | None = None, decode: DecodeSettings = DECODE_DEFAULTS
) -> Dataset:
    """Read one split of the data set in a folder.

    Args:
        root: the folder.
        name: registered name of the reader; detected from the folder by default.
        split: name of the split, or another name that `tscam.datasets.splits` knows for it; the reader's test split
            by default.
        decode: how the files of pictures are decoded.

    Raises:
        DataError: the folder is missing or empty or has no known layout, the split is missing or empty, or a file is
            broken.
        ConfigError: no reader of that name.
    """
    reader = find_reader(root, name=name)
    chosen = reader.test_split(root) if not split else split_name(split)
    splits = reader.splits(root)
    if chosen not in splits:
        raise DataError(f"{root}: no split {split!r}; available: {', '.join(splits) or 'none'}")
    dataset = reader.read(root, chosen)
    if not len(dataset):
        notes = "".join(f"; {note.removeprefix(f'split {chosen!r}: ')}" for note in dataset.notes)
        raise DataError(f"{root}: the split {chosen!r} has no pictures{notes}")
    return replace(dataset, decode=decode, notes=(*dataset.notes, *same_names(dataset.class_names)))


def find_reader(root: Path, *, name: str | None = None) -> DatasetReader:
    """Return the reader of that name; by default the one whose layout the folder has.

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
    """Return the name of the reader whose layout the folder has.

    Raises:
        DataError: the folder is missing or empty, or no layout fits.
    """
    _require_folder(root)
    for name in sorted(dataset_readers, key=lambda name: (name == _TRIED_LAST, name)):
        if dataset_readers[name].recognizes(root):
            return name
    raise DataError(
        f"{root}: no data set recognized; expected CUB's list files, ImageNet's train/ and val/, wsolevaluation's "
        f"metadata/, or one folder a class (readers: {', '.join(dataset_readers)}){_endings_found(root)}"
    )


def _endings_found(root: Path) -> str:
    """Return the endings of the first files below a folder, for a message."""
    names = [name for _, _, names in islice(os.walk(root), _LOOKED_AT) for name in names if not name.startswith(".")]
    return f" (found {count_endings(names[:_LOOKED_AT])})" if names else ""


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --data takes the folder of a data set")
    if not any(root.iterdir()):
        raise DataError(f"{root}: an empty folder; --data takes the folder of a data set")


def same_names(class_names: Iterable[str]) -> list[str]:
    """Return a line for every name that several classes have."""
    shared = NameTable(class_names).shared()
    return [
        f"classes {_joined(class_ids)} have one name, {name!r}; call them by their numbers"
        for name, class_ids in shared.items()
    ]


def _joined(numbers: Sequence[int]) -> str:
    texts = [str(number) for number in numbers]
    return " and ".join(texts) if len(texts) == 2 else first_names(texts, at_most=5)


def has_boxes(dataset: Dataset) -> bool:
    """True if a picture has a box: localization is measured on the pictures that have one."""
    return dataset.boxes is not None and any(len(boxes) for boxes in dataset.boxes)
