"""One folder a class, the layout that practitioners have, with optional boxes in any annotation format that is read."""

from pathlib import Path

import numpy as np

from tscam.datasets.base import Dataset, DatasetReader, dataset_readers
from tscam.datasets.box_files import read_box_files
from tscam.datasets.box_matching import match_boxes
from tscam.datasets.class_layout import class_folders_in, read_layout, split_parents
from tscam.datasets.unread import describe_unread
from tscam.picture_files import walk


def _read(root: Path, split: str) -> Dataset:
    """Read one split: `root/<split>/<class>/…/pictures`, or `root/<class>/…/pictures`, which is the split `all`.

    The folder of a split may have any name of `tscam.datasets.splits`, such as `validation`. Pictures in sub-folders of
    a class count. Ids are relative to `root`, as the disk spells them. Classes are the folders by name, of all splits
    together, as composed Unicode.

    `tscam.datasets.box_files` says which files of boxes are read, and `tscam.datasets.box_matching` which picture an
    entry names and which boxes count.

    Raises:
        DataError: no class folders, files of boxes of two kinds, a broken one, one that names an unknown picture, or
            one whose categories are no classes.
    """
    layout = read_layout(root)
    class_names, pictures = layout.class_names, layout.splits[split]
    class_ids = {name: class_id for class_id, name in enumerate(class_names)}
    labels = {image_id: class_ids[name] for name, image_ids in pictures.pictures.items() for image_id in image_ids}
    box_files, read = read_box_files(layout, split)
    matched = None
    if box_files is not None:
        matched = match_boxes(
            box_files, root=root, split=split, class_ids=labels, all_ids=layout.image_ids(), class_names=class_names
        )
    notes = [] if matched is None else list(matched.notes)
    notes += [f"split {split!r}: {note}" for note in describe_unread(pictures.others, read=read)]
    notes += describe_unread(layout.others, read=read)
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


dataset_readers.register("folder")(
    DatasetReader(recognizes=_recognizes, splits=lambda root: tuple(split_parents(root)), read=_read)
)
