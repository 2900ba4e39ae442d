"""Files that hold boxes: CSV, COCO JSON, Pascal VOC XML. Each function turns a convention into ours, once."""

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tscam.datasets.listings import Box, box_of_edges, finite_number, picture_id, require_list_file
from tscam.errors import DataError, one_line

# ImageNet's annotations take about a kilobyte; nobody draws a mebibyte of boxes on one picture.
_LARGEST_XML = 2**20

_CSV_HEADER = ["image", "x0", "y0", "x1", "y1"]


class BoxRow(NamedTuple):
    """A box of a picture.

    Attributes:
        where: file and line, or file and entry, for the message of an error.
        image: the picture, as the file names it; checked not to lead out of the data set.
        box: half-open edges in pixels.
    """

    where: str
    image: str
    box: Box


class NamedBox(NamedTuple):
    """An object of an annotation: the name of its class, and xmin, ymin, xmax, ymax as they are written."""

    name: str
    edges: Box


def csv_boxes(path: Path) -> Iterator[BoxRow]:
    """The boxes of a CSV file with the header `image,x0,y0,x1,y1`: half-open edges, one box a row.

    Raises:
        DataError: no such file, another header, or a broken row, named by its line.
    """
    require_list_file(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if header != _CSV_HEADER:
                raise DataError(f"{path}:1: header {','.join(header)!r}; expected {','.join(_CSV_HEADER)}")
            for row in rows:
                where = f"{path}:{rows.line_num}"
                if len(row) not in (0, 5):
                    raise DataError(f"{where}: {len(row)} values; expected {','.join(_CSV_HEADER)}")
                if row:
                    edges = [finite_number(value, where) for value in row[1:]]
                    yield BoxRow(where, picture_id(row[0], where), box_of_edges(edges, where))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{path}: not a readable CSV file ({one_line(fault)}); expected UTF-8 text") from fault


def coco_boxes(path: Path) -> Iterator[BoxRow]:
    """The boxes of a COCO JSON file, `bbox` from `[x, y, width, height]`; categories are not looked at.

    Raises:
        DataError: no such file, not COCO JSON, or a broken entry, named by its place in the list.
    """
    content = _json(path)
    file_names: dict[int | str, str] = {}
    for where, entry in _entries(content, "images", path):
        number, file_name = entry.get("id"), entry.get("file_name")
        if not isinstance(number, int | str) or not isinstance(file_name, str):
            raise DataError(f"{where}: no 'id' or no 'file_name'; expected both")
        if number in file_names:
            raise DataError(f"{where}: image {number!r} is listed twice")
        file_names[number] = picture_id(file_name, where)
    for where, entry in _entries(content, "annotations", path):
        number, edges = entry.get("image_id"), entry.get("bbox")
        if not isinstance(number, int | str) or number not in file_names:
            raise DataError(f"{where}: image {number!r} is not in 'images'")
        if not isinstance(edges, list) or len(edges) != 4:
            raise DataError(f"{where}: bbox {edges!r:.80}; expected [x, y, width, height]")
        x, y, width, height = (finite_number(value, where) for value in edges)
        yield BoxRow(where, file_names[number], box_of_edges((x, y, x + width, y + height), where))


def voc_boxes(folder: Path) -> Iterator[BoxRow]:
    """The boxes of a folder of Pascal VOC XML files, from 1-based inclusive pixels; class names are not looked at.

    A row names its picture by the path of its XML file in the folder, without the suffix.

    Raises:
        DataError: a file that is not such XML.
    """
    for path in sorted(folder.rglob("*.xml")):
        image = path.relative_to(folder).with_suffix("").as_posix()
        for found in xml_objects(path):
            x0, y0, x1, y1 = found.edges
            yield BoxRow(str(path), image, box_of_edges((x0 - 1, y0 - 1, x1, y1), str(path)))


def xml_objects(path: Path) -> list[NamedBox]:
    """The objects of an annotation in Pascal VOC's form, which ImageNet's has too; edges as they are written.

    A file with a document type is refused: entities, which make small files large and read other files, need one.

    Raises:
        DataError: no such file, larger than a mebibyte, not XML, with a document type, or a broken object.
    """
    require_list_file(path)
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_XML + 1)
        if len(raw) > _LARGEST_XML:
            raise DataError(f"{path}: more than {_LARGEST_XML} bytes; expected the annotation of one picture")
        text = raw.decode("utf-8-sig")
        if "<!DOCTYPE" in text:
            raise DataError(f"{path}: holds a document type; expected plain XML, remove the <!DOCTYPE …>")
        tree = ET.fromstring(text)
    except (OSError, UnicodeDecodeError, ValueError, ET.ParseError) as fault:
        raise DataError(f"{path}: not a readable XML file ({one_line(fault)}); expected UTF-8 text") from fault
    return [_named_box(entry, f"{path}: object {number}") for number, entry in enumerate(tree.findall("object"), 1)]


def _named_box(entry: ET.Element, where: str) -> NamedBox:
    texts = [(entry.findtext(f"bndbox/{side}") or "").strip() for side in ("xmin", "ymin", "xmax", "ymax")]
    x0, y0, x1, y1 = (finite_number(text, where) for text in texts)
    return NamedBox((entry.findtext("name") or "").strip(), box_of_edges((x0, y0, x1, y1), where))


def _json(path: Path) -> object:
    require_list_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as fault:
        raise DataError(f"{path}:{fault.lineno}: not JSON ({fault.msg}); expected COCO annotations") from fault
    except (OSError, ValueError, RecursionError) as fault:
        raise DataError(f"{path}: not a readable JSON file ({one_line(fault)}); expected COCO annotations") from fault


def _entries(content: object, key: str, path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """The objects of a list in a JSON object, each with its place for the message of an error."""
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"{path}: no list {key!r}; expected COCO annotations with 'images' and 'annotations'")
    for number, entry in enumerate(entries):
        where = f"{path}: {key}[{number}]"
        if not isinstance(entry, dict):
            raise DataError(f"{where}: not an object; expected COCO annotations")
        yield where, entry
