"""Every backbone is built and run, tiny if possible, and works as `tscam list backbones` states.

After an update of timm, `uv run python tests/contracts/test_served.py` rewrites the table.
"""

import json
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import tscam.backbones.served
from tscam.backbones import backbone_families, create_backbone, list_backbones
from tscam.backbones.features import Record, Request
from tscam.backbones.served import Served, served
from tscam.errors import ConfigError
from tscam.methods import methods
from tscam.model import create_model

_PARTS = 4  # tests among which the names are divided, for four cores
_TINY: dict[str, Any] = {"embed_dim": 24, "depth": 1, "num_heads": 2}

# Functions that keep the shape: random weights, norms, activations.
_SHAPE_KEEPING = {
    Tensor.normal_, Tensor.uniform_, Tensor.erfinv_, Tensor.clamp_, Tensor.mul_, Tensor.add_, Tensor.fill_,
    Tensor.zero_, Tensor.sigmoid, F.batch_norm, F.group_norm, F.layer_norm, F.relu, F.silu, F.gelu, F.hardswish,
    F.hardsigmoid, F.hardtanh,
}  # fmt: skip


class ShapesOnly(TorchFunctionMode):
    """Skip functions that keep the shape; on the meta device they take most of the time."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0] if func in _SHAPE_KEEPING else func(*args, **(kwargs or {}))


def family_of(name: str) -> str:
    return next(family for family in backbone_families if name in backbone_families[family].names())


def run_backbone(name: str) -> Served:
    """Build a backbone and run it: Vision Transformers tiny, others on the meta device, which computes only shapes."""
    is_tiny = family_of(name) in ("vit", "eva", "beit")
    args = _TINY | ({"num_kv_heads": 1} if "sapiens2" in name else {}) if is_tiny else {}
    side = _view(name) if is_tiny else 224
    with torch.no_grad(), nullcontext() if is_tiny else ShapesOnly(), torch.device("cpu" if is_tiny else "meta"):
        try:
            backbone = create_backbone(name, image_hw=(side, side), args=args).eval()
        except ConfigError as refusal:
            if "parts, which are not supported; use another" not in str(refusal):
                raise
            return Served.NOT
        records = backbone.supports & ~Record.GRADIENT
        features = backbone(torch.zeros(1, 3, side, side), Request(records=records))
    rows, columns = features.grid
    assert features.patch_tokens.shape == (1, rows, columns, backbone.num_features)
    assert min(rows, columns) > 1
    if Record.CLASS_ATTENTION not in records:
        return Served.WITHOUT_CLASS_TOKEN
    assert features.class_attention is not None
    assert features.class_attention.shape[-1] == features.prefix_tokens.shape[1] + rows * columns
    assert features.prefix_tokens.shape[1] > 0
    return Served.WITH_CLASS_TOKEN


def _view(name: str) -> int:
    """Return the side of a view of two by two patches, in pixels."""
    patch = re.search(r"patch(\d+)", name)
    return 2 * int(patch[1]) if patch else 64


@pytest.mark.parametrize("part", range(_PARTS))
def test_each_backbone_works_as_listed(part: int) -> None:
    names = list_backbones()[part::_PARTS]
    assert len(names) > 10
    assert {name: run_backbone(name) for name in names} == {name: served()[name] for name in names}


def test_the_table_has_each_backbone_once_and_no_other() -> None:
    assert sorted(served()) == list(list_backbones())


def test_methods_of_attention_are_refused_without_a_class_token_and_all_others_work() -> None:
    name = next(name for name, status in served().items() if status is Served.WITHOUT_CLASS_TOKEN and "siglip" in name)
    working = ["cam", "grad-cam"]
    for method in working:
        create_model(name, label_names=2, method=method, image_size=64, backbone_args=_TINY)
    for method in set(methods) - set(working):
        refusal = (
            f"method {method!r} reads the class token's attention, and this backbone has no class token; "
            "use one of cam, grad-cam"
        )
        with pytest.raises(ConfigError, match=refusal):
            create_model(name, label_names=2, method=method, image_size=64, backbone_args=_TINY)


def _write_table() -> None:
    statuses = {name: run_backbone(name) for name in list_backbones()}
    table = {status: sorted(name for name in statuses if statuses[name] is status) for status in Served}
    path = Path(tscam.backbones.served.__file__).with_suffix(".json")
    path.write_text(json.dumps(table, indent=0) + "\n")
    sys.stdout.write(f"{path}: {', '.join(f'{len(names)} {status}' for status, names in table.items())}\n")


if __name__ == "__main__":
    _write_table()
