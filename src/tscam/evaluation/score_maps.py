"""Score maps as `.npy` files, one a picture, named as wsolevaluation names them; knows nothing of their use."""

import io
import math
import os
import stat
import tokenize
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, Num

from tscam.errors import DataError, one_line
from tscam.image import leads_out, printable
from tscam.system.writing import write_bytes_atomically

# No more values than a picture may have pixels: a map is read whole and must fit into memory.
_MOST_VALUES = 179_000_000

# Raised by NumPy for files that are no arrays, or are damaged; it warns of arrays that Python 2 has written.
_READING_FAULTS = (
    OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, RecursionError, MemoryError,
    tokenize.TokenError, Warning,
)  # fmt: skip

# The third version serves arrays with named fields; no map has those.
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def map_path(folder: Path, image_id: str) -> Path:
    """Path of a picture's map: the whole id, suffix included, and `.npy` (`val2/0/a.jpeg.npy`).

    Source:
        The code of wsolevaluation; its README shows `val2/0/a.npy`, a file that its code does not find.

    Raises:
        DataError: the id leads out of the folder.
    """
    if leads_out(image_id):
        raise DataError(f"{image_id!r:.200} leads out of {printable(folder)}; expected a path below the folder of maps")
    return folder / f"{image_id}.npy"


def read_map(path: Path, *, size_hw: tuple[int, int] | None = None) -> Float[np.ndarray, "H W"]:
    """A saved map: float32 and float64 unchanged, half floats as float32, whole numbers as float64.

    The last bit can decide a score (`trunc(255 * map)`), and wsolevaluation writes and judges float64.

    Args:
        size_hw: required height and width of the map; None takes any size.

    Raises:
        DataError: not a file, not a two-dimensional array of finite numbers, or of another size.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # A pipe would block for ever.
            raise DataError(f"{printable(path)}: not a file; expected a score map")
        with path.open("rb") as file:
            stored = _read_array(file, size_hw, printable(path))
    except _READING_FAULTS as fault:
        raise DataError(
            f"{printable(path)}: not a readable .npy file ({one_line(fault)}); write the map again"
        ) from fault
    map_ = stored.astype(_float_type(stored.dtype))
    if not np.isfinite(map_).all():
        raise DataError(f"{printable(path)}: NaN or infinity in the map; expected finite numbers")
    return map_


def write_map(path: Path, map_: Float[np.ndarray, "H W"]) -> None:
    """Write a map as float32; the file is whole or not there, missing folders are made.

    Raises:
        OutputError: the disk refuses.
    """
    content = io.BytesIO()
    np.save(content, map_.astype(np.float32), allow_pickle=False)
    write_bytes_atomically(path, content.getvalue())


def _float_type(stored: np.dtype[np.generic]) -> type[np.float32] | type[np.float64]:
    return np.float32 if stored.kind == "f" and stored.itemsize <= 4 else np.float64


def _read_array(file: BinaryIO, size_hw: tuple[int, int] | None, name: str) -> Num[np.ndarray, "H W"]:
    """Read as `numpy.load` does, but check the header first: it may claim an array larger than memory."""
    shape, is_fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    if len(shape) != 2 or dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise DataError(
            f"{name}: an array of {len(shape)} dimensions and type {dtype!s:.80}; expected a 2-d map of numbers"
        )
    height, width = shape
    if size_hw is not None and shape != size_hw:
        raise DataError(f"{name}: a map of {height}×{width}; expected {size_hw[0]}×{size_hw[1]} (height × width)")
    count = math.prod(shape)
    if not 0 < count <= _MOST_VALUES:
        raise DataError(f"{name}: a map of {height}×{width}; expected 1 to {_MOST_VALUES} values")
    length = count * dtype.itemsize
    if os.fstat(file.fileno()).st_size - file.tell() < length:
        raise DataError(f"{name}: ends before its {height}×{width} values; write the map again")
    return np.frombuffer(file.read(length), dtype).reshape(shape, order="F" if is_fortran else "C")
