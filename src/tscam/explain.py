"""One picture, opened up: its attention layer by layer, what is coupled, its likely classes, method against method."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from tscam.attention import attention_map, rollout
from tscam.boxes import boxes_above, localization_map
from tscam.checkpoint import load_model
from tscam.config import ExplainConfig
from tscam.drawing import CLASS_COLOURS, Box, draw_panel, percent, sheet
from tscam.errors import ConfigError, OutputError, WeightsError, did_you_mean, one_line
from tscam.features import Features, Record
from tscam.geometry import View
from tscam.image import preprocess, read_image
from tscam.localization import grid_map
from tscam.methods import Method, create_method, methods_of
from tscam.methods.attention import Attention
from tscam.model import LocalizationModel
from tscam.torch_predictor import find_device
from tscam.writing import claim_output

_LONGER_SIDE = 960  # of a panel, in pixels
_DPI = 300  # four panels side by side are as wide as a page and a half
_CLASSES = 5
_ATTENTION = Record.CLASS_ATTENTION | Record.ATTENTION


class _Canvas:
    """A picture that maps are laid over, and boxes are drawn from maps at one threshold."""

    def __init__(self, picture: Image.Image, view: View, threshold: float) -> None:
        scale = _LONGER_SIDE / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        self.picture = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        self.threshold = threshold
        self._view, self._wh = view, picture.size

    def panel(self, caption: str, map_: Tensor | None = None, *, box_of: int | None = None) -> Image.Image:
        """The picture under a raw map, with its box where asked, in the colour of the class of that number."""
        if map_ is None:
            return draw_panel(self.picture, caption=caption)
        raw = map_.float().cpu().numpy()
        if box_of is None:
            return draw_panel(self.picture, map=grid_map(raw), caption=caption)
        box = self._box(raw)
        colour = CLASS_COLOURS[box_of % len(CLASS_COLOURS)]
        caption = caption if box else f"{caption}, no box"
        return draw_panel(self.picture, map=grid_map(raw), box=box, caption=caption, colour=colour)

    def _box(self, raw: Float[np.ndarray, "h w"]) -> Box | None:
        found = boxes_above(localization_map(raw, size_wh=self._view.view_wh), threshold=self.threshold)
        if not len(found):
            return None
        x, y = self.picture.width / self._wh[0], self.picture.height / self._wh[1]
        x0, y0, x1, y1 = self._view.to_picture(found[:1])[0].tolist()
        return x0 * x, y0 * y, x1 * x, y1 * y


def explain(picture: Path, *, model: Path, config: ExplainConfig) -> Path:
    """Draws what a model sees in a picture; returns the absolute path of the output folder.

    `layers.png`: the attention map of each layer, their sum, and the rollout. `coupling.png`: semantic map, attention
    map, and the map of the model's own method with its box. `classes.png`: the map and box of each of the five most
    likely classes. `methods.png`: the map and box of each method for one class. Every map is scaled by itself, from
    its lowest value to its highest. What a backbone without a class token does not have is left out.

    Raises:
        TscamError: picture, model, label, a method or the place are not fit; nothing is written then.
    """
    network = load_model(model).to(find_device(config.device)).eval()
    readers = _readers(network, config.methods)
    label = _class_id(network, config.label)
    upright = read_image(picture)
    array, view = preprocess(upright, to=network.input_format)
    pixels = torch.from_numpy(array)[None].to(next(network.parameters()).device)
    with torch.no_grad():
        features = network.backbone(pixels, records=_ATTENTION & network.backbone.serves)
        logits, likely, maps = network.localize(pixels, top_k=_CLASSES)
    if not (logits.isfinite().all() and maps.isfinite().all()):
        raise WeightsError(f"{model}: scores or maps that are not finite; its weights are spoilt, take earlier ones")
    label = int(likely[0, 0]) if label is None else label

    canvas = _Canvas(upright, view, config.threshold or network.spec.threshold)
    at, name = f"threshold {canvas.threshold:g}", network.spec.label_names[label]
    pages = {
        "layers": ("attention of the class token", _layers(features, canvas)),
        "coupling": (f"{name}, {at}", _coupling(network, features, pixels, label, canvas)),
        "classes": (f"likely classes, {at}", _likely(network, logits[0].detach(), likely[0], maps[0], canvas)),
        "methods": (f"{name}, {at}", _compared(network, readers, pixels, label, canvas)),
    }
    out = claim_output(config.out, overwrite=config.overwrite, inputs=(picture, model))
    for page, (subject, panels) in pages.items():
        if panels:
            _write(out / f"{page}.png", [canvas.panel(f"{picture.name}\n{subject}"), *panels])
    return out


def _layers(features: Features, canvas: _Canvas) -> list[Image.Image]:
    rows, matrices, grid = features.class_attention, features.attention, features.grid
    if rows is None or matrices is None:
        return []
    panels = [
        canvas.panel(f"layer {number + 1}", attention_map(rows, grid=grid, layers=[number])[0])
        for number in range(len(rows))
    ]
    panels.append(canvas.panel(f"sum of {len(rows)} layers", attention_map(rows, grid=grid)[0]))
    panels.append(canvas.panel("rollout", rollout(matrices, grid=grid)[0]))
    return panels


def _coupling(
    network: LocalizationModel, features: Features, pixels: Tensor, label: int, canvas: _Canvas
) -> list[Image.Image]:
    method = network.method
    with torch.no_grad():
        semantic = method.head.maps(features.patch_tokens, torch.tensor([[label]], device=pixels.device))[0, 0]
    panels = [canvas.panel("semantic map", semantic)]
    if isinstance(method, Attention):
        panels.append(canvas.panel("attention map", method.attention_map(features)[0]))
    own = _map(network, method, pixels, label)
    return [*panels, canvas.panel(network.spec.method, own, box_of=label)]


def _likely(
    network: LocalizationModel,
    logits: Float[Tensor, " c"],
    likely: Int[Tensor, " k"],
    maps: Float[Tensor, "k h w"],
    canvas: _Canvas,
) -> list[Image.Image]:
    names, scores = network.spec.label_names, logits.softmax(dim=0)
    return [
        canvas.panel(f"{names[label]} {percent(float(scores[label]))}", map_, box_of=label)
        for label, map_ in zip(likely.tolist(), maps, strict=True)
    ]


def _compared(
    network: LocalizationModel, readers: Mapping[str, Method], pixels: Tensor, label: int, canvas: _Canvas
) -> list[Image.Image]:
    return [canvas.panel(name, _map(network, reader, pixels, label), box_of=label) for name, reader in readers.items()]


def _map(network: LocalizationModel, method: Method, pixels: Tensor, label: int) -> Float[Tensor, "h w"]:
    with torch.set_grad_enabled(Record.GRADIENT in method.records):
        features = network.backbone(pixels, records=method.records | method.training_records)
        maps = method.maps(features, torch.tensor([[label]], device=pixels.device))
    return maps[0, 0].detach()


def _readers(network: LocalizationModel, names: tuple[str, ...]) -> dict[str, Method]:
    """Methods by name, on the network's own weights; those that were asked for, else all that can read these."""
    readers = {}
    for name in names or methods_of(network.backbone):
        if name == network.spec.method:
            readers[name] = network.method
            continue
        method = create_method(name, network.backbone, len(network.spec.label_names), {})
        own, given = method.state_dict(), network.method.state_dict()
        if {key: tensor.shape for key, tensor in own.items()} == {key: tensor.shape for key, tensor in given.items()}:
            method.load_state_dict(given)
            readers[name] = method.to(next(network.parameters()).device).eval()
        elif names:
            works = ", ".join(_readers(network, ()))
            raise ConfigError(
                f"method {name!r} cannot read weights trained for {network.spec.method!r}; with them work {works}"
            )
    return readers


def _class_id(network: LocalizationModel, label: str | None) -> int | None:
    names = network.spec.label_names
    if label is None or label in names:
        return None if label is None else names.index(label)
    hint = did_you_mean(label, names) or ";"
    raise ConfigError(f"no class named {label!r}{hint} the model has {len(names)}, such as {names[0]!r}")


def _write(path: Path, panels: list[Image.Image]) -> None:
    columns = len(panels) if len(panels) <= 4 else 3 if len(panels) <= 6 else 4 if len(panels) <= 8 else 5
    try:
        sheet(panels, columns=columns).save(path, dpi=(_DPI, _DPI))
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written ({one_line(fault)}); free space there") from fault
