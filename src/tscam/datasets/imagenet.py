"""ImageNet (ILSVRC 2012, classification and localization) with list files or without, and as it comes from Kaggle."""

import os
from array import array
from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tscam.datasets.base import Dataset, DatasetReader, dataset_readers
from tscam.datasets.box_matching import LeftOutBoxes
from tscam.datasets.imagenet_annotations import SOLUTION, XML_IN, Annotation, read_annotations
from tscam.datasets.imagenet_labels import (
    GROUND_TRUTH,
    VAL_TXT,
    WNID,
    ValidationLabels,
    find_validation_labels,
    has_validation_labels,
)
from tscam.datasets.links import Inside
from tscam.datasets.listings import box_array, folder_names, list_lines, picture_names
from tscam.datasets.splits import split_folders
from tscam.datasets.unread import describe_unread
from tscam.errors import DataError, first_names
from tscam.formats.parsing import box_of_edges, finite_number, picture_id, whole_number
from tscam.image import printable
from tscam.names import OnDisk, nfc
from tscam.picture_files import walk

# Folders below the root that may contain `train/` and `val/`; the latter two are Kaggle's tree.
_PICTURES = (".", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
_LISTS = {"train": "ILSVRC2012_list/train.txt", "val": "ILSVRC2012_list/val_folder_new.txt"}

_MOST_CLASSES = 10**6

_NO_BOXES = np.zeros((0, 4))
_NO_BOXES.setflags(write=False)


@dataclass(frozen=True)
class _Columns:
    """The pictures of a split as columns, since ImageNet has 1.28 million.

    Attributes:
        others: files in folders of classes that are no pictures.
        loose: pictures in no folder of a class.
    """

    ids: list[str] = field(default_factory=list)
    labels: MutableSequence[int] = field(default_factory=lambda: array("i"))
    boxes: list[Float[np.ndarray, "_ 4"]] = field(default_factory=list)
    left_out: LeftOutBoxes = field(default_factory=LeftOutBoxes)
    others: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)

    def notes(self, folder: Path, split: str) -> tuple[str, ...]:
        """Return a line about each kind of what is not read."""
        notes = [*self.left_out.notes(split)]
        notes += [f"split {split!r}: {note}" for note in describe_unread(self.others)]
        if self.loose:
            named = first_names([f"{folder.name}/{name}" for name in self.loose], at_most=5)
            notes.append(f"pictures in no folder of a class, not read: {len(self.loose)} ({named})")
        return tuple(notes)

    def add_boxes(self, annotation: Annotation | None) -> None:
        """Add the boxes of one more picture."""
        self.boxes.append(annotation.boxes if annotation else _NO_BOXES)
        if annotation and annotation.difficult:
            self.left_out.flags["difficult"] += annotation.difficult


def _read(root: Path, split: str) -> Dataset:
    """Read one split.

    Pictures and labels come from `ILSVRC2012_list/train.txt` and `val_folder_new.txt` (`wnid/name.JPEG label`, then
    `x1 y1 x2 y2` of each box); where a list is missing, from the folders `train/<wnid>` and `val/<wnid>`. A flat `val/`
    takes its labels from the annotations: `LOC_val_solution.csv`, else the XML files of
    `ILSVRC/Annotations/CLS-LOC/val`, `Annotations/CLS-LOC/val` or `Annotations/val`, which also give the boxes without
    a list; else from `val.txt` or the development kit (`tscam.datasets.imagenet_labels`). Class names are wnids:
    numbered as in `train.txt`, else sorted as in `train/`, else as in the list of `val`, else sorted as in `val/`, the
    annotations or the labels; numbers where the labels are numbers alone.

    Coordinates are taken as edges without a shift, as every evaluator does, though they were drawn as pixels.

    Raises:
        DataError: a line of a list is broken, or lists and folders do not agree.
    """
    folder = _pictures_folder(root, split)
    if folder is None:
        raise DataError(f"{root}: no folder {split}/; expected {split}/<wnid>/*.JPEG")
    is_listed = (root / _LISTS[split]).exists()
    if is_listed:
        class_names = None if split == "train" else _class_names(root)
        columns, class_names = _read_list(root / _LISTS[split], class_names)
        columns.ids[:] = map(OnDisk(folder), columns.ids)
        inside = Inside(root, folder)
        for image_id in columns.ids:
            inside.require(image_id, str(root / _LISTS[split]))
    else:
        class_names = _class_names(root)
        annotations = read_annotations(root) if split == "val" else {}
        if folder_names(folder):
            columns = _read_class_folders(folder, class_names, annotations)
        else:
            wnids = class_names if any(map(WNID.fullmatch, class_names)) else ()
            labels = find_validation_labels(root, folder, wnids=wnids) if split == "val" else None
            columns = _read_flat_folder(folder, class_names, annotations, labels)
    return Dataset(
        name="imagenet",
        split=split,
        root=root,
        image_root=folder,
        class_names=class_names,
        image_ids=tuple(columns.ids),
        labels=np.array(columns.labels, dtype=np.int64),
        boxes=tuple(columns.boxes) if any(map(len, columns.boxes)) else None,
        box_rule="ilsvrc",
        threshold=0.12,
        notes=columns.notes(folder, split),
        is_listed=is_listed,
    )


def _recognizes(root: Path) -> bool:
    if any((root / path).is_file() for path in _LISTS.values()) or any(
        (root / path).is_dir() for path in _PICTURES[1:]
    ):
        return True
    folders = (_pictures_folder(root, split) for split in ("train", "val"))
    if any(WNID.fullmatch(name) for folder in folders if folder for name in folder_names(folder)):
        return True
    val = _pictures_folder(root, "val")
    return val is not None and not folder_names(val) and has_validation_labels(root, val)


def _splits(root: Path) -> tuple[str, ...]:
    return tuple(split for split in ("train", "val") if _pictures_folder(root, split))


def _pictures_folder(root: Path, split: str) -> Path | None:
    folders = (split_folders(root / path).get(split) for path in _PICTURES)
    return next((folder for folder in folders if folder is not None), None)


def _class_names(root: Path) -> tuple[str, ...]:
    """Return the class names, which are the same for both splits."""
    train, val = _pictures_folder(root, "train"), _pictures_folder(root, "val")
    if (root / _LISTS["train"]).exists():
        return _read_list(root / _LISTS["train"], None)[1]
    if train and (names := folder_names(train)):
        return tuple(map(nfc, names))
    if (root / _LISTS["val"]).exists():
        return _read_list(root / _LISTS["val"], None)[1]
    if val and (names := folder_names(val)):
        return tuple(map(nfc, names))
    if annotations := read_annotations(root):
        return tuple(sorted({annotation.wnid for annotation in annotations.values()}))
    labels = find_validation_labels(root, val, wnids=()) if val else None
    return labels.class_names if labels else ()


def _read_list(path: Path, class_names: Sequence[str] | None) -> tuple[_Columns, tuple[str, ...]]:
    """Read the pictures of a list, and its class names: `class_names`, or else numbered by the list itself."""
    columns = _Columns()
    names = dict(enumerate(class_names)) if class_names is not None else {}
    labels = {name: label for label, name in names.items()}
    image_ids: set[str] = set()
    for source, text in list_lines(path):
        values = text.split()
        image_id = picture_id(values[0], source)
        wnid, separator, _ = nfc(image_id).partition("/")
        if not separator or len(values) < 2:
            raise DataError(f"{source}: {text!r:.80}; expected 'wnid/name.JPEG label' and the edges of its boxes")
        label = whole_number(values[1], source)
        if class_names is None and 0 <= label < _MOST_CLASSES:
            names.setdefault(label, wnid)
            labels.setdefault(wnid, label)
        if label not in names:
            raise DataError(
                f"{source}: label {label}; expected 0 to {len(names) - 1 if class_names else _MOST_CLASSES}"
            )
        if names[label] != wnid:
            raise DataError(f"{source}: label {label} is that of {names[label]}, but the picture is in {wnid}")
        if labels[wnid] != label:
            raise DataError(f"{source}: label {label}, but {wnid} has the label {labels[wnid]}")
        if nfc(image_id) in image_ids:
            raise DataError(f"{source}: {image_id!r} is listed twice")
        image_ids.add(nfc(image_id))
        columns.ids.append(image_id)
        columns.labels.append(label)
        columns.boxes.append(_parse_boxes(values[2:], source))
    if sorted(names) != list(range(len(names))):
        raise DataError(f"{path}: labels run from {min(names)} to {max(names)} with gaps; expected 0, 1, 2 …")
    return columns, tuple(names[label] for label in range(len(names)))


