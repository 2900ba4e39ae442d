"""One folder a class, the layout that practitioners have, with optional boxes in any annotation format that is read."""

from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from tscam.datasets.base import Dataset, DatasetReader, dataset_readers
from tscam.datasets.listings import box_array, folder_names, picture_names
from tscam.errors import DataError
from tscam.formats import formats
from tscam.geometry import Box
from tscam.image import has_picture_suffix

_SPLITS = ("train", "val", "test")
_VOC = "Annotations"

# Name of a file of boxes, or of a folder of such files, and its annotation format.
_BOX_FILES = {"boxes.csv": "csv", "annotations.json": "coco", _VOC: "voc"}


def _read(root: Path, split: str) -> Dataset:
    """Read one split: `root/{train,val,test}/<class>/pictures`, or `root/<class>/pictures`, which is the split `all`.

    Ids are relative to `root`. Classes are the folders by name, of all splits together. Boxes come from `boxes.csv`,
    `annotations.json` or `Annotations/`, in `root` or in the folder of the split; pictures are named there relative to
    that folder. An XML file belongs to the picture with its stem, `Annotations/<stem>.xml`, or, where several have it,
    with its path, `Annotations/<class>/<stem>.xml`. Every box of a picture is one of the picture's class, whatever its
    category and flags.

    Raises:
        DataError: no class folders, more than one file of boxes, a broken one, or one that names an unknown picture.
    """
    pictures = {name: _pictures(root, name) for name in _splits(root)}
    class_names = sorted({name for by_class in pictures.values() for name in by_class})
    _require_class_folders(root, class_names)
    class_ids = {name: class_id for class_id, name in enumerate(class_names)}
    labelled = [(image_id, class_ids[name]) for name, image_ids in pictures[split].items() for image_id in image_ids]
    image_ids = tuple(image_id for image_id, _ in labelled)
    all_ids = [image_id for by_class in pictures.values() for image_ids in by_class.values() for image_id in image_ids]
    return Dataset(
        name="folder",
        split=split,
        root=root,
        image_root=root,
        class_names=tuple(class_names),
        image_ids=image_ids,
        labels=np.array([label for _, label in labelled], dtype=np.int64),
        boxes=_boxes(root, split, image_ids, all_ids),
        box_rule="ilsvrc",
        threshold=0.10,
    )


def _recognizes(root: Path) -> bool:
    return any(picture_names(folder) for split in _splits(root) for folder in _class_folders(root, split))


def _splits(root: Path) -> tuple[str, ...]:
    """Return the splits; `train/` is one where it contains folders, and a class of vehicles where it is pictures."""
    return tuple(split for split in _SPLITS if (root / split).is_dir() and _class_folders(root, split)) or ("all",)


def _class_folders(root: Path, split: str) -> list[Path]:
    parent = root if split == "all" else root / split
    return [parent / name for name in folder_names(parent) if name != _VOC]


def _pictures(root: Path, split: str) -> dict[str, list[str]]:
    """Return the pictures of each class, relative to `root`."""
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
    root: Path, split: str, image_ids: Collection[str], all_ids: Iterable[str]
) -> tuple[Float[np.ndarray, "_ 4"], ...] | None:
    """Return the boxes of each picture; None where there is no file of boxes."""
    folders = dict.fromkeys([root, root if split == "all" else root / split])
    paths = [folder / name for folder in folders for name in _BOX_FILES if (folder / name).exists()]
    if not paths:
        return None
    if len(paths) > 1:
        raise DataError(f"{paths[0]} and {paths[1]} both contain boxes; keep one of them")
    path = paths[0]
    is_voc = path.name == _VOC
    prefix = "" if path.parent == root else f"{split}/"
    candidates = _by_path_or_stem(all_ids, prefix) if is_voc else {image_id: [image_id] for image_id in all_ids}
    boxes: dict[str, list[Box]] = {image_id: [] for image_id in image_ids}
    for picture in formats[_BOX_FILES[path.name]].read(path).pictures:
        if not picture.objects:
            continue
        name = _without_suffix(picture.name) if is_voc else picture.name
        matches = candidates.get(prefix + name, [])
        if len(matches) != 1:
            fault = "names several pictures" if matches else "names no picture"
            raise DataError(f"{picture.source}: {name!r} {fault} of {path.parent}; expected the path of one below it")
        if matches[0] in boxes:  # Else it is in another split.
            boxes[matches[0]] += [annotated.box for annotated in picture.objects]
    return tuple(box_array(picture_boxes) for picture_boxes in boxes.values())


def _by_path_or_stem(image_ids: Iterable[str], prefix: str) -> dict[str, list[str]]:
    """Return the pictures that an XML file can mean, by their path without suffix and by their stem."""
    candidates: dict[str, list[str]] = {}
    for image_id in image_ids:
        path = PurePosixPath(image_id).with_suffix("")
        candidates.setdefault(str(path), []).append(image_id)
        candidates.setdefault(prefix + path.name, []).append(image_id)
    return candidates


def _without_suffix(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")) if has_picture_suffix(name) else name


dataset_readers.register("folder")(DatasetReader(recognizes=_recognizes, splits=_splits, read=_read))
