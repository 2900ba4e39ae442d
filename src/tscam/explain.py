"""One picture, opened up: its attention layer by layer, what is coupled, its likely classes, method against method."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from tscam.attention import attention_map, rollout
from tscam.boxes import boxes_above, localization_map
from tscam.checkpoint import load_model
from tscam.config import ExplainConfig
from tscam.drawing import CLASS_COLOURS, Box, Colour, draw_panel, sheet
from tscam.errors import ConfigError, OutputError, did_you_mean, one_line
from tscam.features import Record
from tscam.geometry import View
from tscam.image import preprocess, read_image
from tscam.localization import grid_map
from tscam.methods import Method, create_method, methods_of
from tscam.model import LocalizationModel
from tscam.torch_predictor import find_device
from tscam.writing import claim_output

_LONGER_SIDE = 960  # of a panel, in pixels
_DPI = 300  # four panels side by side are as wide as a page and a half
_CLASSES = 5


class _Canvas:
    """A picture that maps are laid over, and boxes are drawn from maps at one threshold."""

    def __init__(self, picture: Image.Image, view: View, threshold: float) -> None:
        scale = _LONGER_SIDE / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        self.picture = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        self.threshold = threshold
        self._view, self._wh = view, picture.size

    def panel(
        self, caption: str, map_: Tensor | None = None, *, has_box: bool = False, colour: Colour = CLASS_COLOURS[0]
    ) -> Image.Image:
        """The picture under a raw map, with the box of it where asked."""
        if map_ is None:
            return draw_panel(self.picture, caption=caption)
        raw = map_.float().cpu().numpy()
        box = self._box(raw) if has_box else None
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
    likely classes. `methods.png`: the map and box of each method for one class. What a backbone without a class token
    does not have is left out.

    Raises:
        TscamError: picture, model, label, a method or the place are not fit; nothing is written then.
    """
    network = load_model(model).to(find_device(config.device)).eval()
    readers = _readers(network, config.methods)
    upright = read_image(picture)
    array, view = preprocess(upright, to=network.input_format)
    pixels = torch.from_numpy(array)[None].to(next(network.parameters()).device)
    label = _class_id(network, config.label)

    with torch.no_grad():
        logits, _, _ = network.localize(pixels, top_k=1)
    scores = logits[0].softmax(dim=0)
    label = int(scores.argmax()) if label is None else label
    canvas = _Canvas(upright, view, config.threshold or network.spec.threshold)
    pages = {
        "layers": _layers(network, pixels, canvas),
        "coupling": _coupling(network, pixels, label, canvas),
        "classes": _likely(network, pixels, scores, canvas),
        "methods": _compared(network, readers, pixels, label, canvas),
    }
    out = claim_output(config.out, overwrite=config.overwrite, inputs=(picture, model))
    for name, panels in pages.items():
        if panels:
            _write(out / f"{name}.png", [canvas.panel(picture.name), *panels])
    return out


def _layers(network: LocalizationModel, pixels: Tensor, canvas: _Canvas) -> list[Image.Image]:
    wanted = Record.CLASS_ATTENTION | Record.ATTENTION
    if wanted not in network.backbone.serves:
        return []
    with torch.no_grad():
        features = network.backbone(pixels, records=wanted)
    rows, matrices, grid = features.class_attention, features.attention, features.grid
    panels = [
        canvas.panel(f"attention of layer {number + 1}", attention_map(rows, grid=grid, layers=[number])[0])
        for number in range(len(rows))
    ]
    panels.append(canvas.panel(f"sum of {len(rows)} layers", attention_map(rows, grid=grid)[0]))
    panels.append(canvas.panel("rollout", rollout(matrices, grid=grid)[0]))
    return panels


def _coupling(network: LocalizationModel, pixels: Tensor, label: int, canvas: _Canvas) -> list[Image.Image]:
    readers = _readers(network, ())
    name, label_name = network.spec.method, network.spec.label_names[label]
    panels = []
    if "cam" in readers:
        panels.append(canvas.panel(f"semantic map of {label_name}", _map(network, readers["cam"], pixels, label)))
    if "attention" in readers:
        panels.append(canvas.panel("attention map", _map(network, readers["attention"], pixels, label)))
    own = _map(network, network.method, pixels, label)
    return [*panels, canvas.panel(f"{name} of {label_name}", own, has_box=True)]


def _likely(network: LocalizationModel, pixels: Tensor, scores: Tensor, canvas: _Canvas) -> list[Image.Image]:
    best = scores.topk(min(_CLASSES, len(scores)))
    return [
        canvas.panel(
            f"{network.spec.label_names[label]} {100 * score:.1f}%",
            _map(network, network.method, pixels, label),
            has_box=True,
            colour=CLASS_COLOURS[label % len(CLASS_COLOURS)],
        )
        for score, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def _compared(
    network: LocalizationModel,
    readers: Mapping[str, Method],
    pixels: Tensor,
    label: int,
    canvas: _Canvas,
) -> list[Image.Image]:
    return [
        canvas.panel(
            f"{name}, {network.spec.label_names[label]}, τ {canvas.threshold:g}",
            _map(network, method, pixels, label),
            has_box=True,
        )
        for name, method in readers.items()
    ]


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
            raise ConfigError(f"method {name!r} cannot read weights trained for {network.spec.method!r}")
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
