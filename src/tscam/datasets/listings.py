"""Lines and numbers of list files, and names in folders; each refusal names file and line."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tscam.errors import DataError, one_line
from tscam.formats.parsing import require_file
from tscam.geometry import Box
from tscam.image import has_picture_suffix, printable
from tscam.names import nfc
from tscam.picture_files import require_text

# A longer line is no line of a list: a binary file, or an attack on memory.
_LONGEST_LINE = 2**20


def list_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield `path:line` and the text, blanks around it removed, of every line of a list file that is not blank.

    Raises:
        DataError: no such file, or a line that is not UTF-8 text or longer than a mebibyte.
    """
    require_file(path)
    name = printable(path)
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(iter(partial(file.readline, _LONGEST_LINE + 1), b""), start=1):
                source = f"{name}:{number}"
                if len(raw) > _LONGEST_LINE:
                    raise DataError(f"{source}: a line of more than {_LONGEST_LINE} bytes; expected a list file")
                text = _decoded(raw, source).strip(" \t\r\n\ufeff")  # Some editors begin a file with U+FEFF.
                if text:
                    yield source, text
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({one_line(fault)}); check its permissions") from fault


def box_array(boxes: Sequence[Box]) -> Float[np.ndarray, "n 4"]:
    """Return boxes as an array; `(0, 4)` for none. `0 0 0 0` is how lists say that a picture has no object."""
    return np.array([box for box in boxes if any(box)], dtype=float).reshape(-1, 4)


def folder_names(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted as composed Unicode; links are followed, hidden left out.

    Raises:
        DataError: the folder cannot be listed, or a name in it is not UTF-8.
    """
    return _names(folder, lambda entry: Path(entry.path).is_dir())


def picture_names(folder: Path) -> list[str]:
    """Return the names of the pictures in a folder by their suffix, sorted as composed Unicode.

    Hidden files (macOS's `._x.jpg`) are left out.

    Raises:
        DataError: the folder cannot be listed, or a name in it is not UTF-8.
    """
    return _names(folder, lambda entry: has_picture_suffix(entry.name))


def other_names(folder: Path) -> list[str]:
    """Return the names of the files in a folder that are no pictures by their suffix; hidden files are left out.

    Raises:
        DataError: the folder cannot be listed, or a name in it is not UTF-8.
    """
    return _names(folder, lambda entry: not Path(entry.path).is_dir() and not has_picture_suffix(entry.name))


def _names(folder: Path, is_wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and is_wanted(entry))
    except OSError as fault:
        raise DataError(f"{folder}: cannot be listed ({one_line(fault)}); expected a folder") from fault
    require_text(names, folder)
    names.sort(key=nfc)
    return names


def _decoded(raw: bytes, source: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise DataError(f"{source}: not UTF-8 text; expected a list file") from None
