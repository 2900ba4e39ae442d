"""A timm Vision Transformer of any family, walked block by block with fused attention; how one is built and loaded.

Knows nothing of methods: it computes the class token's attention row where it is asked to, from the q and k it has.
What sets a family apart (positions, projections, scales) is in the family's file.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import timm
from jaxtyping import Float
from torch import Tensor

from tscam.backbones.base import Backbone, BackboneFamily, Classifier, ModelArgs, StartWeights
from tscam.backbones.creation import create_timm, require_architecture
from tscam.backbones.features import Features, Record, Request
from tscam.backbones.tensors import read_tensors, require_same_layout
from tscam.backbones.walk import Heads, Walk, drop_rates, require_whole_patches
from tscam.errors import ConfigError, WeightsError, one_line

_HEADS = ("head.", "head_dist.")  # of the classifier that is left behind


class TimmTransformer(Backbone):
    """A timm Vision Transformer without its classifier. Its outputs are timm's to float rounding.

    A family says what it takes of timm, and writes `_embed`, `_heads` and `_scaled`.
    """

    published_prefix = "vit."

    module: ClassVar[tuple[str, ...]]  # timm's files whose models are of the family
    classes: ClassVar[tuple[type, ...]]  # of its models, blocks and attention layers: others are not walked
    resizes: ClassVar[bool] = True  # takes views of other sizes than the built one

    def __init__(self, vit: Any, *, drop_path: float = 0.0, classifier: Classifier | None = None) -> None:
        super().__init__()
        self.vit = vit
        self.supports = Record.POOLED | Record.GRADIENT
        if vit.cls_token is not None:
            self.supports |= Record.CLASS_ATTENTION | Record.ATTENTION
        self.num_features = vit.num_features
        self.patch_hw = vit.patch_embed.patch_size
        self.num_blocks = depth = len(vit.blocks)
        self.num_heads = vit.blocks[0].attn.num_heads
        self.drop_rates = tuple(rate for rate in drop_rates(drop_path, depth) for _ in ("attention", "mlp"))
        self.num_layers = depth + 2
        self.undecayed = frozenset(f"vit.{name}" for name in vit.no_weight_decay())
        self.mean, self.std = vit.pretrained_cfg["mean"], vit.pretrained_cfg["std"]
        self.classifier = classifier

    def forward(self, pixels: Float[Tensor, "b 3 H W"], request: Request) -> Features:
        grid, last = self._grid(pixels), self.num_blocks - 1
        vit: Any = self.vit  # whose blocks and norms are plain modules to a type checker
        walk = Walk(request, num_blocks=self.num_blocks, drop_rates=self.drop_rates)
        with walk.before_leaf():
            tokens, positions = self._embed(pixels)
            for index in range(last):
                tokens = self._block(tokens, walk, index=index, position=positions[index])
        tokens = vit.norm(self._block(tokens, walk, index=last, position=positions[last]))
        pooled = vit.forward_head(tokens, pre_logits=True) if walk.requests(Record.POOLED) else None
        tokens = vit.fc_norm(tokens)  # This or the norm before is the identity: some models norm after pooling.
        prefix = vit.num_prefix_tokens
        patches = tokens[:, prefix:].unflatten(1, grid)
        return walk.features(patch_tokens=patches, prefix_tokens=tokens[:, :prefix], pooled=pooled)

    def _block(
        self, tokens: Float[Tensor, "b t d"], walk: Walk, *, index: int, position: Tensor | None
    ) -> Float[Tensor, "b t d"]:
        block: Any = self.vit.blocks[index]
        normed = walk.enter_attention(block.norm1(tokens), block=index)
        attended = walk.attend(block.attn, normed, self._heads(block.attn, normed, position))
        tokens = tokens + walk.drop_path(self._scaled(block, 1, attended), index=2 * index)
        expanded = block.mlp(block.norm2(tokens))
        return tokens + walk.drop_path(self._scaled(block, 2, expanded), index=2 * index + 1)

    def layer_of(self, parameter: str) -> int:
        block = re.match(r"vit\.blocks\.(\d+)\.", parameter)
        if block:
            return int(block[1]) + 1
        return self.num_layers - 1 if parameter.startswith(("vit.norm.", "vit.fc_norm.", "vit.attn_pool.")) else 0

    def fit(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Foreign weights under timm's names, positions resized to the grid: what timm itself does to them."""
        raise NotImplementedError

    def _embed(self, pixels: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b t d"], list[Tensor | None]]:
        """The tokens that enter the first block, and for each block what its attention knows of places."""
        raise NotImplementedError

    def _heads(self, attn: Any, tokens: Float[Tensor, "b t d"], position: Tensor | None) -> Heads:
        """The projections of an attention layer."""
        raise NotImplementedError

    def _scaled(self, block: Any, number: int, branch: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """The first (attention) or second branch of a block times its layer scale."""
        raise NotImplementedError

    def _grid(self, pixels: Float[Tensor, "b 3 H W"]) -> tuple[int, int]:
        height, width = pixels.shape[2:]
        require_whole_patches((height, width), self.patch_hw)
        built = tuple(self.vit.patch_embed.img_size)
        if not self.resizes and (height, width) != built:
            raise ConfigError(
                f"a view of {height}×{width} pixels; this backbone's positions are those of {built[0]}×{built[1]}, "
                "give the size when it is built"
            )
        return height // self.patch_hw[0], width // self.patch_hw[1]


def family_of(kind: type[TimmTransformer]) -> BackboneFamily:
    """A family's names and builder."""

    @cache
    def names() -> tuple[str, ...]:
        return tuple(name for module in kind.module for name in timm.list_models(module=module))

    def build(
        name: str, *, image_hw: tuple[int, int], weights: StartWeights, drop_path: float, args: ModelArgs
    ) -> TimmTransformer:
        return _build(kind, name, image_hw=image_hw, weights=weights, drop_path=drop_path, args=args)

    return BackboneFamily(names=names, build=build)


def _build(
    kind: type[TimmTransformer],
    name: str,
    *,
    image_hw: tuple[int, int],
    weights: StartWeights,
    drop_path: float,
    args: ModelArgs,
) -> TimmTransformer:
    require_architecture(args)
    settings: dict[str, Any] = {**args, "img_size": image_hw}
    if kind.resizes:
        settings["dynamic_img_size"] = True
    vit = create_timm(name, pretrained=weights == "pretrained", settings=settings)
    _require_walkable(kind, name, vit)
    require_whole_patches(image_hw, vit.patch_embed.patch_size)
    own = _classifier({f"head.{key}": tensor.detach().clone() for key, tensor in vit.head.state_dict().items()})
    vit.reset_classifier(0)
    if weights == "pretrained":
        return kind(vit, drop_path=drop_path, classifier=own)
    backbone = kind(vit, drop_path=drop_path)
    if weights is not None:
        tensors = read_tensors(weights)
        _load(backbone, tensors, source=str(weights))
        backbone.classifier = _classifier(tensors)
    return backbone


def _classifier(tensors: Mapping[str, Tensor]) -> Classifier | None:
    """That of a plain classifier; a second one beside it, for a distillation token, is not spoken of."""
    weight, bias = tensors.get("head.weight"), tensors.get("head.bias")
    if weight is None and bias is None:
        return None
    return Classifier(weight=weight if weight is not None and weight.ndim == 2 else None, bias=bias)


def _load(backbone: TimmTransformer, tensors: dict[str, Tensor], *, source: str) -> None:
    """Loads everything but the classifier; positions of another grid are resized, nothing else is."""
    vit = backbone.vit
    given, wanted = tensors.get("patch_embed.proj.weight"), vit.patch_embed.proj.weight
    if given is not None and given.shape != wanted.shape:  # timm would resample another patch size in silence.
        raise WeightsError(
            f"{source}: patch_embed.proj.weight is {tuple(given.shape)}, this backbone's is {tuple(wanted.shape)}; "
            "name the backbone that these weights belong to"
        )
    try:
        fitted = backbone.fit(dict(tensors))
    except (RuntimeError, ValueError, TypeError, LookupError, AssertionError, AttributeError) as fault:
        raise WeightsError(f"{source}: not weights of this Vision Transformer ({one_line(fault)})") from fault
    held = {key: tensor for key, tensor in fitted.items() if not key.startswith(_HEADS)}
    require_same_layout(held, vit.state_dict(), source=source)
    vit.load_state_dict(held)


def _require_walkable(kind: type[TimmTransformer], name: str, vit: Any) -> None:
    parts = [vit, *vit.blocks, *(getattr(block, "attn", None) for block in vit.blocks)]
    if foreign := next((part for part in parts if type(part) not in kind.classes), None):
        raise ConfigError(
            f"backbone {name!r} has {type(foreign).__name__} parts, which are not served; "
            "take another, such as deit_small_patch16_224 or vit_small_patch14_dinov2"
        )
