"""Creates models of timm; its errors become one line each."""

from typing import Any

import timm

from tscam.backbones.base import ModelArgs, backbone_families
from tscam.errors import ConfigError, WeightsError, one_line

_MAX_DEPTH = 200  # blocks; the deepest model of timm has 48

# timm's arguments that are not of an architecture: paths of files, settings of ours, and settings without effect here.
_NOT_ARCHITECTURE = frozenset(
    {
        "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "device", "dtype",
        "img_size", "dynamic_img_size", "in_chans", "num_classes", "drop_path_rate", "patch_drop_rate",
    }
)  # fmt: skip


def require_architecture(args: ModelArgs) -> None:
    """Refuse arguments of a backbone that do not change its architecture.

    Raises:
        ConfigError: names the first of them.
    """
    if others := sorted(_NOT_ARCHITECTURE & args.keys()):
        raise ConfigError(
            f"backbone argument {others[0]!r} does not change an architecture; "
            "use one such as embed_dim, depth, num_heads"
        )
    depth = args.get("depth", 1)
    if not (isinstance(depth, int) and 1 <= depth <= _MAX_DEPTH):
        raise ConfigError(f"backbone argument depth {depth!r}; expected an integer from 1 to {_MAX_DEPTH}")


def create_timm(name: str, *, pretrained: bool, settings: dict[str, Any]) -> Any:
    """Create timm's model of that name.

    Raises:
        ConfigError: it does not take these settings.
        WeightsError: its pretrained weights are not available.
    """
    try:
        return timm.create_model(name, pretrained=pretrained, **settings)
    except TypeError as fault:
        raise ConfigError(f"backbone {name!r} does not take these arguments: {one_line(fault)}") from fault
    except (OSError, RuntimeError, ValueError, AssertionError, LookupError, ArithmeticError, AttributeError) as fault:
        if not pretrained:
            raise ConfigError(f"backbone {name!r} cannot be built with these arguments: {one_line(fault)}") from fault
        raise WeightsError(
            f"pretrained weights of {name!r} are not available ({one_line(fault)}); "
            "pass a file with --weights FILE, or --weights none for random weights"
        ) from fault


def pretrained_source(name: str) -> str:
    """Return the hub repository of a backbone's pretrained weights, or an empty string if timm names none."""
    for family in backbone_families:
        if name.split(".")[0] in backbone_families[family].names():
            config = timm.models.get_pretrained_cfg(backbone_families[family].timm_name(name), allow_unregistered=True)
            return str((config and config.hf_hub_id) or "")
    return ""
