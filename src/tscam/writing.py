"""Files that are whole or not there, and folders that are claimed for a result; knows nothing of what is in them."""

import contextlib
import csv
import ctypes
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from tscam.errors import OutputError, one_line

# Held by the run that writes into a folder.
LOCK = ".lock"

# What a write that was killed leaves beside its file.
_LEFT_OVER = re.compile(r"\.[0-9a-f]{16}\.part")

# What a spreadsheet takes for the beginning of a formula; the tab and the return hide one from a naive check.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_text_atomically(path: Path, text: str) -> None:
    """As `write_bytes_atomically`, in UTF-8; what it cannot hold (undecodable bytes of a name) becomes its escape.

    Raises:
        OutputError: as there.
    """
    write_bytes_atomically(path, text.encode("utf-8", "backslashreplace"))


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or the next run after a crash, sees the old file or the whole new one.

    The folder is made if need be.

    Raises:
        OutputError: the disk refuses; the old file is as it was, and nothing else is left behind.
    """
    with written_atomically(path) as file:
        file.write(content)


@contextlib.contextmanager
def written_atomically(path: Path) -> Generator[BinaryIO]:
    """A file to write piece by piece; it takes its place whole when the block ends, and not at all if that raises.

    Raises:
        OutputError: as `write_bytes_atomically`.
    """
    # Beside its place: within one folder, and so within one disk.
    beside = path.parent / f".{secrets.token_hex(8)}.part"
    with _refused(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not `tempfile`: its files are readable by their owner alone, and would stay so.
        opened = beside.open("xb")
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _refused(path):
            os.replace(beside, path)  # noqa: PTH105  The call that the promise rests on, by its own name.
    except BaseException as fault:
        beside.unlink(missing_ok=True)
        if isinstance(fault, OSError):
            raise _unwritable(path, fault) from fault
        raise
    flush_folder(path.parent)


def write_json(path: Path, content: Mapping[str, object] | Sequence[object], *, indent: int | None = None) -> None:
    """Write JSON atomically, in ASCII alone: what lies beyond is escaped, so that any reader's encoding will do.

    Raises:
        OutputError: as `write_text_atomically`.
        TypeError, ValueError: a value that JSON does not know, such as one of NumPy, NaN or infinity.
    """
    write_text_atomically(path, json.dumps(content, indent=indent, allow_nan=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]) -> None:
    """Write comma-separated values atomically; None is an empty cell.

    A text that a spreadsheet would run as a formula gets an apostrophe in front, which `plain_cell` takes off; numbers
    are written as they are.

    Raises:
        OutputError: as `write_text_atomically`.
    """
    write_text_atomically(path, "".join(_csv_line(cells) for cells in (header, *rows)))


def plain_cell(cell: str) -> str:
    """Return the text that `write_csv` wrote as this cell.

    Example:
        >>> plain_cell("'=1+1"), plain_cell("'tis")
        ('=1+1', "'tis")
    """
    return cell[1:] if cell.startswith("'") and _is_formula(cell) else cell


def literal(path: Path) -> Path:
    """The absolute path of the very place that was named."""
    # Not `os.path.abspath`: it would take `link/..` for the folder that the link is in.
    return path.resolve() if ".." in path.parts else path.absolute()


def flush_file(path: Path) -> None:
    """Waits until what was written into a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk.

    Windows and some network disks have no such call; there the files are whole all the same.
    """
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_folder(folder: Path, fresh: Path) -> None:
    """Puts a folder in the place of another on the same disk; the other is gone then.

    Linux swaps the two at once, so that there is a whole one at any moment. Elsewhere there is none between two
    renames, and should the second fail, the old one comes back.

    Raises:
        OSError: the disk refuses; the old folder is in its place.
    """
    if folder.exists() and _swap(folder, fresh):
        shutil.rmtree(fresh, ignore_errors=True)
        flush_folder(folder.parent)
        return
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    flush_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Holds a folder for one process; the system lets go of it when the process ends, in whatever way.

    Raises:
        OutputError: another process holds it, or the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout as fault:
        raise OutputError(
            f"{folder}: another run is at work here; wait until it has ended, or choose another folder"
        ) from fault
    except (OSError, ValueError) as fault:
        raise OutputError(f"{str(folder)!r}: cannot be used for output ({one_line(fault)})") from fault
    try:
        yield
    finally:
        lock.release()


def claim_output(folder: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> Path:
    """The empty folder that a run will write into, made if need be; an absolute path. A lock in it stays.

    A folder with nothing but what a killed write left is taken for empty.

    Args:
        folder: taken literally.
        overwrite: empty a folder that holds something. A link in it is removed, what it points to stays.
        inputs: files and folders that the run reads; they are never emptied.

    Raises:
        OutputError: a file is in the way, the folder is not empty, the disk refuses, or the folder to be emptied is the
            root, the home, the current folder, an input or a parent of these, or lies in an input.
    """
    claimed = require_claimable(folder, overwrite=overwrite, inputs=inputs)
    try:
        claimed.mkdir(parents=True, exist_ok=True)
        for entry in claimed.iterdir():
            if entry.name != LOCK:
                _remove(entry)
    except (OSError, ValueError) as fault:  # A NUL in the name.
        raise _unusable(folder, fault) from fault
    return claimed


def require_claimable(folder: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> Path:
    """The absolute path of a folder that `claim_output` would take as it is now; nothing is changed.

    Raises:
        OutputError: as `claim_output`.
    """
    try:
        claimed = literal(folder)
        if claimed.exists() and not claimed.is_dir():
            raise OutputError(f"{folder}: a file; the output is a folder, choose another name")
        if claimed.exists() and not all(map(_is_nothing, claimed.iterdir())):
            if not overwrite:
                raise OutputError(
                    f"{folder}: the folder is not empty; choose another one, or empty it with --overwrite"
                )
            _require_emptiable(claimed, inputs)
    except (OSError, ValueError, RuntimeError) as fault:  # A NUL in the name; links in a circle.
        raise _unusable(folder, fault) from fault
    return claimed


def _is_nothing(entry: Path) -> bool:
    return entry.name == LOCK or _LEFT_OVER.fullmatch(entry.name) is not None


def _unusable(folder: Path, fault: Exception) -> OutputError:
    return OutputError(f"{str(folder)!r}: cannot be used for output ({one_line(fault)}); choose another place")


@contextlib.contextmanager
def _refused(path: Path) -> Generator[None]:
    try:
        yield
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the name.
        raise _unwritable(path, fault) from fault


def _unwritable(path: Path, fault: Exception) -> OutputError:
    return OutputError(f"{path}: cannot be written ({one_line(fault)}); free space, or choose another place")


def _swap(one: Path, other: Path) -> bool:
    """Exchanges two names at once; False where the system cannot."""
    exchange, this_folder = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an old C library
        return False
    return bool(rename(this_folder, os.fsencode(one), this_folder, os.fsencode(other), exchange) == 0)


def _csv_line(cells: Sequence[str | int | float | None]) -> str:
    text = io.StringIO(newline="")
    # Python's writer quotes a lone return only where its line end has one; the line itself then ends in "\n".
    csv.writer(text, lineterminator="\r\n").writerow([_harmless(cell) for cell in cells])
    return text.getvalue().removesuffix("\r\n") + "\n"


def _harmless(cell: str | int | float | None) -> str | int | float | None:
    return f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell


def _is_formula(cell: str) -> bool:
    """True if a text begins as a formula, behind any apostrophes: a text that has one already gets one more."""
    return cell.lstrip("'").startswith(_FORMULA_STARTS)


def _require_emptiable(folder: Path, inputs: Iterable[Path]) -> None:
    real = folder.resolve()
    for given in (path.resolve() for path in inputs):
        if real == given or real in given.parents or given in real.parents:
            raise OutputError(f"{folder}: --overwrite would empty what is read from {given}; choose another folder")
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111  `Path.home` fails for a user without a home.
    for kept in (home, Path.cwd().resolve()):
        if real == kept or real in kept.parents:  # The root is a parent of every folder.
            raise OutputError(f"{folder}: --overwrite would empty {kept}; choose another folder")


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
