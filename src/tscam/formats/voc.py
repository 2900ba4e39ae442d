"""Pascal VOC's XML, read and written: whole pixels counted from 1, the last one inside the box.

Pixel 1 is the one whose left edge is 0: `x0 = xmin - 1` and `x1 = xmax`, and the same for y.
"""

import hashlib
import math
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import overload
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from tscam.errors import DataError
from tscam.formats.base import (
    AnnotatedObject,
    AnnotatedPicture,
    Annotations,
    ObjectRecord,
    PictureRecord,
    Records,
    formats,
    occurring_categories,
)
from tscam.formats.parsing import box_of_edges, finite_number, flag, read_xml, stated_size
from tscam.geometry import Box
from tscam.image import has_picture_suffix
from tscam.system.writing import unflushed_writes

_FOLDER = "Annotations"
_SIDES = ("xmin", "ymin", "xmax", "ymax")

# XML 1.0 has no way to write these characters.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class VocObject:
    """An `<object>`: its name, and xmin, ymin, xmax, ymax as written. ImageNet's are edges, not pixels."""

    name: str
    sides: Box
    difficult: bool = False


class Voc:
    """An XML file a picture, below `Annotations/`."""

    def find(self, path: Path) -> Path | None:
        """`path` if it ends in `.xml`; for a folder, its `Annotations`, or itself, where XML files are."""
        if path.is_file():
            return path if path.suffix.lower() == ".xml" else None
        if next((path / _FOLDER).rglob("*.xml"), None) is not None:
            return path / _FOLDER
        return path if next(path.glob("*.xml"), None) is not None else None

    def read(self, path: Path) -> Annotations:
        """Read an XML file, or all of a folder at any depth, sorted by path.

        A picture is named by the path of its XML file in the folder, and by its `<filename>` where that has the same
        stem; other file names are not trusted, since people rename pictures together with their XML files.

        Raises:
            DataError: no such file, or not such XML.
        """
        files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
        folder = path if path.is_dir() else path.parent
        pictures = tuple(_picture(file, folder) for file in files)
        return Annotations(format="voc", categories=occurring_categories(pictures), pictures=pictures)

    def require_names(self, names: Iterable[str]) -> None:
        """Refuse two pictures that would share an XML file.

        Raises:
            DataError: there are two.
        """
        _FileNames(names)

    def write(self, records: Records, out: Path) -> Sequence[Path]:
        """Write `Annotations/<stem>.xml` for each picture, with or without objects.

        Edges are rounded to whole pixels, and a box has at least one. Pictures that share a stem are written by their
        path, `Annotations/<folder>/<stem>.xml`, and those that share it too by their whole name, `…/<stem>.jpg.xml`.
        Characters that XML cannot express become escapes such as `\\x00`.

        Raises:
            DataError: two pictures would share a file all the same.
            OutputError: a file cannot be written.
        """
        file_names = _FileNames(_Names(records))
        names = []
        with unflushed_writes() as write_text:
            for picture in records.pictures:
                names.append(file_names.of_picture(picture.name))
                write_text(out / _FOLDER / names[-1], _xml(picture))
        return _Files(out / _FOLDER, names)


def voc_objects(root: Element, source: str) -> list[VocObject]:
    """Return the objects of an annotation, sides as they are written.

    Raises:
        DataError: an object without four numbers in order, or another `difficult` than 0 and 1.
    """
    return [_object(entry, f"{source}: object {number}") for number, entry in enumerate(root.findall("object"), 1)]


def _object(entry: Element, source: str) -> VocObject:
    sides = [finite_number(_text(entry, f"bndbox/{side}"), source) for side in _SIDES]
    return VocObject(
        name=_text(entry, "name"),
        sides=box_of_edges(sides, source),
        difficult=flag(_text(entry, "difficult"), f"{source}: difficult"),
    )


def _picture(path: Path, folder: Path) -> AnnotatedPicture:
    root = read_xml(path)
    file_name = _text(root, "filename").rpartition("/")[2]
    stem = path.relative_to(folder).with_suffix("")
    is_of_this_stem = PurePosixPath(file_name).stem == stem.name and has_picture_suffix(file_name)
    return AnnotatedPicture(
        name=(stem.with_name(file_name) if is_of_this_stem else stem).as_posix(),
        size_wh=stated_size(_text(root, "size/width"), _text(root, "size/height")),
        objects=tuple(
            AnnotatedObject(box=_edges(voc.sides), category=voc.name or None, difficult=voc.difficult)
            for voc in voc_objects(root, str(path))
        ),
        source=str(path),
    )


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _edges(sides: Box) -> Box:
    if not any(sides):  # How people write that there is no object.
        return sides
    xmin, ymin, xmax, ymax = sides
    return xmin - 1, ymin - 1, xmax, ymax


