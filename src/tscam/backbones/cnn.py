"""timm's convolutional networks, whose last map is the grid of tokens; for methods without attention."""

from functools import cache
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.models import group_parameters
from torch import Tensor, nn

from tscam.backbones.base import Backbone, BackboneFamily, Classifier, StartWeights, backbone_families
from tscam.backbones.creation import create_timm
from tscam.backbones.features import Features, Request
from tscam.backbones.tensors import load_start_tensors, read_start_tensors
from tscam.backbones.walk import Walk
from tscam.bounds import require_architecture
from tscam.errors import ConfigError, one_line
from tscam.registry import ModelArgs

# timm's modules whose models return a map `[b d h w]` before their classifier.
_MODULES = (
    "convnext", "densenet", "efficientnet", "inception_v3", "mobilenetv3", "regnet", "resnet", "resnetv2", "vgg",
    "xception",
)  # fmt: skip


class CnnBackbone(Backbone):
    """A timm CNN up to its last map, without the layers after it. It takes views of any size."""

    published_prefix = "cnn."
    head_name = "linear"

    def __init__(self, cnn: Any, weightless: Any, *, image_hw: tuple[int, int]) -> None:
        super().__init__()
        self.cnn = cnn
        settings = cnn.pretrained_cfg
        self.published_heads = {"head": settings["classifier"]}
        self.mean, self.std = settings["mean"], settings["std"]
        self._layers = group_parameters(cnn, cnn.group_matcher(coarse=False), reverse=True)
        self.num_layers = max(self._layers.values()) + 2
        _, self.num_features, height, width = _cut_after_last_map(cnn, weightless, image_hw)
        self.patch_hw = (image_hw[0] // height, image_hw[1] // width)

    def forward(self, pixels: Float[Tensor, "b 3 H W"], request: Request) -> Features:
        walk = Walk(request)
        with walk.before_leaf():
            map_ = self.cnn.forward_features(pixels)
        return walk.map_features(map_)

    def layer_index(self, parameter: str) -> int:
        return int(self._layers[parameter.removeprefix("cnn.")])


def _cut_after_last_map(cnn: Any, weightless: Any, image_hw: tuple[int, int]) -> tuple[int, ...]:
    """Remove the layers that the last map does not depend on, and return the shape of that map.

    Args:
        weightless: the same network without memory for its weights. Its pass takes none, whatever the view.
    """
    used: set[str] = set()
    for name, module in weightless.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: used.add(f"{name}."))
    with torch.no_grad():
        map_: Tensor = weightless.eval().forward_features(torch.zeros(1, 3, *image_hw, device="meta"))
    for name, module in list(cnn.named_modules()):
        has_weights = next(module.parameters(), None) is not None
        if name and has_weights and not any(each.startswith(f"{name}.") for each in used):
            cnn.set_submodule(name, nn.Identity())
    return tuple(map_.shape)


@cache
def _names() -> tuple[str, ...]:
    return tuple(name for module in _MODULES for name in timm.list_models(module=module))


def _build(
    name: str,
    *,
    image_hw: tuple[int, int],
    weights: StartWeights,
    drop_path: float,  # noqa: ARG001  No branch is dropped.
    args: ModelArgs,
) -> CnnBackbone:
    require_architecture(args)
    cnn = create_timm(name, pretrained=weights == "pretrained", settings=dict(args))
    tensors = cnn.state_dict()
    classifier = str(cnn.pretrained_cfg["classifier"])
    try:
        with torch.device("meta"):
            weightless = create_timm(name, pretrained=False, settings=dict(args))
        backbone = CnnBackbone(cnn, weightless, image_hw=image_hw)
    except (RuntimeError, ValueError, TypeError) as fault:
        raise ConfigError(
            f"backbone {name!r} cannot take views of {image_hw[0]}×{image_hw[1]} pixels ({one_line(fault)}); "
            "use larger ones"
        ) from fault
    removed = tensors.keys() - cnn.state_dict().keys()
    if weights is None:
        return backbone
    if weights != "pretrained":
        start = read_start_tensors(weights, expected=cnn.state_dict().keys())
        tensors = start.tensors
        used = {key: tensor for key, tensor in tensors.items() if key not in removed}
        layers = load_start_tensors(cnn, used, source=str(weights))
        backbone.start_note = start.note(str(weights), heads=layers)
    # A classifier behind further layers does not read the map itself.
    if removed == {f"{classifier}.weight", f"{classifier}.bias"}:
        weight, bias = tensors.get(f"{classifier}.weight"), tensors.get(f"{classifier}.bias")
        backbone.classifier = Classifier(weight=weight, bias=bias)
    return backbone


backbone_families.register("cnn")(BackboneFamily(names=_names, build=_build))
