"""One picture, opened up: its attention layer by layer, what is coupled, its likely classes, method against method."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from tscam.backbones.features import Features, Record, Request
from tscam.boxes import find_boxes, require_threshold
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.source import ModelSource, resolve
from tscam.config import ExplainConfig
from tscam.drawing import CLASS_COLOURS, draw_panel, percent, sheet
from tscam.errors import ConfigError, OutputError, WeightsError, did_you_mean, one_line
from tscam.geometry import Box, View, scale_box, scale_boxes, to_box
from tscam.image import preprocess, read_image
from tscam.localization import grid_map
from tscam.methods import Method, create_method, methods_of
from tscam.methods.attention import Attention
from tscam.methods.attention_maps import attention_map, rollout
from tscam.model import LocalizationModel
from tscam.system.processes import find_device
from tscam.writing import claim_output

PAGES = ("layers", "coupling", "classes", "methods")

_PRINTED_SIDE = 960  # of a panel in a file, in pixels
_DPI = 300  # four panels side by side are as wide as a page and a half
_CLASSES = 5
_ATTENTION = Record.CLASS_ATTENTION | Record.ATTENTION


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenMap:
    """One map of a picture.

    Attributes:
        caption: what it is.
        map: raw, on the patch grid.
        class_id: the class that it is of; None for attention, which is the same for every class.
        box: `(x0, y0, x1, y1)` in pixels of the picture, half-open; None for what is but a part of a method's map, and
            for a flat map.
    """

    caption: str
    map: Float[np.ndarray, "h w"]
    class_id: int | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """What a model sees in one picture, on four pages of maps.

    Attributes:
        name: of the picture's file.
        picture: as displayed.
        class_id, label: the class that is explained, by number and by name.
        threshold: fraction of the map's maximum above which the boxes lie.
        layers: attention map of each layer, their sum, and the rollout; empty for a backbone without a class token.
        coupling: semantic map, attention map where the method reads one, then the map of the model's own method.
        classes: the map of each of the five most likely classes, best first.
        methods: the map of the class by each method.
    """

    name: str
    picture: Image.Image
    class_id: int
    label: str
    threshold: float
    layers: tuple[SeenMap, ...]
    coupling: tuple[SeenMap, ...]
    classes: tuple[SeenMap, ...]
    methods: tuple[SeenMap, ...]

    def draw(self, page: str, *, true_boxes: Float[np.ndarray, "m 4"] | None = None, side: int = 320) -> Image.Image:
        """The picture, and beside it a panel a map of one page, with its box.

        Args:
            page: `layers`, `coupling`, `classes` or `methods`.
            true_boxes: dashed in every panel; `(x0, y0, x1, y1)` in pixels of the picture, half-open.
            side: the longer one of a panel, 320 to 960 pixels.

        Raises:
            ConfigError: no such page, or this model has nothing to show on it.
        """
        if page not in PAGES:
            raise ConfigError(f"no page {page!r}{did_you_mean(page, PAGES) or ';'} there are {', '.join(PAGES)}")
        maps: tuple[SeenMap, ...] = getattr(self, page)
        if not maps:
            raise ConfigError(f"page {page!r} is empty: this model's backbone has no class token")
        scale = side / max(self.picture.size)
        width, height = (max(1, round(edge * scale)) for edge in self.picture.size)
        shown = self.picture.resize((width, height), Image.Resampling.LANCZOS)
        picture_wh, shown_wh = self.picture.size, shown.size
        truths = np.empty((0, 4)) if true_boxes is None else true_boxes
        dashed = [to_box(box) for box in scale_boxes(truths, from_wh=picture_wh, to_wh=shown_wh)]
        panels = [draw_panel(shown, true_boxes=dashed, caption=f"{self.name}\n{self._subject(page)}")]
        for seen in maps:
            panels.append(
                draw_panel(
                    shown,
                    map=grid_map(seen.map),
                    box=None if seen.box is None else scale_box(seen.box, from_wh=picture_wh, to_wh=shown_wh),
                    true_boxes=dashed,
                    caption=seen.caption,
                    colour=CLASS_COLOURS[(seen.class_id or 0) % len(CLASS_COLOURS)],
                )
            )
        columns = len(panels) if len(panels) <= 4 else 3 if len(panels) <= 6 else 4 if len(panels) <= 8 else 5
        return sheet(panels, columns=columns)

    def _subject(self, page: str) -> str:
        if page == "layers":
            return "attention of the class token"
        return f"{'likely classes' if page == 'classes' else self.label}, threshold {self.threshold:g}"


class Explainer:
    """Opens up pictures with one model.

    Args:
        model: path of a model folder, a run folder (its best weights), or a checkpoint of the TS-CAM authors.
        methods: those that are compared, by name; all that can read the model when not given.
        threshold: fraction of the map's maximum above which is object; the model's own when not given.
        device: as PyTorch names it; None takes the GPU where there is one.

    Raises:
        WeightsError: the model cannot be read.
        ConfigError: no such method or device, a method that cannot read these weights, or a threshold outside (0, 1).
    """

    def __init__(
        self,
        model: str | Path | ModelSource,
        *,
        methods: Sequence[str] = (),
        threshold: float | None = None,
        device: str | None = None,
    ) -> None:
        require_threshold(threshold)
        source = resolve(model)
        self._model = source.name
        self._network = load_model(source).to(find_device(device)).eval()
        self._compared = _readers(self._network, methods)
        self.threshold = threshold or self._network.spec.threshold

    def __call__(self, picture: str | Path, *, label: str | int | np.integer | None = None) -> Explanation:
        """What the model sees in a picture file.

        Args:
            picture: path of the file.
            label: the class that is explained, by name or by number from 0; the most likely one when not given.

        Raises:
            ImageError: the picture cannot be read.
            ConfigError: no such class.
        """
        path, network = Path(picture), self._network
        upright = read_image(path)
        array, view = preprocess(upright, to=network.input_format)
        pixels = torch.from_numpy(array)[None].to(next(network.parameters()).device)
        asked = _class_id(network, label)
        with torch.no_grad():
            features = network.backbone(pixels, Request(records=_ATTENTION & network.backbone.supports))
            logits, likely, maps = network.localize(pixels, top_k=_CLASSES)
        if not (logits.isfinite().all() and maps.isfinite().all()):
            raise WeightsError(f"{self._model}: scores or maps that are not finite; take weights of an earlier epoch")
        class_id = int(likely[0, 0]) if asked is None else asked
        probabilities = logits[0].detach().softmax(dim=0).tolist()
        names = network.spec.label_names
        return Explanation(
            name=path.name,
            picture=upright.convert("RGB"),
            class_id=class_id,
            label=names[class_id],
            threshold=self.threshold,
            layers=_layers(features),
            coupling=(*_coupled(network.method, features, class_id), self._own(pixels, class_id, view)),
            classes=tuple(
                self._boxed(f"{names[number]} {percent(probabilities[number])}", _array(map_), number, view)
                for number, map_ in zip(likely[0].tolist(), maps[0], strict=True)
            ),
            methods=tuple(
                self._boxed(name, _map(network, method, pixels, class_id), class_id, view)
                for name, method in self._compared.items()
            ),
        )

    def _own(self, pixels: Tensor, class_id: int, view: View) -> SeenMap:
        network = self._network
        return self._boxed(network.spec.method, _map(network, network.method, pixels, class_id), class_id, view)

    def _boxed(self, caption: str, map_: Float[np.ndarray, "h w"], class_id: int, view: View) -> SeenMap:
        boxes = find_boxes(map_, view, threshold=self.threshold)
        if not len(boxes):
            return SeenMap(caption=f"{caption}, no box", map=map_, class_id=class_id)
        return SeenMap(caption=caption, map=map_, class_id=class_id, box=to_box(boxes[0]))


def explain(picture: Path, *, model: str | Path, config: ExplainConfig) -> Path:
    """Draws what a model sees in a picture; returns the absolute path of the output folder.

    `layers.png`: the attention map of each layer, their sum, and the rollout. `coupling.png`: semantic map, attention
    map, and the map of the model's own method with its box. `classes.png`: the map and box of each of the five most
    likely classes. `methods.png`: the map and box of each method for one class. Every map is scaled by itself, from
    its lowest value to its highest. What a backbone without a class token does not have is left out.

    Raises:
        TscamError: picture, model, label, a method or the place are not fit; nothing is written then.
    """
    source = resolve(model)
    explainer = Explainer(source, methods=config.methods, threshold=config.threshold, device=config.device)
    seen = explainer(picture, label=config.label)
    out = claim_output(config.out, overwrite=config.overwrite, inputs=(picture, source.path))
    for page in PAGES:
        if getattr(seen, page):
            _write(out / f"{page}.png", seen.draw(page, side=_PRINTED_SIDE))
    return out


def _layers(features: Features) -> tuple[SeenMap, ...]:
    rows, matrices, grid = features.class_attention, features.attention, features.grid
    if rows is None or matrices is None:
        return ()
    maps = {f"layer {number + 1}": attention_map(rows, grid=grid, layers=[number]) for number in range(len(rows))}
    maps[f"sum of {len(rows)} layers"] = attention_map(rows, grid=grid)
    maps["rollout"] = rollout(matrices, grid=grid)
    return tuple(SeenMap(caption=caption, map=_array(map_[0])) for caption, map_ in maps.items())


def _coupled(method: Method, features: Features, class_id: int) -> tuple[SeenMap, ...]:
    """What a method couples: the semantic map of its head, and the attention map where it reads one."""
    tokens = features.patch_tokens
    with torch.no_grad():
        semantic = method.head.maps(tokens, torch.tensor([[class_id]], device=tokens.device))[0, 0]
    maps = (SeenMap(caption="semantic map", map=_array(semantic), class_id=class_id),)
    if not isinstance(method, Attention):
        return maps
    return (*maps, SeenMap(caption="attention map", map=_array(method.attention_map(features)[0])))


def _map(network: LocalizationModel, method: Method, pixels: Tensor, class_id: int) -> Float[np.ndarray, "h w"]:
    with torch.set_grad_enabled(method.requests.needs_gradient):
        features = network.backbone(pixels, method.requests | method.training_requests)
        return _array(method.maps(features, torch.tensor([[class_id]], device=pixels.device))[0, 0])


def _array(map_: Float[Tensor, "h w"]) -> Float[np.ndarray, "h w"]:
    raw: Float[np.ndarray, "h w"] = map_.detach().float().cpu().numpy()
    return raw


def _readers(network: LocalizationModel, names: Sequence[str]) -> dict[str, Method]:
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


def _class_id(network: LocalizationModel, label: str | int | np.integer | None) -> int | None:
    names = network.spec.label_names
    if label is None:
        return None
    if not isinstance(label, str):
        if 0 <= label < len(names):
            return int(label)
        raise ConfigError(f"no class {label}; the model has {len(names)}, numbered from 0")
    if label in names:
        return names.index(label)
    hint = did_you_mean(label, names) or ";"
    raise ConfigError(f"no class named {label!r}{hint} the model has {len(names)}, such as {names[0]!r}")


def _write(path: Path, page: Image.Image) -> None:
    try:
        page.save(path, dpi=(_DPI, _DPI))
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written ({one_line(fault)}); free space there") from fault
