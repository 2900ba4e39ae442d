"""Creates models of timm, and says in a line why one cannot be had."""

from typing import Any

import timm

from tscam.backbones.base import ModelArgs, backbone_families
from tscam.errors import ConfigError, WeightsError, one_line

_DEEPEST = 200  # blocks; the deepest model of timm has 48

# What timm takes beside an architecture: places of files, what is set here, and what would have no effect.
_NOT_ARCHITECTURE = frozenset(
    {
        "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "device", "dtype",
        "img_size", "dynamic_img_size", "in_chans", "num_classes", "drop_path_rate", "patch_drop_rate",
    }
)  # fmt: skip


def require_architecture(args: ModelArgs) -> None:
    """Refuses arguments of a backbone that do not change its architecture.

    Raises:
        ConfigError: names the first.
    """
    if foreign := sorted(_NOT_ARCHITECTURE & args.keys()):
        raise ConfigError(
            f"backbone argument {foreign[0]!r} does not change an architecture; such as embed_dim, depth, num_heads do"
        )
    depth = args.get("depth", 1)
    if not (isinstance(depth, int) and 1 <= depth <= _DEEPEST):
        raise ConfigError(f"backbone argument depth {depth!r}; expected a whole number from 1 to {_DEEPEST}")


def create_timm(name: str, *, pretrained: bool, settings: dict[str, Any]) -> Any:
    """timm's model of that name.

    Raises:
        ConfigError: it does not take these settings.
        WeightsError: its pretrained weights cannot be had.
    """
    try:
        return timm.create_model(name, pretrained=pretrained, **settings)
    except TypeError as fault:
        raise ConfigError(f"backbone {name!r} does not take these arguments: {one_line(fault)}") from fault
    except (OSError, RuntimeError, ValueError, AssertionError, LookupError, ArithmeticError, AttributeError) as fault:
        if not pretrained:
            raise ConfigError(f"backbone {name!r} cannot be built so: {one_line(fault)}") from fault
        raise WeightsError(
            f"pretrained weights of {name!r} cannot be had ({one_line(fault)}); "
            "give a file with --weights FILE, or --weights none to start from random ones"
        ) from fault


def pretrained_source(name: str) -> str:
    """The repository on the hub that a backbone's pretrained weights come from; empty where timm names none."""
    for family in backbone_families:
        if name.split(".")[0] in backbone_families[family].names():
            config = timm.models.get_pretrained_cfg(backbone_families[family].timm_name(name), allow_unregistered=True)
            return str((config and config.hf_hub_id) or "")
    return ""
