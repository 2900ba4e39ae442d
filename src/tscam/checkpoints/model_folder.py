"""The model folder: `model.safetensors`, `config.json` and a card, read and written. Nothing in them is ever run."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from tscam.backbones.tensors import require_same_layout
from tscam.checkpoints.card import model_card
from tscam.checkpoints.config_file import FORMAT_VERSION, StoredConfig, read_config, require_depth
from tscam.errors import ConfigError, OutputError, WeightsError, one_line, quoted
from tscam.model import LocalizationModel, ModelSpec
from tscam.system.writing import flush_file, replace_folder
from tscam.weights.reading import read_tensors


def read_model_folder(folder: Path) -> LocalizationModel:
    """Read the model of a model folder.

    Raises:
        WeightsError: not a model folder, of another version, or damaged.
    """
    config, path, weights = read_config(folder), folder / "config.json", folder / "model.safetensors"
    tensors = read_tensors(weights)
    require_depth(config, folder, tensors=len(tensors))
    spec = _to_spec(config)
    try:
        with torch.device("meta"):  # A config may ask for any size; memory is taken only for what the weights fit.
            require_same_layout(tensors, expected=LocalizationModel(spec).tensors(), source=str(weights))
        model = LocalizationModel(spec)
    except ConfigError as fault:
        raise WeightsError(f"{path}: {fault}") from fault
    _require_same_view(config, model, path)
    model.load_tensors(tensors, source=str(weights))
    return model


def save_model(
    model: LocalizationModel, folder: Path, *, metrics: Mapping[str, object] | None = None, base_model: str = ""
) -> None:
    """Write a model folder: `model.safetensors`, `config.json`, `README.md`. An old folder is replaced as a whole.

    Args:
        metrics: scores of the model, with their protocol and how the epoch was chosen; stored as they are.
        base_model: repository on the hub that its start weights came from, for the card.

    Raises:
        OutputError: it cannot be written; the old folder stays.
    """
    spec, fresh = model.spec, folder.with_name(f".{folder.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.tensors().items()}
        save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
        config = json.dumps(_to_config(model, metrics or {}), indent=2, ensure_ascii=False)
        (fresh / "config.json").write_text(config + "\n", encoding="utf-8")
        # safetensors writes files that only their owner can read.
        shutil.copymode(fresh / "config.json", fresh / "model.safetensors")
        card = model_card(
            method=spec.method, backbone=spec.backbone, label_names=spec.label_names, image_hw=spec.image_hw,
            threshold=spec.threshold, metrics=metrics or {}, base_model=base_model,
        )  # fmt: skip
        (fresh / "README.md").write_text(card, encoding="utf-8")
        for path in fresh.iterdir():
            flush_file(path)
        replace_folder(folder, fresh)
    except (OSError, SafetensorError) as fault:
        raise OutputError(f"{folder}: the model cannot be written ({one_line(fault)}); free space there") from fault
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _to_config(model: LocalizationModel, metrics: Mapping[str, object]) -> dict[str, object]:
    spec, input_format, pixel_range = model.spec, model.input_format, model.spec.pixel_range
    return {
        "architecture": spec.backbone,
        "num_classes": len(spec.label_names),
        "num_features": model.backbone.num_features,
        "global_pool": "",
        "label_names": list(spec.label_names),
        "model_args": dict(spec.backbone_args),
        "pretrained_cfg": {
            "input_size": [3, *spec.image_hw],
            "interpolation": "bilinear",
            "mean": list(input_format.mean),
            "std": list(input_format.std),
            "crop_pct": 1.0,
        },
        "tscam": {
            "format_version": FORMAT_VERSION,
            "method": spec.method,
            "method_args": dict(spec.method_args),
            "head": model.method.head_name(model.backbone),
            "threshold": spec.threshold,
            **({} if pixel_range is None else {"pixel_range": pixel_range.to_json()}),
            "metrics": dict(metrics),
        },
    }


def _require_same_view(config: StoredConfig, model: LocalizationModel, path: Path) -> None:
    """Refuse a config that asks for a view or a head that this package does not make: other pixels give other boxes."""
    expected: Any = _to_config(model, {})
    served = {**expected["pretrained_cfg"], "head": expected["tscam"]["head"]}
    for key, stated in config.view.items():
        if stated != served[key]:
            raise WeightsError(f"{path}: {key} is {quoted(stated)}; with this model only {served[key]!r} can be used")


def _to_spec(config: StoredConfig) -> ModelSpec:
    return ModelSpec(
        backbone=config.backbone,
        method=config.method,
        label_names=config.label_names,
        image_hw=config.image_hw,
        backbone_args=config.backbone_args,
        method_args=config.method_args,
        threshold=config.threshold,
        pixel_range=config.pixel_range,
    )
