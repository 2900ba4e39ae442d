"""The index of a weight file: what it contains and how much memory it takes, before it is read. No PyTorch."""

import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

from tscam.errors import WeightsError, first_names, one_line, shown
from tscam.weights.layouts import TensorPath, tensor_paths
from tscam.weights.pickles import MAX_AXES, MAX_PICKLE, BadPickleError, ForeignObjectError, PickleIndex, StoredTensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".bin")

# Weights in a run folder and in a model folder.
_PATHS_IN_FOLDERS = ("weights/best/model.safetensors", "model.safetensors")

# Bytes of a table of contents: of a safetensors file, and of a zip archive.
_MAX_TABLE = 2**21

# Bytes of tensors for each byte of a file: two names for one tensor are not unusual.
_MOST_SHARED = 2

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_BYTES, _END64_BYTES, _LOCATOR64_BYTES = 22, 56, 20

# The number with which PyTorch's older files begin.
_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class WeightIndex:
    """Contents of a weight file.

    Attributes:
        tensors: shape and size of each tensor, by its path in nested mappings.
        dropped: other libraries whose objects are not read.
    """

    tensors: Mapping[TensorPath, StoredTensor]
    dropped: tuple[str, ...] = ()


def read_index(path: Path) -> WeightIndex:
    """Return what a weight file contains, within a second and 200 MB whatever it is.

    Raises:
        WeightsError: the file is missing, of another format, corrupt, asks for more memory than it has numbers, or
            contains anything but plain values and dense tensors.
    """
    require_weight_file(path)
    try:
        if path.suffix == ".safetensors":
            return WeightIndex(_stored_tensors(_safetensors_content(path)))
        return _torch_index(path)
    except ForeignObjectError as fault:
        raise WeightsError(
            f"{path}: contains objects other than tensors ({fault}), or is corrupt; only tensors are read, "
            "no code is run; save its state dict alone"
        ) from fault
    except BadPickleError as fault:
        raise WeightsError(f"{path}: cannot be read as weights ({fault}); the file may be incomplete") from fault
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError, struct.error) as fault:
        raise WeightsError(
            f"{path}: cannot be read as weights ({one_line(fault)}); the file may be incomplete"
        ) from fault


def require_weight_file(path: Path) -> None:
    """Refuse what is not a file, and files of other endings.

    Raises:
        WeightsError: says what weight files are, or which file of a folder is one.
    """
    if path.is_dir():
        weights = next(filter(Path.is_file, (path / name for name in _PATHS_IN_FOLDERS)), None)
        advice = f"use {weights}" if weights else f"name the file in it ({', '.join(SUFFIXES)})"
        raise WeightsError(f"{path}: a folder; {advice}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; expected weights ({', '.join(SUFFIXES)})")
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{path}: unknown ending {path.suffix!r}; weights end in {', '.join(SUFFIXES)}")


def _stored_tensors(content: Mapping[str, object]) -> dict[TensorPath, StoredTensor]:
    found = tensor_paths(content, lambda value: isinstance(value, StoredTensor))
    return {path: tensor for path, tensor in found.items() if isinstance(tensor, StoredTensor)}


def _safetensors_content(path: Path) -> dict[str, object]:
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(_MAX_TABLE, size - 8):
            raise BadPickleError(f"its table of contents takes {length:,} bytes; {_MAX_TABLE:,} at most are read")
        table = json.loads(file.read(length))
    if not isinstance(table, dict):
        raise BadPickleError("its table of contents is no mapping")
    content: dict[str, object] = {}
    stored = 0
    for name, entry in table.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        if len(shape) > MAX_AXES or not all(type(each) is int and each >= 0 for each in (start, end, *shape)):
            raise BadPickleError(f"{shown(name)} has no shape")
        if not start <= end <= size - 8 - length or prod(shape) > 8 * (end - start):
            raise BadPickleError(f"{shown(name)} is larger than what the file has of it")
        content[name] = StoredTensor(shape, end - start)
        stored += end - start
    if stored > size:
        raise BadPickleError("its tensors overlap")
    return content