def _sides(box: Box, *, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    (xmin, xmax), (ymin, ymax) = _pixels(x0, x1, length=size_wh[0]), _pixels(y0, y1, length=size_wh[1])
    return xmin, ymin, xmax, ymax


def _pixels(low: float, high: float, *, length: int) -> tuple[int, int]:
    """Return the first and the last pixel between two edges; the one of their middle where they round to the same."""
    first, last = round(low) + 1, round(high)
    if first <= last:
        return first, last
    pixel = min(math.floor((low + high) / 2) + 1, length)
    return pixel, pixel


class _Files(Sequence[Path]):
    """Files in a folder, kept as their names, which take a third of the memory of paths."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | Sequence[Path]:
        if isinstance(index, slice):
            return _Files(self._folder, self._names[index])
        return self._folder / self._names[index]

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class _Names:
    """Names of the pictures; every pass reads the records again."""

    records: Records

    def __iter__(self) -> Iterator[str]:
        return (picture.name for picture in self.records.pictures)


class _FileNames:
    """Names the XML file of each picture: the shortest name that is its alone. Memory holds a number for each picture.

    Args:
        names: of all pictures; several passes are made over them.

    Raises:
        DataError: two pictures would share a file all the same.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._shared_stems = _shared(map(_stem, names))
        is_of_shared_stem = (name for name in names if _number(_stem(name)) in self._shared_stems)
        self._shared_paths = _shared(map(_without_suffix, is_of_shared_stem))
        shared_files = _shared(map(self.of_picture, names))
        if shared_files:
            self._refuse_shared(names, shared_files)

    def of_picture(self, name: str) -> str:
        """Return the XML file of a picture."""
        if _number(_stem(name)) not in self._shared_stems:
            return f"{posixpath.basename(_without_suffix(name))}.xml"
        path = _without_suffix(name)
        return f"{name if _number(path) in self._shared_paths else path}.xml"

    def _refuse_shared(self, names: Iterable[str], shared_files: set[int]) -> None:
        pictures: dict[str, str] = {}
        for name in names:
            file = self.of_picture(name)
            if _number(file) not in shared_files:
                continue
            if file in pictures:
                raise DataError(
                    f"{pictures[file]} and {name}: both are annotated in {_FOLDER}/{file}; rename one of them"
                )
            pictures[file] = name


def _shared(texts: Iterable[str]) -> set[int]:
    """Return the numbers of the texts that occur more than once."""
    seen, shared = set[int](), set[int]()
    for number in map(_number, texts):
        (shared if number in seen else seen).add(number)
    return shared


def _number(text: str) -> int:
    """Return a number that hardly any other text has; it takes less memory than the text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _stem(name: str) -> str:
    return posixpath.basename(_without_suffix(name)).casefold()  # Some disks do not tell A from a.


def _without_suffix(name: str) -> str:
    return posixpath.splitext(name)[0]  # No path objects: Python keeps a table of all their parts.


def _xml(picture: PictureRecord) -> str:
    path = PurePosixPath(picture.name)
    lines = [
        "<annotation>",
        f"  <folder>{_escaped(path.parent.name)}</folder>",
        f"  <filename>{_escaped(path.name)}</filename>",
        f"  <size><width>{picture.width}</width><height>{picture.height}</height><depth>3</depth></size>",
        "  <segmented>0</segmented>",
        *(f"  {_object_xml(record, picture)}" for record in picture.objects),
        "</annotation>",
    ]
    return "".join(f"{line}\n" for line in lines)


def _object_xml(record: ObjectRecord, picture: PictureRecord) -> str:
    sides = _sides(record.box, size_wh=(picture.width, picture.height))
    box = "".join(f"<{tag}>{side}</{tag}>" for tag, side in zip(_SIDES, sides, strict=True))
    return (
        f"<object><name>{_escaped(record.label)}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox>{box}</bndbox></object>"
    )


def _escaped(text: str) -> str:
    """Return text for XML; a return, which a parser would read as a line feed, as a character reference."""
    expressible = _FORBIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return escape(expressible, {"\r": "&#13;"})


formats.register("voc")(Voc())
