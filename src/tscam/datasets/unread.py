"""Files in the folders of a data set that are not read: counted by ending, or named where they look like boxes."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from tscam.datasets.base import Dataset
from tscam.errors import first_names
from tscam.picture_files import describe_passed_over, walk

_NAMED_AT_MOST = 5

_ANNOTATION_ENDINGS = frozenset({".csv", ".json", ".txt", ".xml", ".yaml", ".yml"})

# Beginnings of names that say what a data set is, and endings of such files: nobody misses these.
_DOCUMENTS = ("citation", "license", "licence", "readme", "thumbs.db", "desktop.ini")
_DOCUMENT_ENDINGS = frozenset({".html", ".md", ".pdf", ".rst"})


def describe_unread(paths: Iterable[str], *, read: Collection[str] = ()) -> list[str]:
    """Return notes on the files that are not read: one on annotations, one on the others; none on documents.

    Args:
        paths: files that are no pictures.
        read: those that were read all the same, such as files of boxes.
    """
    unread = [path for path in paths if path not in read and not _is_document(PurePosixPath(path))]
    annotations = [path for path in unread if PurePosixPath(path).suffix.lower() in _ANNOTATION_ENDINGS]
    others = [path for path in unread if PurePosixPath(path).suffix.lower() not in _ANNOTATION_ENDINGS]
    notes = [describe_passed_over(others)] if others else []
    if annotations:
        named = first_names(annotations, at_most=_NAMED_AT_MOST)
        notes.append(f"looks like annotations, not read: {len(annotations)} ({named})")
    return notes


def unlisted_files(datasets: Sequence[Dataset]) -> list[str]:
    """Return notes on pictures and other files that no list of a data set names.

    Args:
        datasets: all its splits.
    """
    listed: dict[Path, set[str]] = {}
    for dataset in datasets:
        if dataset.is_listed and dataset.image_root.is_dir():
            names = listed.setdefault(dataset.image_root, set())
            names.update(dataset.image_ids)
            names.update(_below(dataset.image_root, (file for masks in dataset.masks or () for file in masks.files)))
    notes = []
    for folder, names in listed.items():
        files = walk(folder)
        pictures = [path for path in files.pictures if path not in names]
        if pictures:
            named = first_names(pictures, at_most=_NAMED_AT_MOST)
            notes.append(f"{folder.name}/: pictures in no list, not read: {len(pictures)} ({named})")
        notes += [f"{folder.name}/: {note}" for note in describe_unread(files.others, read=names)]
    return notes


def _below(folder: Path, files: Iterable[Path]) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files if file.is_relative_to(folder)]


def _is_document(path: PurePosixPath) -> bool:
    return path.name.casefold().startswith(_DOCUMENTS) or path.suffix.lower() in _DOCUMENT_ENDINGS
