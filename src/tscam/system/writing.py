"""Writing that leaves a file or a folder whole or not there; knows nothing of what is in them."""

import contextlib
import csv
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from tscam.errors import OutputError, one_line

Cell = str | int | float | None

# Name of the file that a killed write leaves beside its target.
_PARTIAL = re.compile(r"\.[0-9a-f]{16}\.part")

# A spreadsheet runs a cell that begins so as a formula; the tab and the return hide one from a naive check.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file like `write_bytes_atomically`, in UTF-8; undecodable bytes of a file name become escapes.

    Raises:
        OutputError: as `write_bytes_atomically`.
    """
    write_bytes_atomically(path, text.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def unflushed_writes() -> Generator[Callable[[Path, str], None]]:
    """Yield a function that writes text files like `write_text_atomically` but flushes none, for many small files.

    All are flushed at once when the block ends. A killed process leaves whole files; a power failure before the end may
    leave empty ones.

    Raises:
        OutputError: as `write_bytes_atomically`.
    """

    def write_text(path: Path, text: str) -> None:
        with _written(path, os.replace, flushes=False) as file:
            file.write(text.encode("utf-8", "backslashreplace"))

    yield write_text
    if hasattr(os, "sync"):  # Windows has no such call.
        os.sync()


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or the next run after a crash, sees the old file or the whole new one.

    A missing folder is made.

    Raises:
        OutputError: the disk refuses; the old file is unchanged, and nothing else is left behind.
    """
    with written_atomically(path) as file:
        file.write(content)


@contextlib.contextmanager
def written_atomically(path: Path) -> Generator[BinaryIO]:
    """Yield a file to write piece by piece. It replaces `path` when the block ends; if the block raises, `path` stays.

    Raises:
        OutputError: as `write_bytes_atomically`.
    """
    with _written(path, os.replace) as file:
        yield file


def write_json(path: Path, content: Mapping[str, object] | Sequence[object], *, indent: int | None = None) -> None:
    """Write JSON atomically, in ASCII with escapes, so that a reader with any encoding understands it.

    Raises:
        OutputError: as `write_bytes_atomically`.
        TypeError, ValueError: a value that JSON does not have, such as a NumPy scalar, NaN or infinity.
    """
    write_bytes_atomically(path, _json(content, indent=indent))


def write_new_json(path: Path, content: Mapping[str, object] | Sequence[object], *, indent: int | None = None) -> None:
    """Write JSON like `write_json`, but never replace a file, not even one that appears meanwhile.

    Raises:
        OutputError: a file of this name exists, or the disk refuses.
    """
    with _written(path, _move_to_free_name) as file:
        file.write(_json(content, indent=indent))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write comma-separated values atomically, row by row as they come.

    Raises:
        OutputError: as `write_bytes_atomically`.
    """
    with written_atomically(path) as file:
        for cells in chain([header], rows):
            file.write(csv_line(cells))


def csv_line(cells: Sequence[Cell]) -> bytes:
    """Return a row of comma-separated values in UTF-8; None is an empty cell, undecodable bytes become escapes.

    Text that a spreadsheet would run as a formula gets an apostrophe in front, which `plain_cell` removes; numbers are
    unchanged.
    """
    text = io.StringIO(newline="")
    # Python's writer quotes a lone return only if its own line end contains one.
    csv.writer(text, lineterminator="\r\n").writerow([_without_formula(cell) for cell in cells])
    return (text.getvalue().removesuffix("\r\n") + "\n").encode("utf-8", "backslashreplace")


def plain_cell(cell: str) -> str:
    """Return the text that `csv_line` wrote as this cell.

    Example:
        >>> plain_cell("'=1+1"), plain_cell("'tis")
        ('=1+1', "'tis")
    """
    return cell[1:] if cell.startswith("'") and _is_formula(cell) else cell


def literal(path: Path) -> Path:
    """Return the absolute path without following a link at its end."""
    # Not `os.path.abspath`: it reads `link/..` as the folder that contains the link.
    return path.resolve() if ".." in path.parts else path.absolute()


def flush_file(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Windows and some network disks have no such call; files are whole there as well.
    """
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_folder(folder: Path, fresh: Path) -> None:
    """Replace a folder by a fresh one on the same disk, in two renames.

    A kill between the two leaves no `folder`, and the old one whole beside it. Then `readable_folder` finds it there,
    and the next `replace_folder` removes it.

    Raises:
        OSError: the disk refuses; the old folder is back.
    """
    aside = _set_aside(folder)
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    try:
        fresh.rename(folder)
    except BaseException:
        if aside.exists():
            aside.rename(folder)
        raise
    flush_folder(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def readable_folder(folder: Path) -> Path:
    """Return the folder, or the old one if a process was killed while it replaced the folder."""
    aside = _set_aside(folder)
    return aside if not folder.exists() and aside.is_dir() else folder


@contextlib.contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """Raise `OutputError` where the disk refuses to write a file or folder."""
    try:
        yield
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the name.
        raise _unwritable(path, fault) from fault


def is_partial(path: Path) -> bool:
    """True if a file has the name of one that a killed write left."""
    return _PARTIAL.fullmatch(path.name) is not None


def remove_partial_files(folder: Path) -> None:
    """Remove the files that killed writes left in a folder, at any depth."""
    for path in list(folder.rglob(".*.part")):
        if is_partial(path):
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def _written(path: Path, move: Callable[[Path, Path], object], *, flushes: bool = True) -> Generator[BinaryIO]:
    """Yield a file beside `path`, and move it to `path` when the block ends."""
    # In the same folder, and so on the same disk.
    beside = path.parent / f".{secrets.token_hex(8)}.part"
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not `tempfile`: only their owner can read its files, and that would stay so.
        opened = beside.open("xb")
    try:
        with opened as file:
            yield file
            file.flush()
            if flushes:
                os.fsync(file.fileno())
        with disk_errors(path):
            move(beside, path)
    except BaseException as fault:
        beside.unlink(missing_ok=True)
        if isinstance(fault, OSError):
            raise _unwritable(path, fault) from fault
        raise
    if flushes:
        flush_folder(path.parent)


def _move_to_free_name(beside: Path, path: Path) -> None:
    try:
        path.hardlink_to(beside)
    except OSError as fault:
        if os.path.lexists(path):
            raise OutputError(f"{path}: a file of this name exists; choose another name") from fault
        beside.rename(path)  # The disk has no hard links.
    else:
        beside.unlink()


def _unwritable(path: Path, fault: Exception) -> OutputError:
    return OutputError(f"{path}: cannot be written ({one_line(fault)}); free space, or choose another folder")


def _set_aside(folder: Path) -> Path:
    """Return where `replace_folder` keeps the old folder between its two renames."""
    return folder.parent / f".{folder.name}.old"


def _json(content: Mapping[str, object] | Sequence[object], *, indent: int | None) -> bytes:
    return json.dumps(content, indent=indent, allow_nan=False).encode() + b"\n"


def _without_formula(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell


def _is_formula(cell: str) -> bool:
    """True if a text begins as a formula after any apostrophes; a text that has one already gets one more."""
    return cell.lstrip("'").startswith(_FORMULA_STARTS)
