"""Conformer: a residual network and a Vision Transformer side by side, coupled in every block.

Parameters have the names of the published weights: the first block is `conv_1` and `trans_1`, the blocks 2 to 12 are
`conv_trans_N`.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from tscam.backbones.base import Backbone, BackboneFamily, Classifier, StartWeights, backbone_families
from tscam.backbones.features import Features, Record, Request
from tscam.backbones.tensors import load_start_tensors, read_start_tensors
from tscam.backbones.walk import Heads, Walk, block_drop_rates, require_whole_patches, split_heads
from tscam.bounds import require_architecture
from tscam.errors import ConfigError, WeightsError, quoted
from tscam.registry import ModelArgs

_PATCH = 16
_STEM = 64  # channels

_BatchNorm = partial(nn.BatchNorm2d, eps=1e-6)
_LayerNorm = partial(nn.LayerNorm, eps=1e-6)
_Convolution = partial(nn.Conv2d, bias=False)


class ConvolutionBlock(nn.Module):
    """A bottleneck of ResNet that also returns its inner map, and can add the tokens' map to it."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1, projects: bool = False) -> None:
        super().__init__()
        inner = channels_out // 4
        self.conv1, self.bn1 = _Convolution(channels_in, inner, 1), _BatchNorm(inner)
        self.conv2, self.bn2 = _Convolution(inner, inner, 3, stride=stride, padding=1), _BatchNorm(inner)
        self.conv3, self.bn3 = _Convolution(inner, channels_out, 1), _BatchNorm(channels_out)
        if projects:
            self.residual_conv = _Convolution(channels_in, channels_out, 1, stride=stride)
            self.residual_bn = _BatchNorm(channels_out)
        self.projects = projects

    def forward(
        self, maps: Float[Tensor, "b c h w"], added: Float[Tensor, "b e h w"] | None = None
    ) -> tuple[Float[Tensor, "b d y x"], Float[Tensor, "b e y x"]]:
        """Return the output, and the inner map for the tokens."""
        inner = self.bn1(self.conv1(maps)).relu()
        inner = self.bn2(self.conv2(inner if added is None else inner + added)).relu()
        residual = self.residual_bn(self.residual_conv(maps)) if self.projects else maps
        return (self.bn3(self.conv3(inner)) + residual).relu(), inner


