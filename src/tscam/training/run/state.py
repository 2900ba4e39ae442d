"""Tensors and facts that outlive any death of their process: two files a state, checksummed, the one before kept.

`state/000012.safetensors` holds the tensors. `state/000012.json` holds the facts and the checksums of both; it is
written last, so a state is there as a whole or not at all. Knows nothing of training.
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
from tscam.writing import flush_file, flush_folder, write_json

_KEPT = 2  # states: the newest, and the one before should it be spoilt


@dataclass(frozen=True, kw_only=True)
class State:
    """A state as it was saved.

    Attributes:
        tensors: on the CPU.
        facts: plain values, as JSON knows them.
        spoilt: newer states that were not taken, each with the reason.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    spoilt: tuple[str, ...]


def save_state(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Adds a state, then removes all but the last two.

    Raises:
        OutputError: the disk refuses; the states before are as they were.
    """
    _remove_outdated(folder)  # what a save that was cut short left might take the space that is needed
    number = max((_number(path) for path in _files(folder)), default=0) + 1
    path = folder / f"{number:06d}.safetensors"
    # In the same folder, and so on the same disk, whatever TMPDIR is.
    beside = folder / f".{secrets.token_hex(8)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        safetensors.torch.save_file(whole, beside)
        # safetensors makes files that their owner alone may read.
        beside.chmod(folder.stat().st_mode & 0o666)
        flush_file(beside)
        checksum = _checksum_of_file(beside)
        beside.rename(path)
        flush_folder(folder)
    except (OSError, SafetensorError) as fault:
        raise OutputError(
            f"{folder}: the state of the run cannot be written ({one_line(fault)}); free space there, "
            "then go on with `tscam resume`"
        ) from fault
    finally:
        beside.unlink(missing_ok=True)
    content = {"tensors": checksum, "facts": dict(facts)}
    write_json(path.with_suffix(".json"), {"checksum": _checksum(content), **content}, indent=1)
    _remove_outdated(folder)


def load_state(folder: Path) -> State:
    """The newest state whose checksums hold; newer ones are set aside as `.spoilt`, those before the last two removed.

    Raises:
        TrainingError: there is none; says why of each.
    """
    spoilt: list[str] = []
    for path in sorted((path for path in _files(folder) if path.suffix == ".json"), key=_number, reverse=True):
        try:
            tensors, facts = _read(path)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as fault:
            spoilt.append(f"{path}: {one_line(fault)}")
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".spoilt"))
            continue
        _remove_outdated(folder)  # A save that was cut short at its end has left one too many.
        return State(tensors=tensors, facts=facts, spoilt=tuple(spoilt))
    reasons = "; ".join(spoilt) or "no state is left"
    raise TrainingError(f"{folder}: nothing to go on from ({reasons}); start again with `tscam train … --overwrite`")


def was_saved(folder: Path) -> bool:
    """Has a state ever been, whole or spoilt?"""
    return any(path.suffix in (".json", ".spoilt") for path in folder.glob("*"))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    held = json.loads(path.read_bytes())
    if _checksum({"tensors": held["tensors"], "facts": held["facts"]}) != held["checksum"]:
        raise ValueError("its checksum does not hold")
    content = path.with_suffix(".safetensors").read_bytes()
    if hashlib.sha256(content).hexdigest() != held["tensors"]:
        raise ValueError(f"the checksum of {path.with_suffix('.safetensors').name} does not hold")
    return safetensors.torch.load(content), held["facts"]


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
    """The facts first, so that no state is left without its tensors; nothing is lost where the disk refuses."""
    files = _files(folder)
    kept = sorted(_number(path) for path in files if path.suffix == ".json")[-_KEPT:]
    outdated = [path for path in files if _number(path) not in kept]
    for path in sorted(outdated, key=lambda path: path.suffix) + list(folder.glob(".*.part")):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
