"""Model ↔ files: the model folder, here or on the hub; the authors' .pth files. Nothing in them is ever run."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from tscam.authors import infer_spec
from tscam.backbones.tensors import SUFFIXES, read_tensors, require_same_layout
from tscam.boxes import require_threshold
from tscam.card import Card, published_card
from tscam.config import MethodArgs
from tscam.errors import ConfigError, OutputError, WeightsError, one_line
from tscam.hub import PREFIX, fetch, is_on_hub, upload
from tscam.model import LocalizationModel, ModelSpec
from tscam.writing import claim_output, flush_file, replace_folder

FORMAT_VERSION = 1


def load_model(path: Path, *, method: str | None = None, method_args: MethodArgs | None = None) -> LocalizationModel:
    """The model of a model folder, a run folder (its best weights), or a checkpoint of the TS-CAM authors.

    Args:
        path: folder, file, or `hf-hub:user/name[@revision]`.
        method: reads the maps by another method than the model's own.
        method_args: options of the method; the model's own, or the published ones of another method, when not given.

    Raises:
        WeightsError: nothing there, an unknown layout, or damaged; or the hub does not give it.
        ConfigError: the method cannot read these weights.
    """
    if is_on_hub(path):
        model = _load_folder(fetch(path))
    elif path.is_dir():
        model = _load_folder(_model_folder(path))
    elif path.is_file():
        model = _load_authors_file(path)
    else:
        raise WeightsError(
            f"{path}: no such file or folder; a MODEL is a model folder, a run folder, or a .pth file, or "
            f"{PREFIX}user/name"
        )
    return model.with_method(method or model.spec.method, method_args or None)


def metrics_of(path: Path) -> dict[str, object]:
    """What a model of `load_model` is said to have reached, and how its epoch was chosen; empty where nothing is said.

    Raises:
        WeightsError: its folder has a config that cannot be read.
    """
    if not path.is_dir():
        return {}
    best = path / "weights" / "best"
    config = (best if best.is_dir() else path) / "config.json"
    try:
        return dict(json.loads(config.read_text(encoding="utf-8"))["tscam"].get("metrics", {}))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as fault:
        raise WeightsError(f"{config}: not the config of a model folder ({one_line(fault)})") from fault


def save_model(
    model: LocalizationModel, folder: Path, *, metrics: Mapping[str, object] | None = None, base_model: str = ""
) -> None:
    """Writes a model folder: `model.safetensors`, `config.json`, `README.md`. A folder there is replaced as a whole.

    Args:
        metrics: what the model reached, with its protocol; stored as it is.
        base_model: repository on the hub that its start weights came from, for the card.

    Raises:
        OutputError: it cannot be written; what was there before stays.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.tensors().items()}
        save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
        config = json.dumps(_to_config(model, metrics or {}), indent=2, ensure_ascii=False)
        (fresh / "config.json").write_text(config + "\n", encoding="utf-8")
        # safetensors makes files that their owner alone may read.
        shutil.copymode(fresh / "config.json", fresh / "model.safetensors")
        (fresh / "README.md").write_text(_card(model, metrics or {}, base_model).text(), encoding="utf-8")
        for path in fresh.iterdir():
            flush_file(path)
        replace_folder(folder, fresh)
    except (OSError, SafetensorError) as fault:
        raise OutputError(f"{folder}: the model cannot be written ({one_line(fault)}); free space there") from fault
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def push_to_hub(model: str | Path, repo: str, *, private: bool = False, license: str | None = None) -> str:
    """Publishes a model folder, or a run's best weights, on the Hugging Face hub in one commit; returns its address.

    Args:
        model: the folder. It is loaded first, so that what is published can be.
        repo: `user/name`; made where it is not there yet.
        private: only for whom its owner lets in.
        license: an identifier of the hub, such as `apache-2.0`, for the card; what the card says, when not given.

    Raises:
        WeightsError: not a model folder, or a damaged one.
        ConfigError: no such name of a repository or license.
        OutputError: the hub does not take it.
    """
    if is_on_hub(model) or not Path(model).is_dir():
        raise WeightsError(
            f"{model}: not a folder; what is published is a model folder or a run folder (`tscam convert-weights` "
            "makes one of the authors' file)"
        )
    folder = _model_folder(Path(model))
    _load_folder(folder)
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError) as fault:
        raise WeightsError(f"{folder}: its card, README.md, cannot be read ({one_line(fault)})") from fault
    files: dict[str, Path | bytes] = {name: folder / name for name in ("config.json", "model.safetensors")}
    files["README.md"] = published_card(card, name=f"{PREFIX}{repo}", license=license).encode()
    return upload(files, repo=repo, private=private)