class TransformerBlock(nn.Module):
    """A plain block of the Vision Transformer, with timm's names of its parts."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _LayerNorm(width), _LayerNorm(width)
        self.attn = Attention(width, num_heads=heads, qkv_bias=True)
        self.mlp = Mlp(width, hidden_features=4 * width)

    def forward(self, tokens: Float[Tensor, "b t d"], walk: Walk, *, index: int) -> Float[Tensor, "b t d"]:
        """Return the tokens after the block, which has this index from 0."""
        attn: Any = self.attn
        normed = walk.enter_attention(self.norm1(tokens), block=index)
        query, key, value = split_heads(attn, attn.qkv(normed))
        attended = walk.attend(attn, normed, Heads(query=query, key=key, value=value, scale=attn.scale))
        tokens = tokens + walk.drop_path(attended, index=2 * index)
        return tokens + walk.drop_path(self.mlp(self.norm2(tokens)), index=2 * index + 1)


class Squeeze(nn.Module):
    """Map → tokens: channels projected, pixels pooled, normed; the class token comes first."""

    def __init__(self, channels: int, width: int, *, scale: int) -> None:
        super().__init__()
        self.conv_project, self.ln = nn.Conv2d(channels, width, 1), _LayerNorm(width)
        self.scale = scale

    def forward(self, maps: Float[Tensor, "b c y x"], class_token: Float[Tensor, "b 1 d"]) -> Float[Tensor, "b t d"]:
        pooled = F.avg_pool2d(self.conv_project(maps), self.scale).flatten(2).transpose(1, 2)
        return torch.cat([class_token, F.gelu(self.ln(pooled))], dim=1)


class Expand(nn.Module):
    """Tokens → map: the patches on their grid, channels projected, repeated to the size of the map."""

    def __init__(self, width: int, channels: int, *, scale: int) -> None:
        super().__init__()
        self.conv_project, self.bn = nn.Conv2d(width, channels, 1), _BatchNorm(channels)
        self.scale = scale

    def forward(self, tokens: Float[Tensor, "b t d"], grid: tuple[int, int]) -> Float[Tensor, "b c y x"]:
        patches = tokens[:, 1:].transpose(1, 2).unflatten(2, grid)
        return F.interpolate(self.bn(self.conv_project(patches)).relu(), scale_factor=float(self.scale))


class JointBlock(nn.Module):
    """Both branches: convolve, add the map to the tokens, attend, add the tokens to the map, convolve again."""

    def __init__(
        self, channels_in: int, channels_out: int, *, width: int, heads: int, scale: int, stride: int, is_last: bool
    ) -> None:
        super().__init__()
        inner = channels_out // 4
        self.cnn_block = ConvolutionBlock(
            channels_in, channels_out, stride=stride, projects=channels_in != channels_out
        )
        self.squeeze_block = Squeeze(inner, width, scale=scale)
        self.trans_block = TransformerBlock(width, heads=heads)
        self.expand_block = Expand(width, inner, scale=scale)
        self.fusion_block = ConvolutionBlock(channels_out, channels_out, stride=2 if is_last else 1, projects=is_last)


class ConformerBackbone(Backbone):
    """Conformer without its classifiers: tokens, and the mean of the last map as `branch`.

    Source:
        Peng et al., ICCV 2021, as the TS-CAM authors use it: no position embeddings, patches of 16 pixels.
    """

    supports = Record.CLASS_ATTENTION | Record.ATTENTION | Record.POOLED | Record.GRADIENT
    patch_hw = (_PATCH, _PATCH)
    no_weight_decay = frozenset({"cls_token"})

    def __init__(
        self, *, base: int = 64, width: int = 384, depth: int = 12, heads: int = 6, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.published_heads = {"head": "trans_cls_head", "branch_head": "conv_cls_head"}
        self.num_features, self.num_blocks, self.num_heads = width, depth, heads
        self.branch_features = 16 * base
        self.num_layers = depth + 2
        self.drop_rates = block_drop_rates(drop_path, depth=depth)

        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.conv1, self.bn1 = _Convolution(3, _STEM, 7, stride=2, padding=3), nn.BatchNorm2d(_STEM)
        self.conv_1 = ConvolutionBlock(_STEM, 4 * base, projects=True)
        self.trans_patch_conv = nn.Conv2d(_STEM, width, 4, stride=4)
        self.trans_1 = TransformerBlock(width, heads=heads)
        channels = 4 * base
        for index in range(1, depth):
            stage = index * 3 // depth
            channels_in, channels = channels, 4 * base << stage
            block = JointBlock(
                channels_in, channels, width=width, heads=heads, scale=4 >> stage,
                stride=1 if channels_in == channels else 2, is_last=index == depth - 1,
            )  # fmt: skip
            self.add_module(f"conv_trans_{index + 1}", block)
        self.trans_norm = nn.LayerNorm(width)
        self.apply(_initialize)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, pixels: Float[Tensor, "b 3 H W"], request: Request) -> Features:
        height, width = pixels.shape[2:]
        require_whole_patches((height, width), self.patch_hw)
        grid = (height // _PATCH, width // _PATCH)
        walk = Walk(request, num_blocks=self.num_blocks, drop_rates=self.drop_rates)
        with walk.before_leaf():
            stem = F.max_pool2d(self.bn1(self.conv1(pixels)).relu(), 3, stride=2, padding=1)
            maps, _ = self.conv_1(stem)
            patches = self.trans_patch_conv(stem).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.cls_token.expand(len(pixels), -1, -1), patches], dim=1)
            tokens = self.trans_1(tokens, walk, index=0)
            for index in range(1, self.num_blocks - 1):
                maps, tokens = self._joint_block(maps, tokens, walk, index=index, grid=grid)
        maps, tokens = self._joint_block(maps, tokens, walk, index=self.num_blocks - 1, grid=grid)
        tokens = self.trans_norm(tokens)
        return walk.features(
            patch_tokens=tokens[:, 1:].unflatten(1, grid),
            prefix_tokens=tokens[:, :1],
            pooled=tokens[:, 0] if walk.requests(Record.POOLED) else None,
            branch=maps.mean(dim=(2, 3)),
        )

    def initialize_head(self, head: nn.Module) -> None:
        _initialize(head)

    def layer_index(self, parameter: str) -> int:
        block = re.match(r"conv_trans_(\d+)\.", parameter)
        if block:
            return int(block[1])
        if parameter.startswith("trans_norm."):
            return self.num_layers - 1
        return 1 if parameter.startswith(("conv_1.", "trans_1.")) else 0

    def _joint_block(
        self,
        maps: Float[Tensor, "b c h w"],
        tokens: Float[Tensor, "b t d"],
        walk: Walk,
        *,
        index: int,
        grid: tuple[int, int],
    ) -> tuple[Float[Tensor, "b e y x"], Float[Tensor, "b t d"]]:
        block: Any = self.get_submodule(f"conv_trans_{index + 1}")
        maps, inner = block.cnn_block(maps)
        # The class token is in both terms, so it enters the block doubled, as in the authors' code.
        joined = block.squeeze_block(inner, tokens[:, :1]) + tokens
        tokens = block.trans_block(joined, walk, index=index)
        maps, _ = block.fusion_block(maps, block.expand_block(tokens, grid))
        return maps, tokens


def _initialize(module: nn.Module) -> None:
    """Draw random weights as the authors of Conformer do."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


