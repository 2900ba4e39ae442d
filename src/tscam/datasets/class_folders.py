"""A folder a class, the layout that practitioners have, with optional boxes as CSV, COCO JSON or Pascal VOC XML."""

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from tscam.datasets.base import Dataset, DatasetReader, dataset_readers
from tscam.datasets.box_files import BoxRow, coco_boxes, csv_boxes, voc_boxes
from tscam.datasets.listings import Box, box_array, folder_names, picture_names
from tscam.errors import DataError

_SPLITS = ("train", "val", "test")
_VOC = "Annotations"

_BOX_FILES: dict[str, Callable[[Path], Iterator[BoxRow]]] = {
    "boxes.csv": csv_boxes,
    "annotations.json": coco_boxes,
    _VOC: voc_boxes,
}


def _read(root: Path, split: str) -> Dataset:
    """One split: `root/{train,val,test}/<class>/pictures`, or `root/<class>/pictures`, which is the split `all`.

    Ids are relative to `root`. Classes are the folders by name, of all splits together. Boxes come from `boxes.csv`,
    `annotations.json` or `Annotations/`, in `root` or in the folder of the split; pictures are named there relative to
    that folder. An XML file belongs to the picture of its name, `Annotations/<stem>.xml`, or, where several have it, of
    its path, `Annotations/<class>/<stem>.xml`. Every box of a picture is one of the picture's class, whatever category
    the file gives it.

    Raises:
        DataError: no class folders, more than one file of boxes, a broken one, or one that names an unknown picture.
    """
    pictures = {held: _pictures(root, held) for held in _splits(root)}
    class_names = sorted({name for of_split in pictures.values() for name in of_split})
    _require_class_folders(root, class_names)
    numbers = {name: number for number, name in enumerate(class_names)}
    chosen = [(image_id, numbers[name]) for name, image_ids in pictures[split].items() for image_id in image_ids]
    image_ids = tuple(image_id for image_id, _ in chosen)
    every_id = [image_id for of_split in pictures.values() for of_class in of_split.values() for image_id in of_class]
    return Dataset(
        name="folder",
        split=split,
        root=root,
        image_root=root,
        class_names=tuple(class_names),
        image_ids=image_ids,
        labels=np.array([label for _, label in chosen], dtype=np.int64),
        boxes=_boxes(root, split, image_ids, every_id),
        box_rule="ilsvrc",
        threshold=0.10,
    )


def _recognizes(root: Path) -> bool:
    return any(picture_names(folder) for split in _splits(root) for folder in _class_folders(root, split))


def _splits(root: Path) -> tuple[str, ...]:
    """A folder named like a split is one where it holds folders; `train/` full of pictures is a class of vehicles."""
    return tuple(split for split in _SPLITS if (root / split).is_dir() and _class_folders(root, split)) or ("all",)


def _class_folders(root: Path, split: str) -> list[Path]:
    parent = root if split == "all" else root / split
    return [parent / name for name in folder_names(parent) if name != _VOC]


def _pictures(root: Path, split: str) -> dict[str, list[str]]:
    """The pictures of each class, relative to `root`."""
    return {
        folder.name: [f"{folder.relative_to(root).as_posix()}/{name}" for name in picture_names(folder)]
        for folder in _class_folders(root, split)
    }


def _require_class_folders(root: Path, class_names: Collection[str]) -> None:
    if not class_names:
        raise DataError(f"{root}: no folders of classes; expected {root.name}/<class>/ with the pictures of each class")
    if set(class_names) <= set(_SPLITS):
        first = min(class_names)
        raise DataError(
            f"{root / first}: no folders of classes; expected {first}/<class>/ with the pictures of each class"
        )


def _boxes(
    root: Path, split: str, image_ids: Collection[str], every_id: Iterable[str]
) -> tuple[Float[np.ndarray, "_ 4"], ...] | None:
    """The boxes of each picture; None where there is no file of boxes."""
    folders = dict.fromkeys([root, root if split == "all" else root / split])
    found = [folder / name for folder in folders for name in _BOX_FILES if (folder / name).exists()]
    if not found:
        return None
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]} both hold boxes; keep one of them")
    path = found[0]
    prefix = "" if path.parent == root else f"{split}/"
    named = _by_path_or_stem(every_id, prefix) if path.name == _VOC else {image_id: [image_id] for image_id in every_id}
    boxes: dict[str, list[Box]] = {image_id: [] for image_id in image_ids}
    for row in _BOX_FILES[path.name](path):
        matches = named.get(prefix + row.image, [])
        if len(matches) != 1:
            fault = "names several pictures" if matches else "names no picture"
            raise DataError(f"{row.where}: {row.image!r} {fault} of {path.parent}; expected the path of one below it")
        if matches[0] in boxes:  # Else it is of another split.
            boxes[matches[0]].append(row.box)
    return tuple(box_array(of_picture) for of_picture in boxes.values())


def _by_path_or_stem(image_ids: Iterable[str], prefix: str) -> dict[str, list[str]]:
    """The pictures that an XML file can mean, by their path without suffix and by their bare name."""
    named: dict[str, list[str]] = {}
    for image_id in image_ids:
        path = PurePosixPath(image_id).with_suffix("")
        named.setdefault(str(path), []).append(image_id)
        named.setdefault(prefix + path.name, []).append(image_id)
    return named


dataset_readers.register("folder")(DatasetReader(recognizes=_recognizes, splits=_splits, read=_read))
