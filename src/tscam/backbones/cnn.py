"""Convolutional networks, whose last map is the grid of tokens: any of timm's, for CAM and Grad-CAM.

They have no class token, and so no attention to read.
"""

from functools import cache
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.models import group_parameters
from torch import Tensor, nn

from tscam.backbones.base import (
    Backbone,
    BackboneFamily,
    Classifier,
    ModelArgs,
    StartWeights,
    backbone_families,
)
from tscam.backbones.creation import create_timm, require_architecture
from tscam.backbones.features import Features, Request
from tscam.backbones.tensors import read_tensors, require_same_layout
from tscam.backbones.walk import Walk
from tscam.errors import ConfigError, one_line

# timm's files whose models are served; each gives a map `[b d h w]` before its classifier.
_MODULES = (
    "convnext", "densenet", "efficientnet", "inception_v3", "mobilenetv3", "regnet", "resnet", "resnetv2", "vgg",
    "xception",
)  # fmt: skip


class CnnBackbone(Backbone):
    """A timm CNN up to its last map; what comes after, its classifier included, is left out.

    Views of any size work. There is no stochastic depth.
    """

    published_prefix = "cnn."
    head = "linear"

    def __init__(self, cnn: Any, *, image_hw: tuple[int, int], classifier: Classifier | None = None) -> None:
        super().__init__()
        self.cnn = cnn
        settings = cnn.pretrained_cfg
        self.published_heads = {"head": settings["classifier"]}
        self.mean, self.std = settings["mean"], settings["std"]
        self.classifier = classifier
        self._layers = group_parameters(cnn, cnn.group_matcher(coarse=False), reverse=True)
        self.num_layers = max(self._layers.values()) + 2
        map_ = _cut_after_last_map(cnn, image_hw)
        self.num_features = map_.shape[1]
        self.patch_hw = (image_hw[0] // map_.shape[2], image_hw[1] // map_.shape[3])

    def forward(self, pixels: Float[Tensor, "b 3 H W"], request: Request) -> Features:
        walk = Walk(request)
        with walk.before_leaf():
            map_ = self.cnn.forward_features(pixels)
        tokens = walk.as_leaf(map_.flatten(2).transpose(1, 2))
        return walk.features(patch_tokens=tokens.unflatten(1, map_.shape[2:]), prefix_tokens=tokens[:, :0])

    def layer_of(self, parameter: str) -> int:
        return int(self._layers[parameter.removeprefix("cnn.")])


def _cut_after_last_map(cnn: Any, image_hw: tuple[int, int]) -> Float[Tensor, "1 d h w"]:
    """Removes what the last map does not hang on; gives such a map."""
    used: set[nn.Module] = set()
    hooks = [module.register_forward_pre_hook(lambda module, _: used.add(module)) for module in cnn.modules()]
    is_training = cnn.training
    with torch.no_grad():
        map_: Tensor = cnn.eval().forward_features(torch.zeros(1, 3, *image_hw))
    cnn.train(is_training)
    for hook in hooks:
        hook.remove()
    for name, module in list(cnn.named_modules()):
        has_weights = next(module.parameters(), None) is not None
        if name and has_weights and not used & {*module.modules()}:
            cnn.set_submodule(name, nn.Identity())
    return map_


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
    whole = cnn.state_dict()
    classifier = str(cnn.pretrained_cfg["classifier"])
    try:
        backbone = CnnBackbone(cnn, image_hw=image_hw)
    except (RuntimeError, ValueError, TypeError) as fault:
        raise ConfigError(
            f"backbone {name!r} cannot take views of {image_hw[0]}×{image_hw[1]} pixels ({one_line(fault)}); "
            "take larger ones"
        ) from fault
    left_out = whole.keys() - cnn.state_dict().keys()
    if weights == "pretrained":
        given = whole
    elif weights is None:
        return backbone
    else:
        given = read_tensors(weights)
        held = {key: tensor for key, tensor in given.items() if key not in left_out}
        require_same_layout(held, cnn.state_dict(), source=str(weights))
        cnn.load_state_dict(held)
    # Where a layer lies between map and classifier, the classifier does not read the map.
    if left_out == {f"{classifier}.weight", f"{classifier}.bias"}:
        weight, bias = given.get(f"{classifier}.weight"), given.get(f"{classifier}.bias")
        backbone.classifier = Classifier(weight=weight, bias=bias)
    return backbone


backbone_families.register("cnn")(BackboneFamily(names=_names, build=_build))
