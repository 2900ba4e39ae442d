"""VGG16-CAM: VGG16 without its last pooling and its classifier, and one more convolution."""

import re
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from tscam.backbones.base import Backbone, BackboneFamily, StartWeights, backbone_families
from tscam.backbones.creation import create_timm
from tscam.backbones.features import Features, Request
from tscam.backbones.tensors import load_start_tensors, read_start_tensors
from tscam.backbones.walk import Walk, require_whole_patches
from tscam.errors import ConfigError, first_names
from tscam.registry import ModelArgs

_NAME = "vgg16_cam"
_TIMM_NAME = "vgg16.tv_in1k"  # torchvision's weights
_STRIDE = 16
_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # their indices in `features`


class VggCamBackbone(Backbone):
    """The CNN that the TS-CAM paper compares with. Weights have torchvision's names for VGG16.

    Source:
        Zhou et al., CVPR 2016; the layers are those of the CAM baseline of Gao et al., ICCV 2021.
    """

    head_name = "linear"
    num_features = 1024
    num_layers = len(_CONVOLUTIONS) + 1
    patch_hw = (_STRIDE, _STRIDE)

    def __init__(self) -> None:
        super().__init__()
        self.published_heads = {"head": "fc"}
        self.features: Any = make_layers(cfgs["D"])[:-1]
        self.conv6 = nn.Conv2d(512, self.num_features, 3, padding=1)

    def forward(self, pixels: Float[Tensor, "b 3 H W"], request: Request) -> Features:
        height, width = pixels.shape[2:]
        require_whole_patches((height, width), self.patch_hw)
        walk = Walk(request)
        with walk.before_leaf():
            map_ = self.conv6(self.features(pixels)).relu()
        return walk.map_features(map_)

    def layer_index(self, parameter: str) -> int:
        convolution = re.match(r"features\.(\d+)\.", parameter)
        return _CONVOLUTIONS.index(int(convolution[1])) if convolution else self.num_layers - 1


def _build(
    name: str,
    *,
    image_hw: tuple[int, int],
    weights: StartWeights,
    drop_path: float,  # noqa: ARG001  No branch is dropped.
    args: ModelArgs,
) -> VggCamBackbone:
    if args:
        raise ConfigError(f"backbone {name!r} takes no arguments; got {first_names(sorted(args), at_most=3)}")
    require_whole_patches(image_hw, (_STRIDE, _STRIDE))
    backbone = VggCamBackbone()
    if weights == "pretrained":
        vgg = create_timm(_TIMM_NAME, pretrained=True, settings={})
        backbone.features.load_state_dict(vgg.features.state_dict())
    elif weights is not None:
        start = read_start_tensors(weights, expected=backbone.state_dict().keys())
        tensors = start.tensors
        is_vgg16 = not any(key.startswith("conv6.") for key in tensors)  # torchvision's, which lacks the last layer
        drawn = {key: tensor for key, tensor in backbone.state_dict().items() if is_vgg16 and key.startswith("conv6.")}
        layers = load_start_tensors(backbone, tensors | drawn, source=str(weights))
        backbone.start_note = start.note(str(weights), heads=layers)
    return backbone


backbone_families.register("vgg16_cam")(
    BackboneFamily(names=lambda: (_NAME,), build=_build, timm_name=lambda _: _TIMM_NAME)
)
