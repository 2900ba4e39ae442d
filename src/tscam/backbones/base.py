"""The contract of a backbone, pixels → features, and the registry of families that are built by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from tscam.backbones.features import Features, Record, Request
from tscam.errors import ConfigError, did_you_mean, quoted
from tscam.registry import ModelArgs, Registry

# Weights of a method beside the backbone's: a 3×3 convolution over tokens; a linear layer after pooling, for backbones
# of convolutions; or a layer that tells object from background.
HeadName = Literal["conv3x3", "linear", "foreground"]

# Source of a backbone's initial weights: timm's hub, a file, or None for random weights.
StartWeights = Literal["pretrained"] | Path | None


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Last layer of the classifier that came with a backbone's initial weights, and that of a second branch."""

    weight: Float[Tensor, "n d"] | None
    bias: Float[Tensor, " n"] | None
    branch_weight: Float[Tensor, "n e"] | None = None
    branch_bias: Float[Tensor, " n"] | None = None


class Backbone(nn.Module):
    """Pixels → features. A subclass writes `forward` and `layer_index`, and sets the attributes that differ from here.

    Attributes:
        published_prefix: prefix of its parameters' names that their published names lack.
        published_heads: published names of heads by our names, where they differ.
        head_name: the head that turns its tokens into class scores.
        supports: records that it can return.
        num_features: channels of a token.
        branch_features: channels of a convolutional branch that is classified beside the tokens; 0 without one.
        num_blocks, num_heads: attention blocks, and heads of each; 0 without attention.
        num_layers: layers for layer-wise decay of the learning rate: the embedding, each block, and the rest.
        patch_hw: height and width of a patch in pixels.
        drop_rates: stochastic depth: rate of each residual branch.
        no_weight_decay: names of parameters without weight decay, whatever their shape.
        mean, std: of the pixels of pretraining: R G B, in [0, 1].
        classifier: the classifier that came with the initial weights.
        start_note: one line that says which part of the file of initial weights is used; empty for all of it.
    """

    published_prefix: ClassVar[str] = ""
    head_name: ClassVar[HeadName] = "conv3x3"

    published_heads: Mapping[str, str] = MappingProxyType({})
    supports: Record = Record.GRADIENT
    num_features: int
    branch_features: int = 0
    num_blocks: int = 0
    num_heads: int = 0
    num_layers: int
    patch_hw: tuple[int, int]
    drop_rates: tuple[float, ...] = ()
    no_weight_decay: frozenset[str] = frozenset()
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # ImageNet's
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    classifier: Classifier | None = None
    start_note: str = ""

    def forward(self, pixels: Float[Tensor, "b 3 H W"], request: Request) -> Features:
        """The features of a batch of views, with the records of the request.

        Raises:
            ConfigError: a side of the view is not a multiple of the patch.
        """
        raise NotImplementedError

    def initialize_head(self, head: nn.Module) -> None:
        """Draw a head's random weights as the backbone's authors do; by default they stay as PyTorch drew them."""

    def layer_index(self, parameter: str) -> int:
        """Index of the layer that a parameter belongs to, from 0, the embedding, to `num_layers` - 1."""
        raise NotImplementedError


@runtime_checkable
class Builder(Protocol):
    def __call__(
        self, name: str, *, image_hw: tuple[int, int], weights: StartWeights, drop_path: float, args: ModelArgs
    ) -> Backbone: ...


@dataclass(frozen=True, kw_only=True)
class BackboneFamily:
    """Backbones that one function builds.

    Attributes:
        names: returns the names of all members.
        build: builds a member.
        timm_name: maps a member's name to the timm model whose pretrained weights it starts from.
    """

    names: Callable[[], tuple[str, ...]]
    build: Builder
    timm_name: Callable[[str], str] = str


backbone_families: Registry[BackboneFamily] = Registry("backbone family", home="tscam.backbones.families")


def list_backbones() -> tuple[str, ...]:
    """Names of all backbones, sorted."""
    return tuple(sorted(name for family in backbone_families for name in backbone_families[family].names()))


def create_backbone(
    name: str,
    *,
    image_hw: tuple[int, int],
    weights: StartWeights = None,
    drop_path: float = 0.0,
    args: ModelArgs | None = None,
) -> Backbone:
    """Build the backbone of that name.

    Args:
        name: as in `list_backbones`, with or without timm's tag of the pretrained weights (`vit_….dino`).
        image_hw: height and width of the view in pixels.
        weights: initial weights; position embeddings of another grid are resized.
        drop_path: rate of stochastic depth at the last block, rising from 0 at the first.
        args: changes to the architecture.

    Raises:
        ConfigError: there is no such backbone (the message names near misses), it is not supported, or the view does
            not fit it.
        WeightsError: the weights cannot be downloaded or read, or do not fit.
    """
    for family in backbone_families:
        if name.split(".")[0] in backbone_families[family].names():
            build = backbone_families[family].build
            return build(name, image_hw=image_hw, weights=weights, drop_path=drop_path, args=args or {})
    hint = did_you_mean(name, list_backbones()) or ";"
    raise ConfigError(
        f"no backbone named {quoted(name)}{hint} `tscam list backbones 'deit*'` lists names that match a pattern"
    )
