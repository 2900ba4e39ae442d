"""Files that are whole or not there, and folders that are claimed for a result; knows nothing of what is in them."""

import contextlib
import csv
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tscam.errors import OutputError, one_line

# What a spreadsheet takes for the beginning of a formula; the tab and the return hide one from a naive check.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_text_atomically(path: Path, text: str) -> None:
    """Write a file in UTF-8 so that a reader, or the next run after a crash, sees the old file or the whole new one.

    The folder is made if need be. What UTF-8 cannot hold (undecodable bytes of a file name) is written as its escape.

    Raises:
        OutputError: the disk refuses; the old file is as it was, and nothing else is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the name.
        raise OutputError(
            f"{path}: cannot be written ({one_line(fault)}); free space, or choose another place"
        ) from fault


def write_json(path: Path, content: Mapping[str, object] | Sequence[object], *, indent: int | None = None) -> None:
    """Write JSON atomically, in ASCII alone: what lies beyond is escaped, so that any reader's encoding will do.

    Raises:
        OutputError: as `write_text_atomically`.
        TypeError, ValueError: a value that JSON does not know, such as one of NumPy, NaN or infinity.
    """
    write_text_atomically(path, json.dumps(content, indent=indent, allow_nan=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]) -> None:
    """Write comma-separated values atomically; None is an empty cell.

    A text that a spreadsheet would run as a formula gets an apostrophe in front; numbers are written as they are.

    Raises:
        OutputError: as `write_text_atomically`.
    """
    write_text_atomically(path, "".join(_csv_line(cells) for cells in (header, *rows)))


def claim_output(folder: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> Path:
    """The empty folder that a run will write into, made if need be; an absolute path.

    Args:
        folder: taken literally.
        overwrite: empty a folder that holds something. A link in it is removed, what it points to stays.
        inputs: files and folders that the run reads; they are never emptied.

    Raises:
        OutputError: a file is in the way, the folder is not empty, the disk refuses, or the folder to be emptied is the
            root, the home, the current folder, an input or a parent of these, or lies in an input.
    """
    try:
        # Not `os.path.abspath`: it would take `link/..` for the folder that the link is in.
        claimed = folder.resolve() if ".." in folder.parts else folder.absolute()
        if claimed.exists() and not claimed.is_dir():
            raise OutputError(f"{folder}: a file; the output is a folder, choose another name")
        claimed.mkdir(parents=True, exist_ok=True)
        if any(claimed.iterdir()):
            if not overwrite:
                raise OutputError(
                    f"{folder}: the folder is not empty; choose another one, or empty it with --overwrite"
                )
            _empty(claimed, inputs)
    except (OSError, ValueError, RuntimeError) as fault:  # A NUL in the name; links in a circle.
        raise OutputError(
            f"{str(folder)!r}: cannot be used for output ({one_line(fault)}); choose another place"
        ) from fault
    return claimed


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file, then take its place: within one folder, and so within one disk."""
    beside = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        # Not `tempfile`: its files are readable by their owner alone, and would stay so.
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)  # noqa: PTH105  The call that the promise rests on, by its own name.
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    # The new name must reach the disk too; Windows and some network disks have no such call, and the file is whole.
    with contextlib.suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _csv_line(cells: Sequence[str | int | float | None]) -> str:
    text = io.StringIO(newline="")
    # Python's writer quotes a lone return only where its line end has one; the line itself then ends in "\n".
    csv.writer(text, lineterminator="\r\n").writerow([_harmless(cell) for cell in cells])
    return text.getvalue().removesuffix("\r\n") + "\n"


def _harmless(cell: str | int | float | None) -> str | int | float | None:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def _empty(folder: Path, inputs: Iterable[Path]) -> None:
    real = folder.resolve()
    for given in (path.resolve() for path in inputs):
        if real == given or real in given.parents or given in real.parents:
            raise OutputError(f"{folder}: --overwrite would empty what is read from {given}; choose another folder")
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111  `Path.home` fails for a user without a home.
    for kept in (home, Path.cwd().resolve()):
        if real == kept or real in kept.parents:  # The root is a parent of every folder.
            raise OutputError(f"{folder}: --overwrite would empty {kept}; choose another folder")
    for entry in real.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
