"""One folder a class, the layout that practitioners have, with optional boxes in any annotation format that is read."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from tscam.datasets.base import Dataset, DatasetReader, dataset_readers
from tscam.datasets.box_matching import match_boxes
from tscam.datasets.listings import folder_names, picture_names
from tscam.datasets.splits import SPLITS, split_folders, split_name
from tscam.errors import DataError
from tscam.formats import formats
from tscam.names import nfc

_VOC = "Annotations"

# Name of a file of boxes, or of a folder of such files, and its annotation format.
_BOX_FILES = {"boxes.csv": "csv", "annotations.json": "coco", _VOC: "voc"}


def _read(root: Path, split: str) -> Dataset:
    """Read one split: `root/<split>/<class>/pictures`, or `root/<class>/pictures`, which is the split `all`.

    The folder of a split may have any name of `tscam.datasets.splits`, such as `validation`.

    Ids are relative to `root`, as the disk spells them. Classes are the folders by name, of all splits together, as
    composed Unicode. Boxes come from `boxes.csv`,
    `annotations.json` or `Annotations/`, in `root` or in the folder of the split; pictures are named there relative to
    that folder. An XML file belongs to the picture with its stem, `Annotations/<stem>.xml`, or, where several have it,
    with its path, `Annotations/<class>/<stem>.xml`. `tscam.datasets.box_matching` says which boxes count.

    Raises:
        DataError: no class folders, more than one file of boxes, a broken one, one that names an unknown picture, or
            one whose categories are no classes.
    """
    folders = _split_folders(root)
    pictures = {name: _pictures(root, folder) for name, folder in folders.items()}
    class_names = sorted({name for by_class in pictures.values() for name in by_class})
    _require_class_folders(root, class_names)
    class_ids = {name: class_id for class_id, name in enumerate(class_names)}
    labels = {image_id: class_ids[name] for name, image_ids in pictures[split].items() for image_id in image_ids}
    matched, box_file = None, _box_file(root, folders[split])
    if box_file is not None:
        matched = match_boxes(
            formats[_BOX_FILES[box_file.name]].read(box_file),
            path=box_file,
            prefix="" if box_file.parent == root else f"{box_file.parent.name}/",
            split=split,
            class_ids=labels,
            all_ids=[image_id for by_class in pictures.values() for ids in by_class.values() for image_id in ids],
            class_names=class_names,
        )
    return Dataset(
        name="folder",
        split=split,
        root=root,
        image_root=root,
        class_names=tuple(class_names),
        image_ids=tuple(labels),
        labels=np.array(list(labels.values()), dtype=np.int64),
        boxes=None if matched is None else matched.boxes,
        box_rule="ilsvrc",
        threshold=0.10,
        notes=() if matched is None else matched.notes,
    )


def _recognizes(root: Path) -> bool:
    return any(picture_names(folder) for parent in _split_folders(root).values() for folder in _class_folders(parent))


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each split; `train/` is one where it contains folders, a class where it is pictures."""
    return split_folders(root, is_split=lambda folder: bool(_class_folders(folder))) or {"all": root}


def _class_folders(parent: Path) -> list[Path]:
    return [parent / name for name in folder_names(parent) if name != _VOC]


def _pictures(root: Path, parent: Path) -> dict[str, list[str]]:
    """Return the pictures of each class, relative to `root`; a name in another Unicode form is the same class."""
    pictures: dict[str, list[str]] = {}
    for folder in _class_folders(parent):
        image_ids = [f"{folder.relative_to(root).as_posix()}/{name}" for name in picture_names(folder)]
        pictures.setdefault(nfc(folder.name), []).extend(image_ids)
    return pictures


def _require_class_folders(root: Path, class_names: Collection[str]) -> None:
    if not class_names:
        raise DataError(f"{root}: no folders of classes; expected {root.name}/<class>/ with the pictures of each class")
    if set(map(split_name, class_names)) <= set(SPLITS):
        first = min(class_names)
        raise DataError(
            f"{root / first}: no folders of classes; expected {first}/<class>/ with the pictures of each class"
        )


def _box_file(root: Path, split_folder: Path) -> Path | None:
    """Return the file of boxes, or the folder of such files; None where there is none.

    Raises:
        DataError: there are several.
    """
    folders = dict.fromkeys([root, split_folder])
    paths = [folder / name for folder in folders for name in _BOX_FILES if (folder / name).exists()]
    if len(paths) > 1:
        raise DataError(f"{paths[0]} and {paths[1]} both contain boxes; keep one of them")
    return paths[0] if paths else None


dataset_readers.register("folder")(
    DatasetReader(recognizes=_recognizes, splits=lambda root: tuple(_split_folders(root)), read=_read)
)
