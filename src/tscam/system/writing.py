"""Writing that leaves a file or a folder whole or not there, and output folders; knows nothing of what is in them."""

import contextlib
import csv
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

# Name of the file that a run locks in the folder that it writes into.
LOCK = ".lock"

# Name of the file that a killed write leaves beside its target.
_LEFT_OVER = re.compile(r"\.[0-9a-f]{16}\.part")

# A spreadsheet runs a cell that begins so as a formula; the tab and the return hide one from a naive check.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file like `write_bytes_atomically`, in UTF-8; undecodable bytes of a file name become escapes.

    Raises:
        OutputError: as `write_bytes_atomically`.
    """
    write_bytes_atomically(path, text.encode("utf-8", "backslashreplace"))


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
    # In the same folder, and so on the same disk.
    beside = path.parent / f".{secrets.token_hex(8)}.part"
    with _refused(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not `tempfile`: only their owner can read its files, and that would stay so.
        opened = beside.open("xb")
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _refused(path):
            os.replace(beside, path)  # noqa: PTH105  The guarantee rests on this call.
    except BaseException as fault:
        beside.unlink(missing_ok=True)
        if isinstance(fault, OSError):
            raise _unwritable(path, fault) from fault
        raise
    flush_folder(path.parent)


def write_json(path: Path, content: Mapping[str, object] | Sequence[object], *, indent: int | None = None) -> None:
    """Write JSON atomically, in ASCII with escapes, so that a reader with any encoding understands it.

    Raises:
        OutputError: as `write_bytes_atomically`.
        TypeError, ValueError: a value that JSON does not have, such as a NumPy scalar, NaN or infinity.
    """
    write_text_atomically(path, json.dumps(content, indent=indent, allow_nan=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]) -> None:
    """Write comma-separated values atomically; None is an empty cell.

    Text that a spreadsheet would run as a formula gets an apostrophe in front, which `plain_cell` removes; numbers are
    unchanged.

    Raises:
        OutputError: as `write_bytes_atomically`.
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
def locked(folder: Path) -> Generator[None]:
    """Lock a folder for this process, and make it if it is missing. The system unlocks it however the process ends.

    Raises:
        OutputError: another process has locked it, or the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout as fault:
        raise OutputError(
            f"{folder}: another run is writing here; wait until it has ended, or choose another folder"
        ) from fault
    except (OSError, ValueError) as fault:
        raise OutputError(f"{str(folder)!r}: cannot be used for output ({one_line(fault)})") from fault
    try:
        yield
    finally:
        lock.release()


def claim_output(folder: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> Path:
    """Make or empty the folder that a run will write into, and return its absolute path. A lock in it stays.

    A folder that contains only leftovers of killed writes counts as empty.

    Args:
        folder: path, taken literally.
        overwrite: empty a folder that is in use. A link in it is removed, its target stays.
        inputs: files and folders that the run reads; they are never emptied.

    Raises:
        OutputError: a file is in the way, the folder is not empty, the disk refuses, or the folder to empty is the
            root, the home, the current folder, an input or a parent of these, or is inside an input.
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
    """Return the absolute path of a folder if `claim_output` would accept it; nothing is changed.

    Raises:
        OutputError: as `claim_output`.
    """
    try:
        claimed = literal(folder)
        if claimed.exists() and not claimed.is_dir():
            raise OutputError(f"{folder}: a file; the output is a folder, choose another name")
        if claimed.exists() and not all(map(_is_ignored, claimed.iterdir())):
            if not overwrite:
                raise OutputError(
                    f"{folder}: the folder is not empty; choose another one, or empty it with --overwrite"
                )
            _require_emptiable(claimed, inputs)
    except (OSError, ValueError, RuntimeError) as fault:  # A NUL in the name; links in a circle.
        raise _unusable(folder, fault) from fault
    return claimed


def _is_ignored(entry: Path) -> bool:
    return entry.name == LOCK or _LEFT_OVER.fullmatch(entry.name) is not None


def _unusable(folder: Path, fault: Exception) -> OutputError:
    return OutputError(f"{str(folder)!r}: cannot be used for output ({one_line(fault)}); choose another folder")


@contextlib.contextmanager
def _refused(path: Path) -> Generator[None]:
    try:
        yield
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the name.
        raise _unwritable(path, fault) from fault


def _unwritable(path: Path, fault: Exception) -> OutputError:
    return OutputError(f"{path}: cannot be written ({one_line(fault)}); free space, or choose another folder")


def _set_aside(folder: Path) -> Path:
    """Return where `replace_folder` keeps the old folder between its two renames."""
    return folder.parent / f".{folder.name}.old"


def _csv_line(cells: Sequence[str | int | float | None]) -> str:
    text = io.StringIO(newline="")
    # Python's writer quotes a lone return only if its own line end contains one.
    csv.writer(text, lineterminator="\r\n").writerow([_without_formula(cell) for cell in cells])
    return text.getvalue().removesuffix("\r\n") + "\n"


def _without_formula(cell: str | int | float | None) -> str | int | float | None:
    return f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell


def _is_formula(cell: str) -> bool:
    """True if a text begins as a formula after any apostrophes; a text that has one already gets one more."""
    return cell.lstrip("'").startswith(_FORMULA_STARTS)


def _require_emptiable(folder: Path, inputs: Iterable[Path]) -> None:
    real = folder.resolve()
    for source in (path.resolve() for path in inputs):
        if real == source or real in source.parents or source in real.parents:
            raise OutputError(f"{folder}: --overwrite would empty the input {source}; choose another folder")
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111  `Path.home` fails for a user without a home.
    for protected in (home, Path.cwd().resolve()):
        if real == protected or real in protected.parents:  # The root is a parent of every folder.
            raise OutputError(f"{folder}: --overwrite would empty {protected}; choose another folder")


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
