"""Tensors and facts that survive the death of their process: two files a state, with checksums; the last two are kept.

`state/000012.safetensors` contains the tensors. `state/000012.json` contains the facts and the checksums of both; it is
written last, so a state is complete or does not count. Knows nothing of training.
"""

import contextlib
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from tscam.errors import OutputError, TrainingError, one_line
from tscam.system.writing import flush_file, flush_folder, write_json

_KEPT = 2  # states: the newest, and the one before in case the newest is corrupt


@dataclass(frozen=True, kw_only=True)
class State:
    """A saved state.

    Attributes:
        tensors: on the CPU.
        facts: JSON values.
        corrupt: newer states that were set aside, each with the reason.
    """

    tensors: dict[str, Tensor]
    facts: Mapping[str, object]
    corrupt: tuple[str, ...]


def save_state(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Add a state, then remove all but the last two.

    Raises:
        OutputError: the disk refuses; the states before are unchanged.
    """
    _remove_outdated(folder)  # partial files of an interrupted save may take the space that is needed
    number = max((_number(path) for path in _files(folder)), default=0) + 1
    path = folder / f"{number:06d}.safetensors"
    # In the same folder, and so on the same disk, whatever TMPDIR is.
    partial = folder / f".{secrets.token_hex(8)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        safetensors.torch.save_file(on_cpu, partial)
        # safetensors creates files that only their owner may read.
        partial.chmod(folder.stat().st_mode & 0o666)
        flush_file(partial)
        checksum = _checksum_of_file(partial)
        partial.rename(path)
        flush_folder(folder)
    except (OSError, SafetensorError) as fault:
        raise OutputError(
            f"{folder}: the state of the run cannot be written ({one_line(fault)}); free space there, "
            "then continue with `tscam resume`"
        ) from fault
    finally:
        partial.unlink(missing_ok=True)
    content = {"tensors": checksum, "facts": dict(facts)}
    write_json(path.with_suffix(".json"), {"checksum": _checksum(content), **content}, indent=1)
    _remove_outdated(folder)


def load_state(folder: Path) -> State:
    """Load the newest state whose checksums match.

    Newer states are set aside as `.spoilt`; states before the last two are removed.

    Raises:
        TrainingError: no state is left; gives the reason for each.
    """
    corrupt: list[str] = []
    for path in sorted((path for path in _files(folder) if path.suffix == ".json"), key=_number, reverse=True):
        try:
            tensors, facts = _read(path)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as fault:
            corrupt.append(f"{path}: {one_line(fault)}")
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".spoilt"))
            continue
        _remove_outdated(folder)  # A save that was interrupted at its end has left one too many.
        return State(tensors=tensors, facts=facts, corrupt=tuple(corrupt))
    reasons = "; ".join(corrupt) or "no state is left"
    raise TrainingError(f"{folder}: nothing to continue from ({reasons}); start again with `tscam train … --overwrite`")


def was_saved(folder: Path) -> bool:
    """True if the folder contains a state, complete or set aside."""
    return any(path.suffix in (".json", ".spoilt") for path in folder.glob("*"))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    content = json.loads(path.read_bytes())
    if _checksum({"tensors": content["tensors"], "facts": content["facts"]}) != content["checksum"]:
        raise ValueError("its checksum does not match")
    tensors = path.with_suffix(".safetensors").read_bytes()
    if hashlib.sha256(tensors).hexdigest() != content["tensors"]:
        raise ValueError(f"the checksum of {path.with_suffix('.safetensors').name} does not match")
    return safetensors.torch.load(tensors), content["facts"]


def _checksum(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _checksum_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if re.fullmatch(r"\d{6,}\.(json|safetensors)", path.name)]


def _number(path: Path) -> int:
    return int(path.stem)


def _remove_outdated(folder: Path) -> None:
    """Remove facts before tensors, so that no state is left without its tensors; a disk that refuses is ignored."""
    files = _files(folder)
    kept = sorted(_number(path) for path in files if path.suffix == ".json")[-_KEPT:]
    outdated = [path for path in files if _number(path) not in kept]
    for path in sorted(outdated, key=lambda path: path.suffix) + list(folder.glob(".*.part")):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
