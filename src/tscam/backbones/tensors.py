"""Reads named tensors from weight files without running their code, and loads them into modules."""

import pickle
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tscam.errors import WeightsError, first_names, one_line

# Keys under which checkpoints of TS-CAM, DeiT, DINO and timm keep their tensors.
_WRAPPERS = ("state_dict", "model", "teacher", "state_dict_ema")

# Errors of the readers on corrupt files, collected by changing bytes of good ones.
_READING_FAULTS = (
    OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, struct.error, SafetensorError,
)  # fmt: skip

# Weights in a run folder and in a model folder.
_PATHS_IN_FOLDERS = ("weights/best/model.safetensors", "model.safetensors")

SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".bin")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weight file by name, on the CPU, floating-point ones as float32.

    A wrapping `state_dict` or `model` is opened, and the prefix `module.` of DataParallel is dropped.

    Raises:
        WeightsError: the file is missing, of another format, corrupt, or contains anything but plain values and
            tensors of finite numbers.
    """
    if path.is_dir():
        weights = next(filter(Path.is_file, (path / name for name in _PATHS_IN_FOLDERS)), None)
        advice = f"use {weights}" if weights else f"name the file in it ({', '.join(SUFFIXES)})"
        raise WeightsError(f"{path}: a folder; {advice}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; expected weights ({', '.join(SUFFIXES)})")
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{path}: unknown ending {path.suffix!r}; weights end in {', '.join(SUFFIXES)}")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except _READING_FAULTS as fault:
        raise WeightsError(
            f"{path}: cannot be read as weights ({one_line(fault)}); the file may be incomplete"
        ) from fault
    except pickle.UnpicklingError as fault:
        raise WeightsError(
            f"{path}: contains objects other than tensors, or is corrupt; only tensors are read, no code is run"
        ) from fault
    tensors = {name.removeprefix("module."): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: contains no tensors; expected a state dict, plain or under {', '.join(_WRAPPERS)}")
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise WeightsError(f"{path}: NaN or infinite values in {_some(bad)}; use weights of an earlier epoch")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _unpickled(path: Path) -> dict[str, object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of pickles of other programs, and then refuses them.
        content = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} in place of named tensors")
    return {str(name): value for name, value in content.items()}


def without_prefixes(tensors: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the tensors whose names start with none of these prefixes."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Load all parameters and buffers of a module.

    Raises:
        WeightsError: as `require_same_layout`; nothing is loaded then.
    """
    require_same_layout(tensors, expected=module.state_dict(), source=source)
    module.load_state_dict(tensors)


def require_same_layout(tensors: Mapping[str, Tensor], *, expected: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights whose names, shapes or kind of numbers differ from the model's.

    Raises:
        WeightsError: names `source`, and the missing, unexpected or misshapen tensors.
    """
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        raise WeightsError(
            f"{source}: tensor names differ from the model's: missing {_some(missing)}; unexpected {_some(unexpected)}"
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != expected[name].is_floating_point():
            raise WeightsError(f"{source}: {name} is {tensor.dtype}, the model's is {expected[name].dtype}")
        if tensor.shape != expected[name].shape:
            raise WeightsError(
                f"{source}: {name} is {tuple(tensor.shape)}, the model's is {tuple(expected[name].shape)}; "
                "name the backbone, image size and number of classes that these weights belong to"
            )


def _some(names: list[str]) -> str:
    return first_names(names, at_most=6) or "none"
