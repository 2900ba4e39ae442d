"""The contract of an annotation format, what is read from one, what is written to one, and the registry of formats.

A format converts boxes between its own frame and ours in one file. Everywhere else a box is float `(x0, y0, x1, y1)`:
half-open pixel edges, 0-based, in the picture as displayed.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tscam.errors import DataError
from tscam.geometry import Box
from tscam.localization import Localization
from tscam.registry import Registry


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotatedObject:
    """One object of an annotation file.

    Attributes:
        box: half-open edges in pixels of the picture as displayed.
        category: name of the object's class; None where the file gives none.
        score: confidence of the box; None where the file gives none.
        iscrowd: the box is drawn around a group (COCO).
        ignore: evaluators neither require nor penalize the object (COCO).
        difficult: hard to recognize (Pascal VOC).
    """

    box: Box
    category: str | None = None
    score: float | None = None
    iscrowd: bool = False
    ignore: bool = False
    difficult: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotatedPicture:
    """One picture of an annotation file.

    Attributes:
        name: path below the folder of pictures, with forward slashes, as the file spells it; never absolute, no `..`.
        size_wh: width and height in pixels; None where the file does not state them.
        objects: in the order of the file; empty for background.
        source: the file and the line or entry that names the picture, for messages.
    """

    name: str
    size_wh: tuple[int, int] | None
    objects: tuple[AnnotatedObject, ...]
    source: str


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Everything that annotation files say of pictures and boxes.

    Attributes:
        format: registered name of the format.
        categories: names of the categories that the file lists, in its order; where it lists none, those of the
            objects, sorted.
        pictures: in the order of the file.
    """

    format: str
    categories: tuple[str, ...]
    pictures: tuple[AnnotatedPicture, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectRecord:
    """One object to write.

    Attributes:
        class_id, label: the class by number from 0 and by name.
        score: probability of the class in the picture.
        box: half-open edges in pixels of the picture as displayed, clipped to the picture.
    """

    class_id: int
    label: str
    score: float
    box: Box


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureRecord:
    """One picture to write.

    Attributes:
        name: path relative to `Records.folder`, with forward slashes.
        width, height: of the picture as displayed, in pixels.
        status, reason: of its `Localization`.
        objects: most likely class first; empty for background.
    """

    name: str
    width: int
    height: int
    status: str
    reason: str
    objects: tuple[ObjectRecord, ...]


@dataclass(frozen=True, kw_only=True)
class Records:
    """The pictures to write; bad images are left out.

    Attributes:
        folder: the deepest folder that contains all pictures, absolute.
        class_names: name of each class by its id, in the order of ids.
        pictures: in the order in which they were localized; each has another name. Every pass over them reads the
            localizations again, so that memory does not grow with their number.
    """

    folder: Path
    class_names: Mapping[int, str]
    pictures: Iterable[PictureRecord]


class Format(Protocol):
    """Reads and writes one annotation format."""

    def find(self, path: Path) -> Path | None:
        """Return the file of this format, or the folder of its files, that `path` is or contains; None without one.

        Looks at names alone.

        Raises:
            DataError: the folder contains several such files.
        """
        ...

    def read(self, path: Path) -> Annotations:
        """Read what `find` returns.

        Raises:
            DataError: a broken file, named with its line or entry.
        """
        ...

    def require_names(self, names: Iterable[str]) -> None:
        """Refuse pictures that the format cannot express together.

        Args:
            names: as `PictureRecord.name`; several passes are made over them.

        Raises:
            DataError: there are such pictures.
        """
        ...

    def write(self, records: Records, out: Path) -> Sequence[Path]:
        """Write below `out`, nowhere else, and return the files written; the same records give the same bytes.

        Raises:
            DataError: the format cannot express the records.
            OutputError: a file cannot be written.
        """
        ...


formats: Registry[Format] = Registry("format")


def read_annotations(path: str | Path, *, format: str | None = None) -> Annotations:
    """Read annotation files; categories, scores and the flags crowd, ignore and difficult are kept.

    Args:
        path: an annotation file, or a folder that contains annotation files.
        format: name of a registered format, such as `coco`; detected from the names of the files by default.

    Raises:
        ConfigError: no format of that name.
        DataError: no such path, no format or several formats detected, or a broken file.
    """
    root = Path(path)
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; expected annotation files")
    names = list(formats) if format is None else [format]
    files = {name: file for name in names if (file := formats[name].find(root)) is not None}
    if not files:
        raise DataError(f"{root}: no annotations recognized; expected a file or folder of {', '.join(names)}")
    if len(files) > 1:
        raise DataError(f"{root}: contains annotations of {' and '.join(files)}; name the format or the file")
    ((name, file),) = files.items()
    return formats[name].read(file)


def write_annotations(
    localizations: Iterable[Localization], out: str | Path, *, to: str, class_names: Sequence[str] | None = None
) -> Sequence[Path]:
    """Write localizations as annotation files and return the files.

    Args:
        localizations: of one model, each picture once; bad images are left out. Several passes are made over them,
            and those of an iterator are kept in memory; `LocalizationFile` reads a file in each pass.
        out: the folder, made if need be; files of the same names are replaced.
        to: name of a registered format, such as `coco`.
        class_names: all classes, in the order of their ids; None lists the classes that occur.

    Raises:
        ConfigError: no format of that name.
        DataError: the localizations contradict one another or `class_names`, or the format cannot express them.
        OutputError: a file cannot be written.
    """
    return formats[to].write(_records(localizations, class_names=class_names), Path(out))


def require_writable_names(images: Sequence[str], *, to: str) -> None:
    """Refuse pictures that a format cannot express together, before they are localized.

    Args:
        images: paths of the pictures, as their localizations will name them.
        to: name of a registered format.

    Raises:
        ConfigError: no format of that name.
        DataError: there are such pictures.
    """
    records = _records(_EmptyLocalizations(images), class_names=None)
    formats[to].require_names([picture.name for picture in records.pictures])


def occurring_categories(pictures: Iterable[AnnotatedPicture]) -> tuple[str, ...]:
    """The categories of the objects, sorted."""
    names = {annotated.category for picture in pictures for annotated in picture.objects}
    return tuple(sorted(name for name in names if name is not None))


@dataclass(frozen=True)
class _EmptyLocalizations:
    """Localizations of pictures before anything is localized."""

    images: Sequence[str]

    def __iter__(self) -> Iterator[Localization]:
        for image in self.images:
            yield Localization(image=image, width=0, height=0, status="ok", reason="", objects=())


@dataclass(frozen=True, kw_only=True)
class _PictureRecords:
    """The pictures of localizations, with names relative to a folder."""

    localizations: Iterable[Localization]
    folder: str

    def __iter__(self) -> Iterator[PictureRecord]:
        for localization in _readable(self.localizations):
            name = os.path.relpath(_absolute(localization), self.folder).replace(os.sep, "/")
            yield _picture_record(localization, name)


def _records(localizations: Iterable[Localization], *, class_names: Sequence[str] | None) -> Records:
    """Return the pictures to write, after a pass that refuses what no format can express."""
    if isinstance(localizations, Iterator):
        localizations = [replace(localization, maps={}) for localization in localizations]
    seen: set[bytes] = set()
    labels: set[tuple[int, str]] = set()
    folder: str | None = None
    for localization in _readable(localizations):
        path = _absolute(localization)
        digest = hashlib.blake2b(os.fsencode(path), digest_size=16).digest()  # A million paths take much memory.
        if digest in seen:
            raise DataError(f"{localization.image}: localized twice; keep one line a picture")
        seen.add(digest)
        labels.update((localized.class_id, localized.label) for localized in localization.objects)
        folder = _common_folder(folder, localization.image, path)
    folder = folder or os.getcwd()  # noqa: PTH109
    return Records(
        folder=Path(folder),
        class_names=_class_table(labels, class_names=class_names),
        pictures=_PictureRecords(localizations=localizations, folder=folder),
    )


def _readable(localizations: Iterable[Localization]) -> Iterator[Localization]:
    """Yield the localizations but those of bad images.

    Raises:
        DataError: a picture was in memory.
    """
    for number, localization in enumerate(localizations, start=1):
        if localization.status == "bad_image":
            continue
        if not localization.image:
            raise DataError(
                f"localization {number}: its picture was in memory and has no path; annotation files name pictures, "
                "set `image` first"
            )
        yield localization


def _absolute(localization: Localization) -> str:
    """Return the path of a picture. Links are not followed: a picture keeps the name it was given."""
    return os.path.abspath(localization.image)  # noqa: PTH100  `Path.absolute` keeps `..`.


def _common_folder(folder: str | None, image: str, path: str) -> str:
    """Return the deepest folder that contains a folder and a picture; None stands for no picture so far.

    Raises:
        DataError: they are on two drives.
    """
    parent = os.path.dirname(path)  # noqa: PTH120
    if folder is None or folder == parent:
        return parent
    try:
        return os.path.commonpath([folder, parent])
    except ValueError as fault:
        raise DataError(f"{image}: not on the drive of all other pictures; write one drive at a time") from fault


def _picture_record(localization: Localization, name: str) -> PictureRecord:
    size_wh = localization.width, localization.height
    return PictureRecord(
        name=name,
        width=localization.width,
        height=localization.height,
        status=localization.status,
        reason=localization.reason,
        objects=tuple(
            ObjectRecord(
                class_id=localized.class_id,
                label=localized.label,
                score=float(localized.score),
                box=_clipped(localized.box, size_wh=size_wh),
            )
            for localized in localization.objects
        ),
    )


def _clipped(box: Box, *, size_wh: tuple[int, int]) -> Box:
    (x0, y0, x1, y1), (width, height) = map(float, box), map(float, size_wh)
    return min(max(x0, 0.0), width), min(max(y0, 0.0), height), min(max(x1, 0.0), width), min(max(y1, 0.0), height)


def _class_table(labels: Iterable[tuple[int, str]], *, class_names: Sequence[str] | None) -> dict[int, str]:
    """Return class id → name, ordered by id: all of `class_names` if given, else the labels that occur.

    Raises:
        DataError: a label that is not its class's name, two names for one class, or an id below 0.
    """
    table = dict(enumerate(class_names or ()))
    for class_id, label in sorted(labels):
        if class_id < 0 or (class_names is not None and class_id >= len(class_names)):
            allowed = "expected ids from 0" if class_names is None else f"class_names has {len(class_names)}, from 0"
            raise DataError(f"class id {class_id} of {label!r}: {allowed}; give the class names of the model")
        if table.setdefault(class_id, label) != label:
            raise DataError(
                f"class {class_id}: both {table[class_id]!r} and {label!r}; write the localizations of one model, with "
                "the class names of that model"
            )
    return table
