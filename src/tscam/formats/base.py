"""What an annotation format is: a function that writes localizations into a folder, and the registry of them."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from tscam.errors import DataError
from tscam.localization import Localization
from tscam.registry import Registry


class Format(Protocol):
    """Localizations → files."""

    def __call__(
        self, localizations: Iterable[Localization], out: Path, *, class_names: Sequence[str] | None
    ) -> list[Path]:
        """Write below `out`, nowhere else, and return the files written; `localizations` can be read once.

        Bad images are left out. `class_names` are all classes in the order of their ids, None means those that occur.
        The same localizations give the same bytes.
        """
        ...


formats: Registry[Format] = Registry("format")


def write_annotations(
    localizations: Iterable[Localization], out: str | Path, *, to: str, class_names: Sequence[str] | None = None
) -> list[Path]:
    """Write localizations as annotation files; returns the files.

    Args:
        localizations: of one model, each picture once; bad images are left out.
        out: the folder, made if need be; files of the same names are replaced.
        to: name of a registered format, such as `coco`.
        class_names: all classes, in the order of their ids; None lists the classes that occur.

    Raises:
        ConfigError: no format of that name.
        DataError: the localizations do not fit together, or not to `class_names`.
        OutputError: a file cannot be written.
    """
    return formats[to](localizations, Path(out), class_names=class_names)


def class_table(labels: Iterable[tuple[int, str]], *, class_names: Sequence[str] | None) -> dict[int, str]:
    """Class id → name, ordered by id: all of `class_names` if given, else the labels that occur.

    Raises:
        DataError: a label that is not its class's name, two names for one class, or an id below 0.
    """
    table = dict(enumerate(class_names or ()))
    for class_id, label in sorted(set(labels)):
        if class_id < 0 or (class_names is not None and class_id >= len(class_names)):
            allowed = "expected ids from 0" if class_names is None else f"class_names has {len(class_names)}, from 0"
            raise DataError(f"class id {class_id} of {label!r}: {allowed}; give the class names of the model")
        if table.setdefault(class_id, label) != label:
            raise DataError(
                f"class {class_id}: both {table[class_id]!r} and {label!r}; write the localizations of one model, with "
                "the class names of that model"
            )
    return table


def relative_names(images: Sequence[str]) -> tuple[Path, list[str]]:
    """The deepest folder that holds all pictures, absolute, and each picture's path in it, with forward slashes.

    Links are not followed: a picture keeps the name it was given.

    Raises:
        DataError: the same picture twice, or pictures that no folder holds together (two drives).
    """
    paths = [os.path.abspath(image) for image in images]  # noqa: PTH100  `Path.absolute` keeps `..`.
    seen: set[str] = set()
    for image, path in zip(images, paths, strict=True):
        if path in seen:
            raise DataError(f"{image}: localized twice; keep one line a picture")
        seen.add(path)
    try:
        folder = Path(os.path.commonpath({os.path.dirname(path) for path in paths} or {os.getcwd()}))  # noqa: PTH109, PTH120
    except ValueError as fault:
        raise DataError(f"{images[0]}: not on the drive of all other pictures; write one drive at a time") from fault
    return folder, [Path(path).relative_to(folder).as_posix() for path in paths]
