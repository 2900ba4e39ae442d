"""Loads named tensors into modules, and refuses those that do not fit."""

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor, nn

from tscam.errors import WeightsError, first_names, shown
from tscam.weights.layouts import without_heads
from tscam.weights.reading import NamedTensors, read_named_tensors

# Layers that hold the classifier; a head of as many classes takes over what fits.
_CLASSIFIERS = frozenset({"head", "head_dist", "fc", "classifier", "trans_cls_head", "conv_cls_head"})


def read_start_tensors(path: Path, *, expected: Collection[str]) -> NamedTensors:
    """Return the tensors of a backbone and its classifier from a checkpoint of any project.

    Args:
        expected: names of the backbone's tensors; where the file has half of them, what belongs to them is taken.

    Raises:
        WeightsError: as `read_named_tensors`.
    """
    return read_named_tensors(path, expected=expected, at_least=len(expected) // 2)


def load_start_tensors(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> list[str]:
    """Load all parameters and buffers of a module; return the names of layers that are left out beside a classifier.

    Left out are classifiers, projections and decoders; anything else that the module does not have is refused.

    Raises:
        WeightsError: as `require_same_layout`; nothing is loaded then.
    """
    kept, layers = without_heads(tensors, expected=module.state_dict())
    load_tensors(module, {name: tensors[name] for name in kept}, source=source)
    return [layer for layer in layers if layer not in _CLASSIFIERS]


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
            raise WeightsError(f"{source}: {shown(name)} is {tensor.dtype}, the model's is {expected[name].dtype}")
        if tensor.shape != expected[name].shape:
            raise WeightsError(
                f"{source}: {shown(name)} is {tuple(tensor.shape)}, the model's is {tuple(expected[name].shape)}; "
                "name the backbone, image size and number of classes that these weights belong to"
            )


def _some(names: list[str]) -> str:
    return first_names(names, at_most=4) or "none"