def _parse_boxes(texts: Sequence[str], source: str) -> Float[np.ndarray, "m 4"]:
    if not texts:
        return _NO_BOXES  # One array for all pictures: a million empty ones take 100 MB.
    if len(texts) % 4:
        raise DataError(f"{source}: {len(texts)} numbers after the label; expected x1 y1 x2 y2 of each box")
    numbers = [finite_number(text, source) for text in texts]
    return box_array([box_of_edges(numbers[start : start + 4], source) for start in range(0, len(numbers), 4)])


def _read_class_folders(folder: Path, class_names: Sequence[str], annotations: Mapping[str, Annotation]) -> _Columns:
    columns = _Columns()
    labels = {name: label for label, name in enumerate(class_names)}
    names = folder_names(folder)
    entered = {os.path.realpath(path) for path in (folder, *(folder / name for name in names))}
    columns.loose.extend(picture_names(folder))
    for folder_name in names:
        wnid = nfc(folder_name)
        if wnid not in labels:
            raise DataError(f"{folder / wnid}: {wnid} is none of the {len(labels)} classes of this data set; remove it")
        files = walk(folder / folder_name, entered=entered)
        columns.others.extend(files.others)
        for name in files.pictures:
            annotation = annotations.get(nfc(Path(name).stem)) if annotations else None
            if annotation and annotation.wnid != wnid:
                raise DataError(
                    f"{printable(folder / wnid / name)}: annotated as {annotation.wnid}; move it to that folder"
                )
            columns.ids.append(f"{folder_name}/{name}")
            columns.labels.append(labels[wnid])
            columns.add_boxes(annotation)
    return columns


def _read_flat_folder(
    folder: Path, class_names: Sequence[str], annotations: Mapping[str, Annotation], labels: ValidationLabels | None
) -> _Columns:
    columns = _Columns()
    class_ids = {name: class_id for class_id, name in enumerate(class_names)}
    files = walk(folder)
    columns.others.extend(name for name in files.others if labels is None or folder / name != labels.source)
    for name in files.pictures:
        annotation = annotations.get(nfc(Path(name).stem))
        class_name = _flat_class(folder / name, annotation, labels)
        if class_name not in class_ids:
            raise DataError(
                f"{printable(folder / name)}: {class_name} is none of the {len(class_ids)} classes of this data set"
            )
        columns.ids.append(name)
        columns.labels.append(class_ids[class_name])
        columns.add_boxes(annotation)
    return columns


def _flat_class(path: Path, annotation: Annotation | None, labels: ValidationLabels | None) -> str:
    """Return the class of a picture by its annotation, else by the labels, which may not contradict it."""
    if annotation is None and labels is not None:
        return labels.require(path)
    if annotation is None:
        raise DataError(
            f"{printable(path)}: no label; expected pictures in {path.parent.name}/<wnid>/, or an entry for it in "
            f"{SOLUTION} or {XML_IN[0]}/, or {VAL_TXT}, or {GROUND_TRUTH}"
        )
    stated = labels.find(path.name) if labels is not None else None
    if labels is not None and stated is not None and not stated.isdecimal() and stated != annotation.wnid:
        raise DataError(
            f"{labels.source}: {path.stem} is of {stated}, but annotated as {annotation.wnid}; remove one of the two"
        )
    return annotation.wnid


dataset_readers.register("imagenet")(DatasetReader(recognizes=_recognizes, splits=_splits, read=_read))
