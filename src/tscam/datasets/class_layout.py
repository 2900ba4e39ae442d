"""The layout of one folder a class, in folders of splits or without: its pictures by class, and what is not read."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tscam.datasets.listings import folder_names, other_names, picture_names
from tscam.datasets.splits import SPLITS, split_folders, split_name
from tscam.errors import DataError, first_names
from tscam.names import nfc
from tscam.picture_files import walk

# Folders of detection data sets, which are no classes: Pascal VOC's, YOLO's, COCO's.
_NO_CLASSES = frozenset(
    {"annotations", "images", "imagesets", "jpegimages", "labels", "masks", "segmentationclass", "segmentationobject"}
)

_NAMED_AT_MOST = 5


@dataclass(frozen=True, kw_only=True)
class SplitLayout:
    """One split; paths are relative to the root of the data set, as the disk spells them.

    Attributes:
        folder: the folder of the split, or the root.
        pictures: by the name of the class, as composed Unicode.
        others: files that are no pictures, in the folder of the split and in those of classes.
    """

    folder: Path
    pictures: dict[str, list[str]]
    others: list[str]

    def image_ids(self) -> Iterator[str]:
        """Yield the pictures, class by class."""
        for image_ids in self.pictures.values():
            yield from image_ids


@dataclass(frozen=True, kw_only=True)
class ClassLayout:
    """All splits of a data set.

    Attributes:
        splits: `train`, `val` and `test`, or `all` alone, whose folder is the root.
        others: files beside the folders of splits that are no pictures, relative to the root.
    """

    root: Path
    splits: dict[str, SplitLayout]
    others: list[str]

    @property
    def class_names(self) -> list[str]:
        """Names of the classes of all splits, sorted."""
        return sorted({name for split in self.splits.values() for name in split.pictures})

    def image_ids(self) -> Iterator[str]:
        """Yield the pictures of all splits."""
        for split in self.splits.values():
            yield from split.image_ids()

    def notes(self) -> list[str]:
        """Return a line about pictures in no folder of a class, and one about folders beside the splits."""
        folders = dict.fromkeys([self.root, *(split.folder for split in self.splits.values())])
        loose = [path for folder in folders for path in _relative(self.root, folder, picture_names(folder))]
        notes = []
        if loose:
            named = first_names(loose, at_most=_NAMED_AT_MOST)
            notes.append(f"pictures in no folder of a class, not read: {len(loose)} ({named})")
        beside = [name for name in folder_names(self.root) if self.root / name not in folders]
        if beside and "all" not in self.splits:
            counts = {name: len(walk(self.root / name, entered=_real_paths(folders)).pictures) for name in beside}
            counted = [f"{name!r} ({count} picture{'s'[: count != 1]})" for name, count in counts.items() if count]
            if counted:
                notes.append(f"folders beside the splits, not read: {first_names(counted, at_most=_NAMED_AT_MOST)}")
        return notes


def read_layout(root: Path) -> ClassLayout:
    """Read `root/<split>/<class>/…/pictures`, or `root/<class>/…/pictures`, which is the split `all`.

    Raises:
        DataError: no class folders, or folders of a detection data set in their place.
    """
    parents = split_parents(root)
    class_folders = {split: class_folders_in(parent) for split, parent in parents.items()}
    entered = _real_paths([root, *parents.values(), *(folder for each in class_folders.values() for folder in each)])
    is_split = list(parents) != ["all"]
    layout = ClassLayout(
        root=root,
        others=_files_beside(root, root, list(parents.values())) if is_split else [],
        splits={
            split: _read_split(root, parent, class_folders[split], entered=entered) for split, parent in parents.items()
        },
    )
    _require_classes(root, layout.class_names)
    return layout


def split_parents(root: Path) -> dict[str, Path]:
    """Return the folder of each split; `train/` is one where it contains folders, a class where it is pictures."""
    return split_folders(root, is_split=lambda folder: bool(class_folders_in(folder))) or {"all": root}


def class_folders_in(parent: Path) -> list[Path]:
    """Return the folders of classes; `Annotations` is none, nor are folders like `labels` without pictures."""
    return [
        parent / name
        for name in folder_names(parent)
        if name != "Annotations" and (name.casefold() not in _NO_CLASSES or walk(parent / name).pictures)
    ]


def _read_split(root: Path, parent: Path, class_folders: list[Path], *, entered: set[str]) -> SplitLayout:
    layout = SplitLayout(folder=parent, pictures={}, others=[])
    for folder in class_folders:
        files = walk(folder, entered=entered)
        layout.pictures.setdefault(nfc(folder.name), []).extend(_relative(root, folder, files.pictures))
        layout.others.extend(_relative(root, folder, files.others))
    layout.others.extend(_files_beside(root, parent, class_folders))
    return layout


def _files_beside(root: Path, parent: Path, folders: list[Path]) -> list[str]:
    """Return the files of a folder, and of its folders that are neither splits nor classes, that are no pictures."""
    beside = [name for name in folder_names(parent) if parent / name not in folders]
    inside = [f"{name}/{path}" for name in beside for path in walk(parent / name, entered=_real_paths(folders)).others]
    return _relative(root, parent, other_names(parent) + inside)


def _require_classes(root: Path, class_names: list[str]) -> None:
    if not class_names:
        raise DataError(f"{root}: no folders of classes; expected {root.name}/<class>/ with the pictures of each class")
    if set(map(split_name, class_names)) <= set(SPLITS):
        first = min(class_names)
        raise DataError(
            f"{root / first}: no folders of classes; expected {first}/<class>/ with the pictures of each class"
        )
    if all(name.casefold() in _NO_CLASSES for name in class_names):
        raise DataError(
            f"{root}: {first_names([repr(name) for name in class_names], at_most=_NAMED_AT_MOST)}: folders of a "
            f"detection data set, no class; expected {root.name}/<class>/ with the pictures of each class"
        )


def _relative(root: Path, folder: Path, paths: list[str]) -> list[str]:
    prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    return [prefix + path for path in paths]


def _real_paths(folders: "list[Path] | dict[Path, None]") -> set[str]:
    return {os.path.realpath(folder) for folder in folders}