# Architectures by name: a quarter of the first maps' channels, channels of a token, heads.
_SIZES: dict[str, dict[str, int]] = {
    "conformer_small_patch16": {"base": 64, "width": 384, "heads": 6},
}
_ARGS = {"base", "width", "depth", "heads"}


def _build(
    name: str, *, image_hw: tuple[int, int], weights: StartWeights, drop_path: float, args: ModelArgs
) -> ConformerBackbone:
    require_architecture(args)
    settings: dict[str, Any] = {**_SIZES[name.split(".")[0]], **args}
    if unknown := sorted(settings.keys() - _ARGS):
        raise ConfigError(f"backbone {name!r} has no argument {quoted(unknown[0])}; it has {', '.join(sorted(_ARGS))}")
    depth, heads = settings.get("depth", 12), settings["heads"]
    are_sizes = all(isinstance(value, int) and 0 < value <= 4096 for value in settings.values())
    if not are_sizes or depth % 3 or settings["width"] % heads:
        raise ConfigError(
            f"backbone {name!r} with {quoted(settings)}; expected integers from 1 to 4096, depth a multiple of 3, "
            "width a multiple of heads"
        )
    require_whole_patches(image_hw, (_PATCH, _PATCH))
    if weights == "pretrained":
        raise WeightsError(
            f"pretrained weights of {name!r} are not on timm's hub; download the authors' file (docs/model_zoo.md says "
            "where) and pass it with --weights FILE"
        )
    backbone = ConformerBackbone(**settings, drop_path=drop_path)
    if weights is not None:
        backbone.classifier = _load(backbone, weights)
    return backbone


def _load(backbone: ConformerBackbone, path: Path) -> Classifier:
    """Load everything but the classifiers, and return these."""
    start = read_start_tensors(path, expected=backbone.state_dict().keys())
    tensors = start.tensors
    layers = load_start_tensors(backbone, tensors, source=str(path))
    backbone.start_note = start.note(str(path), heads=layers)
    weight, bias = tensors.get("trans_cls_head.weight"), tensors.get("trans_cls_head.bias")
    return Classifier(
        weight=weight if weight is not None and weight.ndim == 2 else None,
        bias=bias,
        branch_weight=tensors.get("conv_cls_head.weight"),
        branch_bias=tensors.get("conv_cls_head.bias"),
    )


backbone_families.register("conformer")(BackboneFamily(names=lambda: tuple(_SIZES), build=_build))
