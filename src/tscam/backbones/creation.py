"""Creates models of timm; its errors become one line each."""

from typing import Any

import timm

from tscam.backbones.base import backbone_families
from tscam.errors import ConfigError, WeightsError, one_line


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
