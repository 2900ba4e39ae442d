"""YOLO's labels, read: a text file a picture, coordinates as fractions of the picture as displayed.

A row is `class x y width height`, x and y being the centre, or `class x1 y1 x2 y2 x3 y3 …`, a polygon.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tscam.errors import DataError, first_names
from tscam.formats.base import AnnotatedObject
from tscam.formats.parsing import box_of_edges, finite_number, require_file, whole_number
from tscam.geometry import Box
from tscam.system.documents import MAX_YAML, parse_yaml, read_small

# A row takes some dozen bytes, a polygon some thousand.
_MAX_LABEL_BYTES = 2**22

# Edges of boxes at the picture's own edge leave it by a rounding.
_ROUNDING = 0.01

_EXPECTED_NAMES = "expected a list of class names, or a mapping from numbers to names"


def read_names(path: Path) -> dict[int, str]:
    """Return the names of classes by number: `names` of a `.yaml` file, else one name a line.

    Raises:
        DataError: no such file, or without names.
    """
    text = _read_text(path, at_most=MAX_YAML)
    if path.suffix.lower() not in (".yaml", ".yml"):
        return dict(enumerate(name.strip() for name in text.splitlines() if name.strip()))
    try:
        content = parse_yaml(text)
    except ValueError as fault:
        raise DataError(f"{path}: {fault}; {_EXPECTED_NAMES} under 'names'") from fault
    names = content.get("names") if isinstance(content, dict) else None
    pairs = list(enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ())
    if not pairs or not all(str(number).isdecimal() and isinstance(name, str | int) for number, name in pairs):
        raise DataError(f"{path}: no 'names'; {_EXPECTED_NAMES}")
    return {int(number): str(name) for number, name in pairs}


def read_labels(path: Path, *, names: Mapping[int, str], size_wh: tuple[int, int]) -> tuple[AnnotatedObject, ...]:
    """Return the objects of a picture; a polygon becomes the box around it, and an empty file no object.

    Args:
        names: name of each class by its number.
        size_wh: width and height of the picture as displayed, in pixels.

    Raises:
        DataError: no such file, or a broken row, named by its line.
    """
    return tuple(_object(values, source, names, size_wh) for source, values in _rows(path))


def looks_like_labels(path: Path) -> bool:
    """True if the first row of a text file is numbers alone; a file without rows does not look like labels."""
    try:
        _, values = next(_rows(path), ("", [""]))
        return bool([float(value) for value in values])
    except (DataError, ValueError):
        return False


def _object(values: list[str], source: str, names: Mapping[int, str], size_wh: tuple[int, int]) -> AnnotatedObject:
    class_id = whole_number(values[0], source)
    if class_id not in names:
        named = first_names([str(number) for number in names], at_most=5)
        raise DataError(f"{source}: class {class_id} has no name; named are {named}")
    is_polygon = len(values) >= 7 and len(values) % 2 == 1
    if len(values) != 5 and not is_polygon:
        raise DataError(
            f"{source}: {len(values)} values; expected class, x, y, width and height, or class and three points or more"
        )
    fractions = [finite_number(value, source) for value in values[1:]]
    for value, fraction in zip(values[1:], fractions, strict=True):
        if not -_ROUNDING <= fraction <= 1 + _ROUNDING:
            raise DataError(f"{source}: {value:.40} leaves the picture; expected fractions from 0 to 1")
    return AnnotatedObject(box=_box(fractions, source, size_wh), category=names[class_id])


def _box(fractions: list[float], source: str, size_wh: tuple[int, int]) -> Box:
    width, height = size_wh
    if len(fractions) == 4:
        x, y, w, h = fractions
        xs, ys = [x - w / 2, x + w / 2], [y - h / 2, y + h / 2]
    else:
        xs, ys = fractions[::2], fractions[1::2]
    x0, y0, x1, y1 = min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height
    return box_of_edges((max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))), source)


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield `path:line` and the values of every row that is not blank."""
    for number, line in enumerate(_read_text(path, at_most=_MAX_LABEL_BYTES).splitlines(), start=1):
        if values := line.split():
            yield f"{path}:{number}", values


def _read_text(path: Path, *, at_most: int) -> str:
    require_file(path)
    try:
        return read_small(path, at_most=at_most).decode("utf-8-sig")
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: {fault}; expected a text file of YOLO") from fault
