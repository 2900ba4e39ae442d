"""A CSV table of boxes, read and written: a row an object, half-open 0-based pixel edges as in `Annotations`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tscam.errors import DataError
from tscam.formats.base import (
    AnnotatedObject,
    AnnotatedPicture,
    Annotations,
    PictureRecord,
    Records,
    formats,
    occurring_categories,
)
from tscam.formats.parsing import box_of_edges, finite_number, picture_id, read_csv_rows, stated_size
from tscam.system.writing import plain_cell, write_csv

_NAME = "boxes.csv"

_EDGES = ("x0", "y0", "x1", "y1")

# Columns that are written. Files of boxes alone have `image` and the edges.
_COLUMNS = ("image", "width", "height", "class", "class_score", "box", *_EDGES, "status", "reason")
_REQUIRED = ("image", *_EDGES)


class Csv:
    """`boxes.csv`: `image,x0,y0,x1,y1`, and further columns that may be missing.

    These are `width,height` of the picture, `class,class_score` and `box`, the number of the object in its picture from
    0. A picture without objects has a row with an empty `box`; in a file without that column it has no row. `status`
    and `reason` are for people.

    Text that a spreadsheet would run as a formula has an apostrophe in front, which is taken off on reading.
    """

    def find(self, path: Path) -> Path | None:
        """`path` if it ends in `.csv`, else `boxes.csv` in the folder."""
        if path.is_file():
            return path if path.suffix.lower() == ".csv" else None
        return path / _NAME if (path / _NAME).is_file() else None

    def read(self, path: Path) -> Annotations:
        """Read a table; pictures are in the order of their first rows.

        Raises:
            DataError: no such file, another header, or a broken row, named by its line.
        """
        objects: dict[str, list[AnnotatedObject]] = {}
        pictures: dict[str, tuple[str, tuple[int, int] | None]] = {}
        for source, row in _rows(path):
            name = picture_id(row["image"], source)
            pictures.setdefault(name, (source, stated_size(row.get("width"), row.get("height"))))
            objects.setdefault(name, []).extend(_objects(row, source))
        annotated = tuple(
            AnnotatedPicture(name=name, size_wh=size_wh, objects=tuple(objects[name]), source=source)
            for name, (source, size_wh) in pictures.items()
        )
        return Annotations(format="csv", categories=occurring_categories(annotated), pictures=annotated)

    def require_names(self, names: Iterable[str]) -> None:
        """Every picture can be named."""

    def write(self, records: Records, out: Path) -> list[Path]:
        """Write `boxes.csv` with all columns; names of pictures are relative to their common folder.

        Raises:
            OutputError: the file cannot be written.
        """
        write_csv(out / _NAME, _COLUMNS, (cells for picture in records.pictures for cells in _cells(picture)))
        return [out / _NAME]


def _cells(picture: PictureRecord) -> Iterator[Sequence[str | int | float | None]]:
    for number, record in enumerate(picture.objects):
        yield (
            picture.name, picture.width, picture.height, record.label, record.score, number,
            *record.box, picture.status, picture.reason,
        )  # fmt: skip
    if not picture.objects:
        empty = (None,) * len(("class", "class_score", "box", *_EDGES))
        yield picture.name, picture.width, picture.height, *empty, picture.status, picture.reason


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    rows = read_csv_rows(path)
    source, header = next(rows, (f"{path}:1", []))
    if not set(_REQUIRED) <= set(header) <= set(_COLUMNS) or len(set(header)) < len(header):
        optional = ",".join(column for column in _COLUMNS if column not in _REQUIRED)
        raise DataError(
            f"{source}: header {','.join(header)!r:.200}; expected {','.join(_REQUIRED)} and any of {optional}"
        )
    for source, row in rows:
        if len(row) != len(header):
            raise DataError(f"{source}: {len(row)} values; expected {','.join(header)}")
        yield source, dict(zip(header, map(plain_cell, row), strict=True))


def _objects(row: Mapping[str, str], source: str) -> list[AnnotatedObject]:
    """Return the object of a row, or none for a picture without objects."""
    if row.get("status", "ok") not in ("", "ok"):
        raise DataError(f"{source}: status {row['status']!r:.80}; expected ok, remove the row")
    texts = [row[edge] for edge in _EDGES]
    if row.get("box") == "" and not any(texts):
        return []
    score = row.get("class_score", "")
    edges = [finite_number(text, source) for text in texts]
    return [
        AnnotatedObject(
            box=box_of_edges(edges, source),
            category=row.get("class") or None,
            score=finite_number(score, source) if score else None,
        )
    ]


formats.register("csv")(Csv())
