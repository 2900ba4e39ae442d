"""Parsing that annotation formats and data set lists share: JSON, XML and CSV files, numbers, paths and boxes.

Every refusal names the file and its line or entry, which callers pass as `source`.
"""

import csv
import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from tscam.errors import DataError, one_line
from tscam.geometry import Box
from tscam.image import leads_out

# An annotation takes about a kilobyte; nobody draws a mebibyte of boxes on one picture.
_MAX_XML_BYTES = 2**20


def require_file(path: Path) -> None:
    """Refuse a missing file, and a pipe, which would block for ever.

    Raises:
        DataError: no such file.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; the data set is incomplete without it")


def read_json(path: Path, *, expected: str) -> object:
    """Return the content of a JSON file.

    Args:
        expected: what the file should contain, for messages.

    Raises:
        DataError: no such file, or not JSON.
    """
    require_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as fault:
        raise DataError(f"{path}:{fault.lineno}: not JSON ({fault.msg}); expected {expected}") from fault
    except (OSError, ValueError, RecursionError) as fault:
        raise DataError(f"{path}: not a readable JSON file ({one_line(fault)}); expected {expected}") from fault


def read_xml(path: Path) -> ET.Element:
    """Return the root element of an XML file of at most a mebibyte.

    A document type is refused: entities need one, and make small files large or read other files.

    Raises:
        DataError: no such file, too large, not XML, or with a document type.
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_XML_BYTES + 1)
        if len(raw) > _MAX_XML_BYTES:
            raise DataError(f"{path}: more than {_MAX_XML_BYTES} bytes; expected the annotation of one picture")
        text = raw.decode("utf-8-sig")
        if "<!DOCTYPE" in text:
            raise DataError(f"{path}: contains a document type; expected plain XML, remove the <!DOCTYPE …>")
        return ET.fromstring(text)
    except (OSError, UnicodeDecodeError, ValueError, ET.ParseError) as fault:
        raise DataError(f"{path}: not a readable XML file ({one_line(fault)}); expected UTF-8 text") from fault


def read_csv_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield `path:line` and the cells of every row of a CSV file, the header included, empty rows left out.

    Cells are separated by what the header has most of: commas, semicolons or tabs.

    Raises:
        DataError: no such file, or not CSV.
    """
    require_file(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline(_MAX_XML_BYTES)
            file.seek(0)
            rows = csv.reader(file, delimiter=max(",;\t", key=header.count), strict=True)
            for row in rows:
                if row:
                    yield f"{path}:{rows.line_num}", row
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{path}: not a readable CSV file ({one_line(fault)}); expected UTF-8 text") from fault


def picture_id(text: str, source: str) -> str:
    """Return a picture's path below its folder, with forward slashes and without `./`.

    Raises:
        DataError: empty, absolute, or leading out of the folder by `..`.
    """
    if leads_out(text):
        raise DataError(
            f"{source}: {text!r:.200} leads out of the data set; expected a path below its folder of pictures"
        )
    return str(PurePosixPath(text)) if "./" in text or "//" in text else text


def whole_number(text: str, source: str) -> int:
    """Return a whole number.

    Raises:
        DataError: anything else.
    """
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{source}: {text!r:.80} is not a whole number") from None


def finite_number(value: object, source: str) -> float:
    """Return a finite number from text or JSON.

    Raises:
        DataError: anything else, NaN and infinity included.
    """
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{source}: {value!r:.80} is not a finite number")
    return number


def flag(value: object, source: str) -> bool:
    """Return a yes or no that formats write as 1 and 0; nothing (None or empty text) is no.

    Raises:
        DataError: any other value.
    """
    if value in (None, "", 0, "0"):
        return False
    if value in (1, "1"):
        return True
    raise DataError(f"{source}: {value!r:.80}; expected 0 or 1")


def stated_size(width: object, height: object) -> tuple[int, int] | None:
    """Return width and height in pixels; None unless both are positive whole numbers."""
    try:
        sides = [finite_number(side, "size") for side in (width, height)]
    except DataError:
        return None
    is_size = all(side > 0 and side.is_integer() for side in sides)
    return (int(sides[0]), int(sides[1])) if is_size else None


def box_of_edges(edges: Sequence[float], source: str) -> Box:
    """Return the box of a left, top, right and bottom edge; one without area is let through for `check_dataset`.

    Raises:
        DataError: not four edges, or right of left or bottom of top in the wrong order.
    """
    if len(edges) != 4:
        raise DataError(f"{source}: {len(edges)} numbers for a box; expected x0 y0 x1 y1")
    x0, y0, x1, y1 = edges
    if x1 < x0 or y1 < y0:
        raise DataError(f"{source}: box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) runs backwards; expected x0 < x1 and y0 < y1")
    return x0, y0, x1, y1
