"""Labels of a flat `val/` of ImageNet, as downloaded: `val.txt`, or the ground truth of the development kit."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tscam.datasets.listings import list_lines
from tscam.errors import DataError, one_line
from tscam.formats.parsing import picture_id, whole_number
from tscam.image import printable
from tscam.names import nfc
from tscam.system.documents import read_small

WNID = re.compile(r"n\d{8}")

VAL_TXT, GROUND_TRUTH, META = "val.txt", "ILSVRC2012_validation_ground_truth.txt", "meta.mat"

# Folders below the root that may contain these files.
_VAL_TXT_IN = (".", "ILSVRC2012_list", "caffe_ilsvrc12")
_KIT_IN = (".", "data", "ILSVRC2012_devkit_t12/data", "ILSVRC2012_devkit_t12", "devkit/data")

_MOST_CLASSES = 10**6

# The kit's own file has a megabyte, and unpacks to some more.
_MAX_META, _MAX_UNPACKED = 2**24, 2**26
_MAT_HEADER, _COMPRESSED = 128, 15

_NUMBERED = re.compile(r"_(\d{8})$")


@dataclass(frozen=True, kw_only=True)
class ValidationLabels:
    """The class of each picture of `val/`.

    Attributes:
        source: the file that says so.
        names: wnid of the class, or its number as text where no wnids are known, by the picture's stem, or, in the
            development kit, by the number in the picture's name.
        is_numbered: True if `names` are by number.
    """

    source: Path
    names: Mapping[str, str]
    is_numbered: bool

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of all classes, sorted; numbers without gaps."""
        names = set(self.names.values())
        if all(name.isdecimal() for name in names):
            return tuple(map(str, range(max(map(int, names), default=-1) + 1)))
        return tuple(sorted(names))

    def find(self, name: str) -> str | None:
        """Return the class of a picture by its file name; None where the file has none for it."""
        stem = nfc(PurePosixPath(name).stem)
        numbered = _NUMBERED.search(stem)
        return self.names.get(str(int(numbered[1])) if self.is_numbered and numbered else stem)

    def require(self, path: Path) -> str:
        """Return the class of a picture.

        Raises:
            DataError: there is none for it.
        """
        label = self.find(path.name)
        if label is not None:
            return label
        numbered = _NUMBERED.search(path.stem)
        if not self.is_numbered:
            raise DataError(f"{printable(path)}: no label in {self.source}; add a line, or remove the picture")
        if numbered:
            raise DataError(f"{printable(path)}: no line {int(numbered[1])} in {self.source}; it is incomplete")
        raise DataError(f"{printable(path)}: no number of a line of {self.source} in its name; remove the picture")


def find_validation_labels(root: Path, folder: Path, *, wnids: Sequence[str]) -> ValidationLabels | None:
    """Read the labels of the pictures in a flat folder; None where there is no file of them.

    Args:
        root: folder of the data set.
        folder: its pictures.
        wnids: the classes, where training pictures name them.

    Raises:
        DataError: a broken file, or a number or wnid that is none of `wnids`.
    """
    path = _labels_file(root, folder)
    if path is None:
        return None
    return _read_val_txt(path, sorted(wnids)) if path.name == VAL_TXT else _read_kit(path, wnids)


def has_validation_labels(root: Path, folder: Path) -> bool:
    """True if there is a file of labels for a flat folder."""
    return _labels_file(root, folder) is not None


def _labels_file(root: Path, folder: Path) -> Path | None:
    lists = (parent / VAL_TXT for parent in (*(root / name for name in _VAL_TXT_IN), folder.parent, folder))
    kits = (root / name / GROUND_TRUTH for name in _KIT_IN)
    return next((path for path in (*lists, *kits) if path.is_file()), None)


def _read_val_txt(path: Path, wnids: Sequence[str]) -> ValidationLabels:
    """Read `name.JPEG label`, labels being wnids, or numbers of wnids in their order."""
    names: dict[str, str] = {}
    for source, text in list_lines(path):
        name, *labels = text.split()
        stem = nfc(PurePosixPath(picture_id(name, source)).stem)
        if len(labels) != 1:
            raise DataError(f"{source}: {text!r:.80}; expected 'name.JPEG label'")
        if stem in names:
            raise DataError(f"{source}: {name!r:.80} is listed twice")
        names[stem] = _class_name(labels[0], wnids, source)
    return ValidationLabels(source=path, names=names, is_numbered=False)


def _class_name(label: str, wnids: Sequence[str], source: str) -> str:
    if WNID.fullmatch(label):
        if wnids and label not in wnids:
            raise DataError(f"{source}: {label} is none of the {len(wnids)} classes of train/")
        return label
    number = whole_number(label, source)
    if not 0 <= number < (len(wnids) or _MOST_CLASSES):
        allowed = f"0 to {(len(wnids) or _MOST_CLASSES) - 1}"
        raise DataError(f"{source}: label {number}; expected {allowed}, the number of a wnid of train/ in order")
    return wnids[number] if wnids else str(number)


def _read_kit(path: Path, wnids: Sequence[str]) -> ValidationLabels:
    """Read a line a picture, its class by the numbers of the development kit, which are not in the order of wnids."""
    meta = path.parent / META
    if not meta.is_file():
        raise DataError(
            f"{path}: its numbers are not in the order of wnids, and {meta} is missing; add {META} of the development "
            f"kit, or {VAL_TXT}"
        )
    names = _read_meta(meta)
    labels: dict[str, str] = {}
    for source, text in list_lines(path):
        number = whole_number(text, source)
        if number not in names:
            raise DataError(f"{source}: number {number}; {META} has {min(names)} to {max(names)}")
        labels[str(len(labels) + 1)] = _class_name(names[number], wnids, source)
    return ValidationLabels(source=path, names=labels, is_numbered=True)


def _read_meta(path: Path) -> dict[int, str]:
    """Return the wnid of each number of the development kit."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise DataError(f"{path}: scipy is needed to read it; `pip install scipy`, or add {VAL_TXT}") from None
    _require_bounded(path)
    try:
        synsets = loadmat(path, squeeze_me=True, struct_as_record=True, variable_names=["synsets"])["synsets"]
        return {int(number): str(wnid) for number, wnid in zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)}
    except Exception as fault:  # Of a library for files of any kind.
        raise DataError(
            f"{path}: not the file of the development kit ({one_line(fault)}); add it, or {VAL_TXT}"
        ) from fault


def _require_bounded(path: Path) -> None:
    """Refuse a file whose compressed parts take much memory.

    Raises:
        DataError: it does, or cannot be read.
    """
    try:
        content = read_small(path, at_most=_MAX_META)
    except (OSError, ValueError) as fault:
        raise DataError(
            f"{path}: not the file of the development kit ({one_line(fault)}); add it, or {VAL_TXT}"
        ) from fault
    position, unpacked = _MAT_HEADER, 0
    while position + 8 <= len(content):
        kind = int.from_bytes(content[position : position + 4], "little")
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        part = content[position + 8 : position + 8 + size]
        try:
            unpacked += len(zlib.decompressobj().decompress(part, _MAX_UNPACKED)) if kind == _COMPRESSED else len(part)
        except zlib.error:
            unpacked += len(part)  # Not compressed after all: scipy says so.
        if unpacked >= _MAX_UNPACKED:
            raise DataError(
                f"{path}: unpacks to more than {_MAX_UNPACKED} bytes; add the development kit's own, or {VAL_TXT}"
            )
        position += 8 + size
