"""CUB-200-2011, and data sets laid out like it: five list files beside `images/`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from tscam.datasets.base import Dataset, DatasetReader, dataset_readers
from tscam.datasets.links import Inside
from tscam.datasets.listings import box_array, list_lines
from tscam.datasets.mask_files import Masks
from tscam.errors import DataError
from tscam.formats.parsing import finite_number, picture_id, whole_number
from tscam.geometry import Box
from tscam.names import OnDisk, nfc

Cell = TypeVar("Cell")

# Folders below the root that may contain the list files.
_FOLDERS = (".", "CUB_200_2011", "CUB-200-2011")


def _read(root: Path, split: str) -> Dataset:
    """Read one split, its pictures in the order of `images.txt`.

    `images.txt` (`number path`), `image_class_labels.txt` (`number class`, classes from 1), `train_test_split.txt`
    (`number 1` for training) and `classes.txt` (`class name`) are required; `bounding_boxes.txt` (`number x y width
    height`, or `0 0 0 0` without an object) and `segmentations/` are optional. A picture without a box gets none, not a
    guess.

    Raises:
        DataError: a list is missing, a line of it is broken, or the lists do not agree.
    """
    folder = _folder(root) or root
    class_names = _class_names(folder / "classes.txt")
    pictures = _pictures(folder / "images.txt", OnDisk(folder / "images"), Inside(root, folder / "images"))

    def label(text: str, source: str) -> int:
        number = whole_number(text, source)
        if not 1 <= number <= len(class_names):
            raise DataError(f"{source}: class {number}; classes.txt lists 1 to {len(class_names)}")
        return number - 1

    labels = _column(folder / "image_class_labels.txt", label, pictures=pictures, is_complete=True)
    is_training = _column(folder / "train_test_split.txt", _is_training, pictures=pictures, is_complete=True)
    numbers = [number for number in pictures if is_training[number] == (split == "train")]
    image_ids = tuple(pictures[number] for number in numbers)
    boxes = None
    if (folder / "bounding_boxes.txt").exists():
        column = _column(folder / "bounding_boxes.txt", _box, pictures=pictures, is_complete=False)
        boxes = tuple(box_array([column[number]] if number in column else []) for number in numbers)
    masks = None
    if (folder / "segmentations").is_dir():
        masks = tuple(_masks(root, folder / "segmentations", image_ids))
    return Dataset(
        name="cub",
        split=split,
        root=root,
        image_root=folder / "images",
        class_names=class_names,
        image_ids=image_ids,
        labels=np.array([labels[number] for number in numbers], dtype=np.int64),
        boxes=boxes,
        box_rule="cub",
        threshold=0.10,
        masks=masks,
        is_listed=True,
    )


def _masks(root: Path, folder: Path, image_ids: Iterable[str]) -> Iterator[Masks]:
    """Yield the mask of each picture, which may be missing."""
    on_disk, inside = OnDisk(folder), Inside(root, folder)
    for image_id in image_ids:
        name = on_disk(str(PurePosixPath(image_id).with_suffix(".png")))
        inside.require(name, str(folder))
        yield Masks((folder / name,))


def _folder(root: Path) -> Path | None:
    """Return the folder that contains the lists."""
    for name in _FOLDERS:
        if (root / name / "images.txt").is_file() and (root / name / "train_test_split.txt").is_file():
            return root / name
    return None


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield `path:line`, the number and the rest of every line."""
    for source, text in list_lines(path):
        number, *rest = text.split(maxsplit=1)
        if not rest:
            raise DataError(f"{source}: {text!r} is one value; expected a number and a value")
        yield source, number, rest[0]


def _pictures(path: Path, on_disk: OnDisk, inside: Inside) -> dict[str, str]:
    """Return the path of each picture by its number, as the disk spells it."""
    pictures: dict[str, str] = {}
    image_ids: set[str] = set()
    for source, number, text in _rows(path):
        image_id = on_disk(picture_id(text, source))
        inside.require(image_id, source)
        if number in pictures:
            raise DataError(f"{source}: image {number} is listed twice")
        if image_id in image_ids:
            raise DataError(f"{source}: {image_id!r} is listed twice")
        pictures[number] = image_id
        image_ids.add(image_id)
    return pictures


def _column(
    path: Path, parse: Callable[[str, str], Cell], *, pictures: Mapping[str, str], is_complete: bool
) -> dict[str, Cell]:
    """Return the value of each picture in a list; a complete list has one for every picture."""
    column: dict[str, Cell] = {}
    for source, number, text in _rows(path):
        if number not in pictures:
            raise DataError(f"{source}: image {number} is not in images.txt")
        if number in column:
            raise DataError(f"{source}: image {number} is listed twice")
        column[number] = parse(text, source)
    if is_complete and len(column) < len(pictures):
        missing = next(number for number in pictures if number not in column)
        raise DataError(f"{path}: no line for image {missing} ({pictures[missing]!r}) of images.txt")
    return column


def _class_names(path: Path) -> tuple[str, ...]:
    """Return class names as written, `001.Black_footed_Albatross`, in the order of their numbers."""
    names: dict[int, str] = {}
    for source, text, name in _rows(path):
        number = whole_number(text, source)
        if number in names:
            raise DataError(f"{source}: class {number} is listed twice")
        names[number] = nfc(name)
    if not names or sorted(names) != list(range(1, len(names) + 1)):
        raise DataError(f"{path}: classes are numbered {sorted(names)[:3]} …; expected 1, 2, 3 … without gaps")
    return tuple(names[number] for number in sorted(names))


def _is_training(text: str, source: str) -> bool:
    if text not in ("0", "1"):
        raise DataError(f"{source}: split {text!r}; expected 1 for training or 0 for test")
    return text == "1"


def _box(text: str, source: str) -> Box:
    """Convert `x y width height` in pixels to `(x, y, x + width, y + height)`, not rounded or shifted.

    `0 0 0 0` says that the picture has no object.
    """
    numbers = [finite_number(number, source) for number in text.split()]
    if len(numbers) != 4:
        raise DataError(f"{source}: {len(numbers)} numbers for a box; expected x y width height")
    x, y, width, height = numbers
    if not any(numbers):
        return 0.0, 0.0, 0.0, 0.0
    if width <= 0 or height <= 0:
        side = "width" if width <= 0 else "height"
        raise DataError(f"{source}: box x={x:g} y={y:g} width={width:g} height={height:g} has no {side}")
    return x, y, x + width, y + height


dataset_readers.register("cub")(
    DatasetReader(
        recognizes=lambda root: _folder(root) is not None,
        splits=lambda _: ("train", "test"),
        read=_read,
    )
)
