"""One folder a class, the layout that practitioners have, with optional boxes in any annotation format that is read."""

from pathlib import Path

import numpy as np

from tscam.datasets.base import Dataset, DatasetReader, dataset_readers
from tscam.datasets.box_matching import match_boxes
from tscam.datasets.class_layout import class_folders_in, read_layout, split_parents
from tscam.datasets.unread import describe_unread
from tscam.errors import DataError
from tscam.formats import formats
from tscam.picture_files import walk

# Name of a file of boxes, or of a folder of such files, and its annotation format.
_BOX_FILES = {"boxes.csv": "csv", "annotations.json": "coco", "Annotations": "voc"}


def _read(root: Path, split: str) -> Dataset:
    """Read one split: `root/<split>/<class>/…/pictures`, or `root/<class>/…/pictures`, which is the split `all`.

    The folder of a split may have any name of `tscam.datasets.splits`, such as `validation`. Pictures in sub-folders of
    a class count. Ids are relative to `root`, as the disk spells them. Classes are the folders by name, of all splits
    together, as composed Unicode.

    Boxes come from `boxes.csv`, `annotations.json` or `Annotations/`, in `root` or in the folder of the split; pictures
    are named there relative to that folder. An XML file belongs to the picture with its stem, `Annotations/<stem>.xml`,
    or, where several have it, with its path, `Annotations/<class>/<stem>.xml`. `tscam.datasets.box_matching` says which
    boxes count.

    Raises:
        DataError: no class folders, more than one file of boxes, a broken one, one that names an unknown picture, or
            one whose categories are no classes.
    """
    layout = read_layout(root)
    class_names, pictures = layout.class_names, layout.splits[split]
    class_ids = {name: class_id for class_id, name in enumerate(class_names)}
    labels = {image_id: class_ids[name] for name, image_ids in pictures.pictures.items() for image_id in image_ids}
    matched, box_file = None, _box_file(root, pictures.folder)
    boxes_read = _files_of(box_file, root) if box_file is not None else set()
    if box_file is not None:
        matched = match_boxes(
            formats[_BOX_FILES[box_file.name]].read(box_file),
            path=box_file,
            prefix="" if box_file.parent == root else f"{box_file.parent.name}/",
            split=split,
            class_ids=labels,
            all_ids=layout.image_ids(),
            class_names=class_names,
        )
    notes = [] if matched is None else list(matched.notes)
    notes += [f"split {split!r}: {note}" for note in describe_unread(pictures.others, read=boxes_read)]
    notes += describe_unread(layout.others, read=boxes_read)
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
        notes=(*notes, *layout.notes()),
    )


def _recognizes(root: Path) -> bool:
    return any(walk(folder).pictures for parent in split_parents(root).values() for folder in class_folders_in(parent))


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


def _files_of(box_file: Path, root: Path) -> set[str]:
    """Return the files of boxes, relative to the root."""
    files = box_file.rglob("*.xml") if box_file.is_dir() else [box_file]
    return {file.relative_to(root).as_posix() for file in files}


dataset_readers.register("folder")(
    DatasetReader(recognizes=_recognizes, splits=lambda root: tuple(split_parents(root)), read=_read)
)