def _torch_index(path: Path) -> WeightIndex:
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            pickled, records = _archive(file, size)
            index = PickleIndex(pickled)
            content = index.load()
            _require_records(index, records)
        else:
            file.seek(0)
            index = PickleIndex(file.read(MAX_PICKLE))
            content = _older_content(index)
            records = {}
    stored = sum(storage.items * storage.item_bytes for storage in index.storages.values())
    if stored > size or index.tensor_bytes > _MOST_SHARED * size:
        raise BadPickleError(f"its tensors take {max(stored, index.tensor_bytes):,} bytes, the file has {size:,}")
    if isinstance(content, StoredTensor) or not isinstance(content, dict):
        kind = "Tensor" if isinstance(content, StoredTensor) else type(content).__name__
        raise BadPickleError(f"a {kind} in place of named tensors")
    return WeightIndex(_stored_tensors(content), tuple(sorted(index.dropped)))


def _older_content(index: PickleIndex) -> object:
    """Return the content of a file without an archive, as PyTorch wrote it before version 1.6."""
    if index.load() != _MAGIC:
        raise BadPickleError("not a file of torch.save")
    index.load()  # version
    index.load()  # facts of the machine
    content = index.load()
    if not isinstance(index.load(), list):  # keys of the storages
        raise BadPickleError("it is corrupt")
    return content


def _archive(file: BinaryIO, size: int) -> tuple[bytes, dict[str, int]]:
    """Return the pickle of an archive and the bytes of its other records by name; refuse one that is not torch.save's.

    PyTorch and Python read archives with code of their own; one that both might understand in another way is refused.
    """
    _require_one_directory(file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            names = {entry.filename.casefold() for entry in entries}
            root = entries[0].filename.partition("/")[0] if entries else ""
            if len(names) < len(entries) or f"{root}/data.pkl" not in archive.NameToInfo:
                raise BadPickleError("an archive without data.pkl; not a file of torch.save")
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                    raise BadPickleError(
                        f"{shown(entry.filename)} is compressed; torch.save stores tensors as they are"
                    )
            if sum(entry.file_size for entry in entries) > size:
                raise BadPickleError("its records take more bytes than the file has")
            pickle = archive.getinfo(f"{root}/data.pkl")
            if pickle.file_size > MAX_PICKLE:
                raise BadPickleError(f"its index takes {pickle.file_size:,} bytes; save the state dict alone")
            if f"{root}/constants.pkl" in archive.NameToInfo:
                raise ForeignObjectError("a program of TorchScript")
            records = {entry.filename.removeprefix(f"{root}/"): entry.file_size for entry in entries}
            return archive.read(pickle), records
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as fault:
        raise BadPickleError(one_line(fault)) from fault


def _require_one_directory(file: BinaryIO, size: int) -> None:
    """Refuse an archive whose directory does not lie at its end, just before what refers to it."""
    tail_bytes = min(size, _END_BYTES + _LOCATOR64_BYTES + _END64_BYTES)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    end = tail[-_END_BYTES:]
    if len(end) < _END_BYTES or not end.startswith(_END):
        raise BadPickleError("the end of the archive is missing")
    length, start = struct.unpack("<II", end[12:20])
    directory_end = size - _END_BYTES
    if tail[:-_END_BYTES][-_LOCATOR64_BYTES:].startswith(_LOCATOR64):
        directory_end -= _LOCATOR64_BYTES + _END64_BYTES
        (stated,) = struct.unpack("<Q", tail[_END64_BYTES + 8 : _END64_BYTES + 16])
        if stated != directory_end or not tail.startswith(_END64):
            raise BadPickleError("the directory of the archive is not at its end")
        length, start = struct.unpack("<QQ", tail[40:56])
    if start + length != directory_end or length > _MAX_TABLE or end[20:22] != b"\0\0":
        raise BadPickleError("the directory of the archive is not at its end, or too large")


def _require_records(index: PickleIndex, records: Mapping[str, int]) -> None:
    """Refuse storages that the archive does not contain, or not whole."""
    missing = [
        storage.key
        for storage in index.storages.values()
        if records.get(f"data/{storage.key}", -1) < storage.items * storage.item_bytes
    ]
    if missing:
        raise BadPickleError(f"storages are missing or cut off: {first_names(missing, at_most=3)}")
