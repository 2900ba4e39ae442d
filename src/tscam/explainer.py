"""A model's view of one picture: attention layer by layer, coupling, likely classes, and method beside method."""

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
from tscam.checkpoints.source import resolve
from tscam.decoding import MAX_PIXELS, DecodeSettings, PixelRange
from tscam.drawing import CLASS_COLOURS, draw_panel, percent, sheet
from tscam.errors import ConfigError, WeightsError, did_you_mean
from tscam.geometry import Box, View, scale_box, scale_boxes, to_box
from tscam.image import Picture, decode_picture, preprocess
from tscam.localization import grid_map
from tscam.localizer import Label, find_class
from tscam.methods import Method, create_method, methods, supported_methods
from tscam.methods.attention import Attention
from tscam.methods.attention_maps import attention_map, rollout
from tscam.model import LocalizationModel
from tscam.predictor import IN_MEMORY
from tscam.predictors import ModelLike
from tscam.system.processes import find_device

PAGES = ("layers", "coupling", "classes", "methods")

_CLASSES = 5  # on the page of likely classes
_ATTENTION = Record.CLASS_ATTENTION | Record.ATTENTION


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplainedMap:
    """One map of a picture.

    Attributes:
        caption: name of the map.
        map: raw, on the patch grid.
        class_id: class of the map; None for attention, which is the same for every class.
        box: `(x0, y0, x1, y1)` in picture pixels, half-open; None for a part of a method's map, and for a flat map.
    """

    caption: str
    map: Float[np.ndarray, "h w"]
    class_id: int | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Maps of one picture on four pages, which show what a model sees in it.

    Attributes:
        name: name of the picture's file; `picture` for a picture in memory.
        picture: as displayed, RGB.
        pixel_range: the range that the picture's values were scaled by; None for a picture of eight bits.
        class_id, label: the class that is explained, by number and by name.
        threshold: fraction of a map's maximum above which is object.
        layers: attention map of each layer, their sum, and the rollout; empty for a backbone without a class token.
        coupling: semantic map, attention map where the method reads one, then the map of the model's own method; empty
            for a method without a classifier, as is `classes`.
        classes: the map of each of the five most likely classes, best first.
        methods: the map of the class by each method.
    """

    name: str
    picture: Image.Image
    pixel_range: PixelRange | None
    class_id: int
    label: str
    threshold: float
    layers: tuple[ExplainedMap, ...]
    coupling: tuple[ExplainedMap, ...]
    classes: tuple[ExplainedMap, ...]
    methods: tuple[ExplainedMap, ...]

    def draw(self, page: str, *, true_boxes: Float[np.ndarray, "m 4"] | None = None, side: int = 320) -> Image.Image:
        """Draw the picture, and beside it a panel for each map of one page, with its box.

        Args:
            page: `layers`, `coupling`, `classes` or `methods`.
            true_boxes: dashed in every panel; `(x0, y0, x1, y1)` in picture pixels, half-open.
            side: length of a panel's longer side, 320 to 960 pixels.

        Raises:
            ConfigError: no such page, or this model has nothing to show on it.
        """
        maps = self._maps_of(page)
        if not maps:
            reason = "this model's backbone has no class token" if page == "layers" else "this model has no classifier"
            raise ConfigError(f"page {page!r} is empty: {reason}")
        scale = side / max(self.picture.size)
        width, height = (max(1, round(edge * scale)) for edge in self.picture.size)
        resized = self.picture.resize((width, height), Image.Resampling.LANCZOS)
        picture_wh, resized_wh = self.picture.size, resized.size
        truths = np.empty((0, 4)) if true_boxes is None else true_boxes
        dashed = [to_box(box) for box in scale_boxes(truths, from_wh=picture_wh, to_wh=resized_wh)]
        panels = [draw_panel(resized, true_boxes=dashed, caption=f"{self.name}\n{self._subject(page)}")]
        for each in maps:
            panels.append(
                draw_panel(
                    resized,
                    map=grid_map(each.map),
                    threshold=None if each.box is None else self.threshold,
                    boxes=[] if each.box is None else [scale_box(each.box, from_wh=picture_wh, to_wh=resized_wh)],
                    true_boxes=dashed,
                    caption=each.caption,
                    colour=CLASS_COLOURS[(each.class_id or 0) % len(CLASS_COLOURS)],
                )
            )
        columns = len(panels) if len(panels) <= 4 else 3 if len(panels) <= 6 else 4 if len(panels) <= 8 else 5
        return sheet(panels, columns=columns)

    def pages(self) -> tuple[str, ...]:
        """Names of the pages that have maps."""
        return tuple(page for page in PAGES if self._maps_of(page))

    def _maps_of(self, page: str) -> tuple[ExplainedMap, ...]:
        maps = {"layers": self.layers, "coupling": self.coupling, "classes": self.classes, "methods": self.methods}
        if page not in maps:
            raise ConfigError(f"no page {page!r}{did_you_mean(page, PAGES) or ';'} there are {', '.join(PAGES)}")
        return maps[page]

    def _subject(self, page: str) -> str:
        if page == "layers":
            return "attention of the class token"
        return f"{'likely classes' if page == 'classes' else self.label}, threshold {self.threshold:g}"


class Explainer:
    """Explains pictures by one model.

    Args:
        model: a model folder, a run folder (its best weights), a checkpoint of the TS-CAM authors,
            `hf-hub:user/name[@revision]`; or a model in memory, which is moved to the device and set to evaluation.
        methods: names of the methods to compare; by default all that can read the model.
        threshold: fraction of a map's maximum above which is object; the model's own by default.
        device: as PyTorch names it; None takes the GPU where there is one.
        max_pixels: pixels of the largest picture that is read.

    Raises:
        WeightsError: the model cannot be read.
        ConfigError: no such method or device, a method that cannot read these weights, or a threshold outside (0, 1).
    """

    def __init__(
        self,
        model: ModelLike,
        *,
        methods: Sequence[str] = (),
        threshold: float | None = None,
        device: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        require_threshold(threshold)
        if isinstance(model, LocalizationModel):
            self._model_name, network = IN_MEMORY, model
        else:
            source = resolve(model)
            self._model_name, network = source.name, load_model(source)
        self._network = network.to(find_device(device)).eval()
        self._methods = _methods_reading(self._network, methods)
        self._max_pixels = max_pixels
        self.threshold = threshold or self._network.spec.threshold

    @property
    def has_pixel_range(self) -> bool:
        """True if the model states the range of values that pictures of more than eight bits are scaled by."""
        return self._network.spec.pixel_range is not None

    def __call__(self, picture: Picture, *, label: Label | None = None) -> Explanation:
        """Explain what the model sees in a picture.

        Args:
            picture: path of a file, the bytes of a file, a PIL picture, or an array of uint8 that is
                height × width × 3 (RGB) or height × width (grey).
            label: the class that is explained, by name or by number from 0; by default the most likely one.

        Raises:
            ImageError: the picture cannot be read.
            ConfigError: no such class.
        """
        network, names = self._network, self._network.spec.label_names
        decode = DecodeSettings(pixel_range=network.input_format.pixel_range, max_pixels=self._max_pixels)
        decoded = decode_picture(picture, settings=decode)
        array, view = preprocess(decoded.image, to=network.input_format)
        pixels = torch.from_numpy(array)[None].to(next(network.parameters()).device)
        known = None if label is None else find_class(label, names)
        with torch.no_grad():
            features = network.backbone(pixels, Request(records=_ATTENTION & network.backbone.supports))
            logits, likely, maps = network.localize(pixels, top_k=_CLASSES)
        if not (logits.isfinite().all() and maps.isfinite().all()):
            raise WeightsError(
                f"{self._model_name}: scores or maps that are not finite; take weights of an earlier epoch"
            )
        class_id = int(likely[0, 0]) if known is None else known
        probabilities = logits[0].detach().softmax(dim=0).tolist()
        return Explanation(
            name=Path(picture).name if isinstance(picture, str | Path) else "picture",
            picture=decoded.image,
            pixel_range=decoded.pixel_range,
            class_id=class_id,
            label=names[class_id],
            threshold=self.threshold,
            layers=_layers(features),
            coupling=(
                *_coupled_maps(network.method, features, class_id),
                self._map_by_method(network.spec.method, network.method, pixels, class_id, view),
            )
            if network.method.has_classifier
            else (),
            classes=tuple(
                self._with_box(f"{names[each]} {percent(probabilities[each])}", _to_array(map_), each, view)
                for each, map_ in zip(likely[0].tolist(), maps[0], strict=True)
            )
            if network.method.has_classifier
            else (),
            methods=tuple(
                self._map_by_method(name, method, pixels, class_id, view) for name, method in self._methods.items()
            ),
        )

    def _map_by_method(self, name: str, method: Method, pixels: Tensor, class_id: int, view: View) -> ExplainedMap:
        with torch.set_grad_enabled(method.requests.needs_gradient):
            features = self._network.backbone(pixels, method.requests | method.training_requests)
            map_ = method.maps(features, torch.tensor([[class_id]], device=pixels.device))[0, 0]
        return self._with_box(name, _to_array(map_), class_id, view)

    def _with_box(self, caption: str, map_: Float[np.ndarray, "h w"], class_id: int, view: View) -> ExplainedMap:
        boxes = find_boxes(map_, view, threshold=self.threshold)
        if not len(boxes):
            return ExplainedMap(caption=f"{caption}, no box", map=map_, class_id=class_id)
        return ExplainedMap(caption=caption, map=map_, class_id=class_id, box=to_box(boxes[0]))


def _layers(features: Features) -> tuple[ExplainedMap, ...]:
    rows, matrices, grid = features.class_attention, features.attention, features.grid
    if rows is None or matrices is None:
        return ()
    maps = {f"layer {index + 1}": attention_map(rows, grid=grid, layers=[index]) for index in range(len(rows))}
    maps[f"sum of {len(rows)} layers"] = attention_map(rows, grid=grid)
    maps["rollout"] = rollout(matrices, grid=grid)
    return tuple(ExplainedMap(caption=caption, map=_to_array(map_[0])) for caption, map_ in maps.items())


def _coupled_maps(method: Method, features: Features, class_id: int) -> tuple[ExplainedMap, ...]:
    """Return the maps that a method couples: the semantic map of its head, and the attention map where it reads one."""
    tokens = features.patch_tokens
    with torch.no_grad():
        semantic = method.head.maps(tokens, torch.tensor([[class_id]], device=tokens.device))[0, 0]
    maps = (ExplainedMap(caption="semantic map", map=_to_array(semantic), class_id=class_id),)
    if not isinstance(method, Attention):
        return maps
    return (*maps, ExplainedMap(caption="attention map", map=_to_array(method.attention_map(features)[0])))


def _to_array(map_: Float[Tensor, "h w"]) -> Float[np.ndarray, "h w"]:
    array: Float[np.ndarray, "h w"] = map_.detach().float().cpu().numpy()
    return array


def _methods_reading(network: LocalizationModel, names: Sequence[str]) -> dict[str, Method]:
    """Return methods by name, on the network's weights: those that are named, by default all that can read these."""
    head = network.method.head_name(network.backbone)
    readers = {}
    for name in names or supported_methods(network.backbone):
        if name == network.spec.method:
            readers[name] = network.method
        elif methods[name].head_name(network.backbone) == head:
            method = create_method(name, network.backbone, num_classes=len(network.spec.label_names), args={})
            method.load_state_dict(network.method.state_dict())
            readers[name] = method.to(next(network.parameters()).device).eval()
        elif names:
            raise ConfigError(
                f"method {name!r} cannot read weights trained for {network.spec.method!r}; "
                f"with them work {', '.join(_methods_reading(network, ()))}"
            )
    return readers