def convert_weights(model: Path, *, out: Path, labels: Path | None = None, overwrite: bool = False) -> Path:
    """Turns a checkpoint of the TS-CAM authors into a model folder; returns its absolute path.

    Args:
        model: the authors' file.
        out: the folder, new.
        labels: a text file with the name of each class, a line a class; without it the classes are numbers from 0.

    Raises:
        WeightsError: the file is not such a checkpoint.
        ConfigError: the labels cannot be read, or there are more or fewer of them than classes.
        OutputError: the folder is in use or cannot be written.
    """
    converted = load_model(model)
    if labels is not None:
        converted.spec = replace(converted.spec, label_names=_read_labels(labels, len(converted.spec.label_names)))
    folder = claim_output(out, overwrite=overwrite, inputs=(model, labels) if labels else (model,))
    save_model(converted, folder)
    return folder


def _model_folder(path: Path) -> Path:
    """A run folder's best weights; any other folder itself."""
    best = path / "weights" / "best"
    return best if best.is_dir() else path


def _read_labels(path: Path, classes: int) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as fault:
        raise ConfigError(
            f"{path}: cannot be read as text ({one_line(fault)}); expected a class name a line"
        ) from fault
    if len(names) != classes:
        raise ConfigError(
            f"{path}: {len(names)} names, the model has {classes} classes; expected a name a line for each"
        )
    return names


def _to_config(model: LocalizationModel, metrics: Mapping[str, object]) -> dict[str, object]:
    spec, input_format = model.spec, model.input_format
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
            "head": model.method.head_kind or model.backbone.head,
            "threshold": spec.threshold,
            "metrics": dict(metrics),
        },
    }


def _load_folder(folder: Path) -> LocalizationModel:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        version = config["tscam"]["format_version"]
        if version != FORMAT_VERSION:
            raise WeightsError(f"{path}: format {version!r}, this tscam reads {FORMAT_VERSION}; update tscam")
        spec = _to_spec(config)
    except OSError as fault:
        raise WeightsError(f"{folder}: not a model folder, it has no readable config.json") from fault
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as fault:
        raise WeightsError(f"{path}: not the config of a model folder ({one_line(fault)})") from fault
    weights = folder / "model.safetensors"
    tensors = read_tensors(weights)
    try:
        require_threshold(spec.threshold)
        with torch.device("meta"):  # A config may ask for any size; memory is taken only for what the weights fit.
            require_same_layout(tensors, LocalizationModel(spec).tensors(), source=str(weights))
        model = LocalizationModel(spec)
    except ConfigError as fault:
        raise WeightsError(f"{path}: {fault}") from fault
    _require_same_view(config, model, path)
    model.load_tensors(tensors, source=str(weights))
    return model


def _require_same_view(config: dict[str, Any], model: LocalizationModel, path: Path) -> None:
    """Refuses a config that asks for what this package would not do: other pixels give other boxes."""
    ours: Any = _to_config(model, {})
    view = [("pretrained_cfg", key) for key in ("mean", "std", "interpolation", "crop_pct")]
    for section, key in [*view, ("tscam", "head")]:
        if config[section].get(key) != ours[section][key]:
            given, wanted = config[section].get(key), ours[section][key]
            raise WeightsError(f"{path}: {key} is {given!r}; with this model only {wanted!r} can be used")
    if config.get("num_classes") != ours["num_classes"]:
        raise WeightsError(f"{path}: num_classes is not the number of label_names, {ours['num_classes']}")


def _to_spec(config: dict[str, Any]) -> ModelSpec:
    _, height, width = config["pretrained_cfg"]["input_size"]
    if not isinstance(config["label_names"], list):
        raise TypeError("label_names is not a list")
    return ModelSpec(
        backbone=str(config["architecture"]),
        method=str(config["tscam"]["method"]),
        label_names=tuple(str(name) for name in config["label_names"]),
        image_hw=(int(height), int(width)),
        backbone_args=dict(config["model_args"]),
        method_args={
            option: tuple(value) if isinstance(value, list) else value
            for option, value in config["tscam"].get("method_args", {}).items()
        },
        threshold=float(config["tscam"]["threshold"]),
    )


def _load_authors_file(path: Path) -> LocalizationModel:
    if path.suffix not in SUFFIXES:
        raise WeightsError(
            f"{path}: unknown ending {path.suffix!r}; a MODEL is a folder or ends in {', '.join(SUFFIXES)}"
        )
    tensors = read_tensors(path)
    try:
        model = LocalizationModel(infer_spec(tensors, path))
    except ConfigError as fault:
        raise WeightsError(f"{path}: {fault}") from fault
    model.load_tensors(tensors, source=str(path))
    return model


def _card(model: LocalizationModel, metrics: Mapping[str, object], base_model: str) -> Card:
    spec = model.spec
    return Card(
        method=spec.method,
        backbone=spec.backbone,
        label_names=spec.label_names,
        image_hw=spec.image_hw,
        threshold=spec.threshold,
        metrics=metrics,
        base_model=base_model,
    )
