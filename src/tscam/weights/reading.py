"""Reads named tensors of weight files without running their code."""

import pickle
import struct
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tscam.errors import WeightsError, first_names, one_line
from tscam.weights.index import read_index
from tscam.weights.layouts import Layout, find_layout, tensor_paths
from tscam.weights.pickles import DROPPED

# Errors of the readers on corrupt files, collected by changing bytes of good ones.
_READING_FAULTS = (
    OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, struct.error, SafetensorError, pickle.UnpicklingError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NamedTensors:
    """Tensors of a network from a file, on the CPU, floating-point ones as float32.

    Attributes:
        tensors: by name.
        prefix: what stands before the names in the file; empty for none.
        left_out: what else the file contains, by the beginning of its name.
    """

    tensors: dict[str, Tensor]
    prefix: str
    left_out: tuple[str, ...]

    def note(self, source: str, *, heads: Collection[str] = ()) -> str:
        """Return one line that says which part of a file is used; empty if all of it is.

        Args:
            source: the file.
            heads: layers among the tensors that are not used either.
        """
        used = f"{source}: weights of {self.prefix.removesuffix('.')!r}" if self.prefix else f"{source}: weights"
        left_out = [*heads, *self.left_out]
        if not left_out:
            return used if self.prefix else ""
        return f"{used}; left out: {first_names(left_out, at_most=6)}"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weight file by name.

    A wrapping `state_dict` or `model` is opened, and the prefix `module.` of DataParallel is dropped.

    Raises:
        WeightsError: as `read_named_tensors`.
    """
    return read_named_tensors(path, expected=(), at_least=0).tensors


def read_named_tensors(path: Path, *, expected: Collection[str], at_least: int) -> NamedTensors:
    """Return those tensors of a weight file that belong to a network.

    Args:
        expected: names of tensors of the network; the mapping and the prefix that have most of them are taken.
        at_least: so many of them must be there; otherwise the file's only, or known, mapping is taken as it is.

    Raises:
        WeightsError: the file is missing, of another format, corrupt, asks for more memory than it has numbers, or
            contains anything but plain values and tensors of finite numbers.
    """
    index = read_index(path)
    layout = find_layout(index.tensors, expected=expected, at_least=at_least)
    if not layout.paths:
        raise WeightsError(f"{path}: contains no tensors; expected a state dict, plain or under state_dict, model, …")
    stored = _read(path, layout)
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise WeightsError(
            f"{path}: NaN or infinite values in {first_names(bad, at_most=6)}; use weights of an earlier epoch"
        )
    return NamedTensors(
        tensors=tensors,
        prefix=layout.prefix,
        left_out=(*layout.left_out, *(f"objects of {library}" for library in index.dropped)),
    )


def _read(path: Path, layout: Layout) -> dict[str, Tensor]:
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
        stored = tensor_paths(content, lambda value: isinstance(value, Tensor))
        tensors: dict[str, Tensor] = {}
        for name, tensor_path in layout.paths.items():
            tensor = stored[tensor_path]
            assert isinstance(tensor, Tensor)
            if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
                raise ValueError(f"a {tensor.layout} tensor on {tensor.device}; only dense ones of the CPU are read")
            tensors[name] = tensor.detach()
    except _READING_FAULTS as fault:
        raise WeightsError(
            f"{path}: cannot be read as weights ({one_line(fault)}); the file may be incomplete"
        ) from fault
    return tensors


def _unpickled(path: Path) -> Mapping[str, object]:
    """Return the content of a file of `torch.save` whose index has been read; nothing else than tensors is made."""
    with warnings.catch_warnings(), torch.serialization.safe_globals([(_Dropped, name) for name in DROPPED]):
        warnings.simplefilter("ignore")  # PyTorch warns of pickles of other programs, and then refuses them.
        content = torch.load(path, map_location="cpu", weights_only=True)
    assert isinstance(content, dict)
    return content


class _Dropped:
    """Stands for an object of another library; it keeps nothing."""

    def __new__(cls, *_: object) -> "_Dropped":
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass
