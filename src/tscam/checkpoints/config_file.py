"""The config of a model folder, `config.json`: read within bounds, before anything is built from it. No PyTorch."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

from tscam.bounds import MAX_VIEW_SIDE, require_architecture, require_options
from tscam.boxes import require_threshold
from tscam.checkpoints.authors_layout import read_authors_layout
from tscam.checkpoints.source import ModelSource
from tscam.decoding import PixelRange
from tscam.errors import ConfigError, WeightsError, one_line, quoted
from tscam.registry import MethodArgs, ModelArgs
from tscam.system.documents import read_json
from tscam.weights.index import read_index

FORMAT_VERSION = 1

# Arguments of an architecture that are axes of its tensors.
_AXES = ("embed_dim", "patch_size", "width")

# Characters of a name of a class, and of names of backbones and methods.
_LONGEST_LABEL, _LONGEST_NAME = 500, 255


@dataclass(frozen=True, kw_only=True)
class StoredConfig:
    """Contents of a config.

    Attributes:
        backbone, backbone_args, method, method_args, label_names, image_hw, threshold, pixel_range: as in
            `ModelSpec`.
        view: mean, std, interpolation and crop_pct of the view, and head of the method, as they are stated.
        num_classes: as it is stated.
        metrics: scores of the model, with how they were measured and how the epoch was chosen.
    """

    backbone: str
    backbone_args: ModelArgs
    method: str
    method_args: MethodArgs
    label_names: tuple[str, ...]
    image_hw: tuple[int, int]
    threshold: float
    pixel_range: PixelRange | None
    view: Mapping[str, object]
    num_classes: object
    metrics: Mapping[str, object]


def read_config(folder: Path) -> StoredConfig:
    """Read the config of a model folder.

    Raises:
        WeightsError: not a model folder, of another version, damaged, or with sizes that no model has.
    """
    path = folder / "config.json"
    try:
        config: Any = read_json(path)
        version = config["tscam"]["format_version"]
        if version != FORMAT_VERSION:
            raise WeightsError(f"{path}: format {quoted(version)}, this tscam reads {FORMAT_VERSION}; update tscam")
        stored = _stored(config)
        _require_bounds(stored)
    except OSError as fault:
        raise WeightsError(f"{folder}: not a model folder, it has no readable config.json") from fault
    except ConfigError as fault:
        raise WeightsError(f"{path}: {fault}") from fault
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as fault:
        raise WeightsError(f"{path}: not the config of a model folder ({one_line(fault)})") from fault
    return stored


def require_bounded(source: ModelSource) -> None:
    """Refuse the files of a model that are damaged or ask for more than they contain, before PyTorch is imported.

    Raises:
        WeightsError: as `read_config` and `read_index`.
    """
    if not source.weights.is_dir():
        read_authors_layout(source.weights)
        return
    config, index = read_config(source.weights), read_index(source.weights / "model.safetensors")
    require_depth(config, source.weights, tensors=len(index.tensors))
    axes = {size for tensor in index.tensors.values() for size in tensor.shape}
    for name in _AXES:
        size = config.backbone_args.get(name, 0)
        if size and size not in axes:
            raise WeightsError(
                f"{source.weights / 'config.json'}: backbone argument {name} {quoted(size)}; no tensor of the weights "
                "has such an axis"
            )


def require_depth(config: StoredConfig, folder: Path, *, tensors: int) -> None:
    """Refuse a config of more blocks than the weights are tensors: blocks are built one by one.

    Raises:
        WeightsError: names the config.
    """
    depth = config.backbone_args.get("depth", 0)
    if isinstance(depth, int) and depth > tensors:
        raise WeightsError(
            f"{folder / 'config.json'}: backbone argument depth {depth}; the weights are {tensors} tensors"
        )


def _stored(config: Any) -> StoredConfig:
    _, height, width = config["pretrained_cfg"]["input_size"]
    if not isinstance(config["label_names"], list):
        raise TypeError("label_names is not a list")
    view, section = config["pretrained_cfg"], config["tscam"]
    method_args = {
        option: tuple(value) if isinstance(value, list) else value
        for option, value in section.get("method_args", {}).items()
    }
    require_architecture(dict(config["model_args"]))
    require_options(method_args)
    return StoredConfig(
        backbone=str(config["architecture"]),
        backbone_args=dict(config["model_args"]),
        method=str(section["method"]),
        method_args=method_args,
        label_names=tuple(str(name) for name in config["label_names"]),
        image_hw=(int(height), int(width)),
        threshold=float(section["threshold"]),
        pixel_range=PixelRange.from_json(section.get("pixel_range")),
        view={
            "mean": view.get("mean"), "std": view.get("std"), "interpolation": view.get("interpolation"),
            "crop_pct": view.get("crop_pct"), "head": section.get("head"),
        },
        num_classes=config.get("num_classes"),
        metrics=dict(section.get("metrics", {})),
    )  # fmt: skip


def _require_bounds(config: StoredConfig) -> None:
    """Refuse sizes and names that no model has.

    Raises:
        ConfigError: names the first of them.
    """
    if not all(1 <= side <= MAX_VIEW_SIDE for side in config.image_hw):
        raise ConfigError(
            f"input_size {quoted([3, *config.image_hw])}; expected 3 channels, height and width of 1 to "
            f"{MAX_VIEW_SIDE:,} pixels"
        )
    for noun, name in (("backbone", config.backbone), ("method", config.method)):
        if len(name) > _LONGEST_NAME or not re.fullmatch(r"[\w.-]+", name):
            raise ConfigError(f"no {noun} named {quoted(name)}; `tscam list {noun}s` lists them")
    if not (entry_points(group="tscam.backbone_familys") or config.backbone.partition(".")[0] in _backbones()):
        raise ConfigError(f"no backbone named {quoted(config.backbone)}; `tscam list backbones` lists them")
    require_threshold(config.threshold)
    if config.num_classes != len(config.label_names):
        raise ConfigError(f"num_classes is not the number of label_names, {len(config.label_names)}")
    for label in config.label_names:
        if len(label) > _LONGEST_LABEL:
            raise ConfigError(f"class {quoted(label)}; expected at most {_LONGEST_LABEL} characters")


@cache
def _backbones() -> frozenset[str]:
    """Names of all backbones, from the table that lists them without building one."""
    table = json.loads((files("tscam") / "backbones" / "served.json").read_text(encoding="utf-8"))
    return frozenset(name for names in table.values() for name in names)
