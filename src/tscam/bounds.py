"""Bounds of settings. Recipes and the configs of models come from strangers: nothing is built before these hold."""

import math
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from tscam.errors import ConfigError, quoted, shown
from tscam.system.paths import require_path

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Pixels of a side of the view, and classes of a model.
MAX_VIEW_SIDE, MAX_CLASSES = 16_384, 1_000_000

# The largest value of each number; larger ones only overflow: memory, time or a float32.
_AT_MOST = {
    "resize_size": MAX_VIEW_SIDE, "epochs": 1_000_000, "batch_size": 1_000_000,
    "accumulate": 1_000_000, "freeze_blocks": 1000, "warmup_epochs": 1_000_000, "learning_rate_steps": 1_000_000,
    "learning_rate": 1e30, "head_learning_rate": 1e30, "weight_decay": 1_000_000, "clip_norm": 1e30, "processes": 1024,
    "workers": 1024, "save_minutes": 1e9, "samples_every": 1_000_000, "top_k": 1_000_000,
    "max_pixels": 10_000_000_000,
}  # fmt: skip

# Characters of a text, bits of an integer, items of a list.
_LONGEST_TEXT, _LONGEST_INTEGER, _MOST_ITEMS = 255, 128, 1000

# Bounds of an architecture.
_MAX_DEPTH = 200  # blocks; the deepest model of timm has 48
_MAX_INTEGER, _MAX_NUMBER, _MAX_TEXT = 65_536, 1e9, 80

# timm's arguments that are not of an architecture: paths of files, settings of ours, and settings without effect here.
_NOT_ARCHITECTURE = frozenset(
    {
        "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "device", "dtype",
        "img_size", "dynamic_img_size", "in_chans", "num_classes", "drop_path_rate", "patch_drop_rate",
    }
)  # fmt: skip


def require_short(config: "DataclassInstance") -> None:
    """Refuse texts, lists and integers that are too long for a message, and paths that no system takes.

    Raises:
        ConfigError: names the first setting of that kind.
    """
    for setting in fields(config):
        name, value = setting.name, getattr(config, setting.name)
        items = value if isinstance(value, tuple | Mapping) else (value,)
        _require(len(items) <= _MOST_ITEMS, f"{name}: {len(items)} items; expected at most {_MOST_ITEMS}")
        for item in items:
            if isinstance(item, Path) or name == "weights":
                require_path(item, name=name)
            elif isinstance(item, str):
                _require(len(item) <= _LONGEST_TEXT, f"{name}: a text of {len(item)} characters; choose a shorter one")
            elif isinstance(item, int):  # Python refuses to write it into a message
                _require(item.bit_length() <= _LONGEST_INTEGER, f"{name}: {quoted(item)}; choose a smaller one")


def require_at_most(config: "DataclassInstance") -> None:
    """Refuse numbers above their bounds.

    Raises:
        ConfigError: names the first setting of that kind.
    """
    for setting in fields(config):
        name, value = setting.name, getattr(config, setting.name)
        for item in value if isinstance(value, tuple) else (value,):
            if name in _AT_MOST and item is not None:
                _require(item <= _AT_MOST[name], f"{name} {item}; expected at most {_AT_MOST[name]:,}")


def view_hw(size: int | str, *, name: str) -> tuple[int, int]:
    """Return height and width of a view from its side, or from text such as `48x96`.

    Raises:
        ConfigError: names the setting; another text, or a side outside 1 to 16,384 pixels.
    """
    match = re.fullmatch(r"(\d{1,9})\s*[x×]\s*(\d{1,9})|(\d{1,9})", str(size).strip(), re.ASCII)
    if match is None and isinstance(size, str):
        raise ConfigError(f"{name} {quoted(size)}; expected a number such as 224, or height x width, such as 48x96")
    sides = [int(group) for group in match.groups() if group] if match else [int(size)]
    _require(min(sides) > 0, f"{name} {size}; expected more than 0")
    _require(max(sides) <= MAX_VIEW_SIDE, f"{name} {size}; expected at most {MAX_VIEW_SIDE:,}")
    return sides[0], sides[-1]


def require_architecture(args: Mapping[str, object]) -> None:
    """Refuse arguments of a backbone that do not change its architecture, and sizes that no architecture has.

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
        raise ConfigError(f"backbone argument depth {quoted(depth)}; expected an integer from 1 to {_MAX_DEPTH}")
    for name, value in args.items():
        if not _is_bounded(value):
            raise ConfigError(
                f"backbone argument {shown(name)} {quoted(value)}; expected an integer from 0 to "
                f"{_MAX_INTEGER:,}, a number, true, false, or a word"
            )


def require_options(args: Mapping[str, object]) -> None:
    """Refuse options of a method that are neither true nor false nor a short list of indices.

    Raises:
        ConfigError: names the first of them.
    """
    for name, value in args.items():
        indices = value if isinstance(value, tuple) else ()
        are_indices = len(indices) <= _MOST_ITEMS and all(
            isinstance(index, int) and _is_bounded(index) for index in indices
        )
        if not are_indices or not isinstance(value, tuple | bool):
            raise ConfigError(
                f"option {shown(name)} {quoted(list(indices) or value)}; expected true, false, or a list of indices "
                f"from 0 to {_MAX_INTEGER:,}"
            )


def _is_bounded(value: object) -> bool:
    """True for a value that an architecture can have."""
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return 0 <= value <= _MAX_INTEGER
    if isinstance(value, float):
        return math.isfinite(value) and abs(value) <= _MAX_NUMBER
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _require(is_allowed: bool, message: str) -> None:
    if not is_allowed:
        raise ConfigError(message)
