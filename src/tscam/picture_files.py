"""Files below a folder: pictures by their ending, and all others, which are counted so that none vanishes."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tscam.errors import DataError, one_line
from tscam.image import has_picture_suffix
from tscam.names import nfc

_NAMED_AT_MOST = 8


@dataclass(frozen=True)
class FolderFiles:
    """Paths relative to the folder, with forward slashes, sorted as composed Unicode folder by folder.

    Attributes:
        pictures: files with a picture's ending.
        others: all other files.
    """

    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def walk(folder: Path, *, entered: Collection[str] = ()) -> FolderFiles:
    """Return the files in a folder at any depth; hidden files and folders (macOS's `._x.jpg`) are left out.

    Links to folders are followed, but no folder is entered twice.

    Args:
        entered: real paths of folders that are not entered, since they are searched on their own.

    Raises:
        DataError: a folder cannot be listed, or a name is not UTF-8.
    """
    files, seen = FolderFiles(), {*entered, os.path.realpath(folder)}
    folders, links = [(str(folder), "")], list[tuple[str, str]]()
    while folders:
        path, prefix = folders.pop()
        for entry in _entries(path):
            name = prefix + entry.name
            if not _is_folder(entry):
                (files.pictures if has_picture_suffix(entry.name) else files.others).append(name)
            elif entry.is_symlink():
                links.append((entry.path, f"{name}/"))
            elif _is_new(entry.path, seen):
                folders.append((entry.path, f"{name}/"))
        while links and not folders:  # A folder's own path comes before links to it.
            path, prefix = links.pop(0)
            if _is_new(path, seen):
                folders.append((path, prefix))
    for paths in (files.pictures, files.others):
        paths.sort(key=lambda path: nfc(path).split("/"))
    return files


def count_endings(names: Iterable[str]) -> str:
    """Return how many files have which ending, the most frequent first: `3 .txt, 1 .gz, 1 without ending`."""
    counts = Counter(os.path.splitext(name)[1].lower() or "without ending" for name in names)  # noqa: PTH122
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = len(ordered) - _NAMED_AT_MOST
    named = ", ".join(f"{count} {ending}" for ending, count in ordered[:_NAMED_AT_MOST])
    return named + (f" and {rest} more endings" if rest > 0 else "")


def describe_passed_over(others: Sequence[str]) -> str:
    """Return a note on the files of a folder that are no pictures by their ending."""
    return f"files passed over: {count_endings(others)}"


def require_text(names: Iterable[str], folder: str | Path) -> None:
    """Refuse names that no text can hold.

    Raises:
        DataError: a name is not UTF-8.
    """
    for name in names:
        if not name.isascii() and not _is_utf8(name):
            raise DataError(f"{folder}: the name {os.fsencode(name)!r} is not UTF-8; rename it")


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            visible = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: nfc(entry.name))
    except OSError as fault:
        raise DataError(f"{folder}: cannot be listed ({one_line(fault)}); expected a folder") from fault
    require_text((entry.name for entry in visible), folder)
    return visible


def _is_new(folder: str, seen: set[str]) -> bool:
    """True if a folder is not among those seen; it is then added to them."""
    real_path = os.path.realpath(folder)
    if real_path in seen:
        return False
    seen.add(real_path)
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link to itself.
        return False


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
