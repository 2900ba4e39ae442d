"""Reads named tensors from weight files without running what is in them."""

import pickle
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tscam.errors import WeightsError, one_line

# Keys under which checkpoints of TS-CAM, DeiT, DINO and timm keep their tensors.
_WRAPPERS = ("state_dict", "model", "teacher", "state_dict_ema")

# What the readers raise on damaged files, found by changing bytes of good ones.
_READING_FAULTS = (
    OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, struct.error, SafetensorError,
)  # fmt: skip

# Where the weights of a run folder and a model folder are.
_IN_FOLDERS = ("weights/best/model.safetensors", "model.safetensors")

SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".bin")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file by name, on the CPU, floating ones as float32.

    A wrapping `state_dict` or `model` is opened, and the prefix `module.` of DataParallel is dropped.

    Raises:
        WeightsError: the file is missing, of another kind, damaged, or holds anything but plain values and tensors of
            finite numbers.
    """
    if path.is_dir():
        inside = next(filter(Path.is_file, (path / place for place in _IN_FOLDERS)), None)
        way_out = f"take {inside}" if inside else f"name the file in it ({', '.join(SUFFIXES)})"
        raise WeightsError(f"{path}: a folder; {way_out}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; expected weights ({', '.join(SUFFIXES)})")
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{path}: unknown ending {path.suffix!r}; weights end in {', '.join(SUFFIXES)}")
    try:
        held = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except _READING_FAULTS as fault:
        raise WeightsError(f"{path}: cannot be read as weights ({one_line(fault)}); is the file whole?") from fault
    except pickle.UnpicklingError as fault:
        raise WeightsError(
            f"{path}: holds objects other than tensors, or is damaged; only tensors are read, nothing is run"
        ) from fault
    tensors = {name.removeprefix("module."): tensor for name, tensor in held.items() if isinstance(tensor, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors; expected a state dict, plain or under {', '.join(_WRAPPERS)}")
    spoilt = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if spoilt:
        raise WeightsError(f"{path}: values that are not finite in {_some(spoilt)}; take weights of an earlier epoch")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _unpickled(path: Path) -> dict[str, object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of foreign pickles, and then refuses them.
        held = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(held, dict) and isinstance(held.get(wrapper), dict):
            held = held[wrapper]
    if not isinstance(held, dict):
        raise ValueError(f"a {type(held).__name__} in place of named tensors")
    return {str(name): value for name, value in held.items()}


def require_same_layout(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, source: str) -> None:
    """Refuses weights whose names or shapes are not the model's.

    Raises:
        WeightsError: says which names are missing or left over, or whose shape differs.
    """
    missing, left_over = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing or left_over:
        raise WeightsError(
            f"{source}: other names than the model's: missing {_some(missing)}; left over {_some(left_over)}"
        )
    for name, tensor in given.items():
        if tensor.is_floating_point() != wanted[name].is_floating_point():
            raise WeightsError(f"{source}: {name} is {tensor.dtype}, the model's is {wanted[name].dtype}")
        if tensor.shape != wanted[name].shape:
            raise WeightsError(
                f"{source}: {name} is {tuple(tensor.shape)}, the model's is {tuple(wanted[name].shape)}; "
                "name the backbone, image size and number of classes that these weights belong to"
            )


def _some(names: list[str], *, at_most: int = 6) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
