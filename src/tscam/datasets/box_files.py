"""Files of boxes of a data set of one folder a class: which there are, and which picture each entry names.

They are `boxes.csv`, COCO's JSON, Pascal VOC's XML and YOLO's text files, in the root or in the folder of the split.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tscam.datasets.class_layout import ClassLayout
from tscam.datasets.listings import folder_names
from tscam.datasets.splits import split_name
from tscam.errors import DataError
from tscam.formats import AnnotatedObject, AnnotatedPicture, Annotations, formats
from tscam.formats.yolo import looks_like_labels, read_labels, read_names
from tscam.image import image_size_wh

_FILES = {"boxes.csv": "csv", "annotations.json": "coco", "_annotations.coco.json": "coco"}
_YOLO_NAMES = ("data.yaml", "data.yml", "classes.txt", "obj.names")
_INSTANCES = "instances_"
_LOOKED_AT = 10  # Files that say if a folder of text is YOLO's.


@dataclass(frozen=True, kw_only=True)
class BoxEntry:
    """The entry of one picture in a file of boxes.

    Attributes:
        name: path of the picture as the file spells it; without its suffix where `BoxFiles.by_stem`.
        source: the file and the line or entry, for messages.
        objects: file of the picture → its objects; YOLO's need the picture's size.
    """

    name: str
    source: str
    objects: Callable[[Path], Sequence[AnnotatedObject]]


@dataclass(frozen=True, kw_only=True)
class BoxFiles:
    """The boxes of one kind of files.

    Attributes:
        title: the file or the folder, for messages.
        folder: pictures are named relative to it.
        by_stem: True if a picture's suffix does not count, and its stem is enough where it is unique.
        categories: of all boxes, or all that the files list; None for boxes without one.
        listed: the categories that the files list, in their order; a name that is listed twice stands here twice.
        entries: those with objects.
    """

    title: str
    folder: Path
    by_stem: bool
    categories: frozenset[str | None]
    listed: Sequence[str] = ()
    entries: Sequence[BoxEntry]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """One kind of files of boxes: `read` reads `files`, which are relative to the root."""

    title: str
    files: Sequence[str] = field(repr=False)
    read: Callable[[], BoxFiles] = field(repr=False)


def read_box_files(layout: ClassLayout, split: str) -> tuple[BoxFiles | None, set[str]]:
    """Return the boxes of a split, None where there are none; and the files of boxes, relative to the root.

    Raises:
        DataError: there are files of boxes of two kinds, or a broken one.
    """
    kinds = list(_kinds(layout, split))
    if len(kinds) > 1:
        raise DataError(f"{kinds[0].title} and {kinds[1].title} both contain boxes; keep one of them")
    read = {file for kind in kinds for file in kind.files} | _files_of_other_splits(layout)
    return (kinds[0].read() if kinds else None), read


def _kinds(layout: ClassLayout, split: str) -> Iterator[_Kind]:
    pictures = layout.splits[split]
    for folder in dict.fromkeys([layout.root, pictures.folder]):
        for name, format in _FILES.items():
            if (folder / name).exists():
                yield _file_kind(layout.root, folder, folder / name, format)
        for name in folder_names(folder):
            if name.casefold() == "annotations":
                yield from _annotation_folder(layout.root, folder, folder / name, split)
            elif name.casefold() == "labels" and (files := _text_files(layout, folder / name)):
                yield _yolo(layout, folder, files, title=str(folder / name), labels=folder / name)
    stems = {image_id.rpartition(".")[0] for image_id in pictures.image_ids()}
    beside = [path for path in pictures.others if path.rpartition(".")[0] in stems]
    if xml := [path for path in beside if path.lower().endswith(".xml")]:
        yield _Kind(
            title=f"{layout.root}: .xml files beside the pictures", files=xml, read=partial(_voc, layout.root, xml)
        )
    text = [layout.root / path for path in beside if path.lower().endswith(".txt")]
    if any(map(looks_like_labels, text[:_LOOKED_AT])) and _names_file(layout.root, text[0].parent) is not None:
        yield _yolo(
            layout, layout.root, text, title=f"{layout.root}: .txt files beside the pictures", labels=layout.root
        )


def _file_kind(root: Path, folder: Path, path: Path, format: str) -> _Kind:
    def read() -> BoxFiles:
        return _from_annotations(formats[format].read(path), folder=folder, title=str(path))

    return _Kind(title=str(path), files=[_relative(path, root)], read=read)


def _annotation_folder(root: Path, folder: Path, path: Path, split: str) -> Iterator[_Kind]:
    """Yield Pascal VOC's XML files of a folder, and COCO's file of a split."""
    if xml := sorted(path.rglob("*.xml")):

        def read() -> BoxFiles:
            return _from_annotations(formats["voc"].read(path), folder=folder, title=str(path), by_stem=True)

        yield _Kind(title=str(path), files=[_relative(file, root) for file in xml], read=read)
    for file in _instances(path, split):
        yield _file_kind(root, folder, file, "coco")


def _instances(folder: Path, split: str) -> list[Path]:
    """Return COCO's files of a split by their name, `instances_train2017.json`; a single file is that of all splits."""
    files = sorted(folder.glob(f"{_INSTANCES}*.json"))
    return files if len(files) == 1 else [file for file in files if _split_of(file) == split]


def _split_of(file: Path) -> str:
    return split_name(file.stem.removeprefix(_INSTANCES).rstrip("0123456789_-"))


def _files_of_other_splits(layout: ClassLayout) -> set[str]:
    """Return COCO's files that are read for other splits."""
    folders = [layout.root / name for name in folder_names(layout.root) if name.casefold() == "annotations"]
    return {
        _relative(file, layout.root)
        for folder in folders
        for split in layout.splits
        for file in _instances(folder, split)
    }


def _from_annotations(annotations: Annotations, *, folder: Path, title: str, by_stem: bool = False) -> BoxFiles:
    pictures = [picture for picture in annotations.pictures if picture.objects]
    return BoxFiles(
        title=title,
        folder=folder,
        by_stem=by_stem,
        categories=frozenset(annotated.category for picture in pictures for annotated in picture.objects),
        listed=annotations.categories,
        entries=[_entry(picture, picture.name) for picture in pictures],
    )


def _entry(picture: AnnotatedPicture, name: str) -> BoxEntry:
    return BoxEntry(name=name, source=picture.source, objects=lambda _: picture.objects)


def _voc(root: Path, files: Iterable[str]) -> BoxFiles:
    """Read XML files beside their pictures."""
    entries, categories = [], set[str | None]()
    for file in files:
        (picture,) = formats["voc"].read(root / file).pictures
        categories.update(annotated.category for annotated in picture.objects)
        entries.append(_entry(picture, f"{file.rpartition('/')[0]}/{picture.name}"))
    return BoxFiles(title=str(root), folder=root, by_stem=True, categories=frozenset(categories), entries=entries)


def _text_files(layout: ClassLayout, folder: Path) -> list[Path]:
    """Return the label files of a folder `labels`; none where they are no YOLO labels, or no file names the classes."""
    files = [file for file in sorted(folder.rglob("*.txt")) if file.name not in _YOLO_NAMES]
    is_yolo = any(map(looks_like_labels, files[:_LOOKED_AT])) and _names_file(layout.root, folder) is not None
    return files if is_yolo else []


def _yolo(layout: ClassLayout, folder: Path, files: Sequence[Path], *, title: str, labels: Path) -> _Kind:
    names_file = _names_file(layout.root, files[0].parent)
    assert names_file is not None

    def read() -> BoxFiles:
        names = read_names(names_file)

        def entry(file: Path) -> BoxEntry:
            return BoxEntry(
                name=_relative(file.with_suffix(""), labels),
                source=str(file),
                objects=lambda picture: read_labels(file, names=names, size_wh=image_size_wh(picture)),
            )

        return BoxFiles(
            title=title,
            folder=folder,
            by_stem=True,
            categories=frozenset(names.values()),
            listed=tuple(names.values()),
            entries=[entry(file) for file in files if file.stat().st_size],
        )

    return _Kind(title=title, files=[_relative(file, layout.root) for file in (*files, names_file)], read=read)


def _names_file(root: Path, folder: Path) -> Path | None:
    """Return the file that names YOLO's classes: in the folder, or in the next above it up to the root."""
    while True:
        for name in _YOLO_NAMES:
            if (folder / name).is_file():
                return folder / name
        if folder == root:
            return None
        folder = folder.parent


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
