"""A timm Vision Transformer of any family: its pass block by block with fused attention, its building and loading.

Each family's file has what differs: position embeddings, projections, layer scale.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import timm
from jaxtyping import Float
from torch import Tensor

from tscam.backbones.base import Backbone, BackboneFamily, Classifier, StartWeights
from tscam.backbones.creation import create_timm
from tscam.backbones.features import Features, Record, Request
from tscam.backbones.tensors import load_start_tensors, read_start_tensors
from tscam.backbones.walk import Heads, Walk, block_drop_rates, require_whole_patches
from tscam.bounds import require_architecture
from tscam.errors import ConfigError, WeightsError, one_line
from tscam.registry import ModelArgs
from tscam.weights.layouts import distilled_backbone


class TimmTransformer(Backbone):
    """A timm Vision Transformer without its classifier. Its outputs equal timm's to float rounding.

    A family sets the class attributes and writes `adapt_weights`, `_embed`, `_heads` and `_layer_scale`.

    Attributes:
        timm_modules: timm's modules whose models belong to the family.
        supported_parts: classes of models, blocks and attention layers whose computation is the family's.
        accepts_any_size: True if it takes views of other sizes than the one it was built for.
    """

    published_prefix = "vit."

    timm_modules: ClassVar[tuple[str, ...]]
    supported_parts: ClassVar[tuple[type, ...]]
    accepts_any_size: ClassVar[bool] = True

    def __init__(self, vit: Any, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.vit = vit
        self.supports = Record.POOLED | Record.GRADIENT
        if vit.cls_token is not None:
            self.supports |= Record.CLASS_ATTENTION | Record.ATTENTION
        self.num_features = vit.num_features
        self.patch_hw = vit.patch_embed.patch_size
        self.num_blocks = depth = len(vit.blocks)
        self.num_heads = vit.blocks[0].attn.num_heads
        self.drop_rates = block_drop_rates(drop_path, depth=depth)
        self.num_layers = depth + 2
        self.no_weight_decay = frozenset(f"vit.{name}" for name in vit.no_weight_decay())
        self.mean, self.std = vit.pretrained_cfg["mean"], vit.pretrained_cfg["std"]

    def forward(self, pixels: Float[Tensor, "b 3 H W"], request: Request) -> Features:
        grid, last = self._grid(pixels), self.num_blocks - 1
        vit: Any = self.vit  # mypy takes its attributes for plain modules
        walk = Walk(request, num_blocks=self.num_blocks, drop_rates=self.drop_rates)
        with walk.before_leaf():
            tokens, positions = self._embed(pixels)
            for index in range(last):
                tokens = self._block(tokens, walk, index=index, position=positions[index])
        tokens = vit.norm(self._block(tokens, walk, index=last, position=positions[last]))
        pooled = vit.forward_head(tokens, pre_logits=True) if walk.requests(Record.POOLED) else None
        tokens = vit.fc_norm(tokens)  # One of both norms is the identity: some models norm after pooling.
        prefix = vit.num_prefix_tokens
        patches = tokens[:, prefix:].unflatten(1, grid)
        return walk.features(patch_tokens=patches, prefix_tokens=tokens[:, :prefix], pooled=pooled)

    def _block(
        self, tokens: Float[Tensor, "b t d"], walk: Walk, *, index: int, position: Tensor | None
    ) -> Float[Tensor, "b t d"]:
        block: Any = self.vit.blocks[index]
        normed = walk.enter_attention(block.norm1(tokens), block=index)
        attended = walk.attend(block.attn, normed, self._heads(block.attn, normed, position))
        tokens = tokens + walk.drop_path(self._layer_scale(block, attended, number=1), index=2 * index)
        expanded = block.mlp(block.norm2(tokens))
        return tokens + walk.drop_path(self._layer_scale(block, expanded, number=2), index=2 * index + 1)

    def layer_index(self, parameter: str) -> int:
        block = re.match(r"vit\.blocks\.(\d+)\.", parameter)
        if block:
            return int(block[1]) + 1
        return self.num_layers - 1 if parameter.startswith(("vit.norm.", "vit.fc_norm.", "vit.attn_pool.")) else 0

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights under timm's names, position embeddings resized to the grid, as timm does it."""
        raise NotImplementedError

    def _embed(self, pixels: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b t d"], list[Tensor | None]]:
        """Return the tokens that enter the first block, and the position term of each block's attention."""
        raise NotImplementedError

    def _heads(self, attn: Any, tokens: Float[Tensor, "b t d"], position: Tensor | None) -> Heads:
        """Return the projections of an attention layer."""
        raise NotImplementedError

    def _layer_scale(self, block: Any, branch: Float[Tensor, "b t d"], *, number: int) -> Float[Tensor, "b t d"]:
        """Return a branch of a block times its layer scale; number 1 is attention, 2 the MLP."""
        raise NotImplementedError

    def _grid(self, pixels: Float[Tensor, "b 3 H W"]) -> tuple[int, int]:
        height, width = pixels.shape[2:]
        require_whole_patches((height, width), self.patch_hw)
        built_hw = tuple(self.vit.patch_embed.img_size)
        if not self.accepts_any_size and (height, width) != built_hw:
            raise ConfigError(
                f"a view of {height}×{width} pixels; this backbone was built for {built_hw[0]}×{built_hw[1]} and takes "
                "no other size; build it with the image size of the view"
            )
        return height // self.patch_hw[0], width // self.patch_hw[1]


def timm_family(backbone_class: type[TimmTransformer]) -> BackboneFamily:
    """Return the family of a class: the names of its timm models, and their builder."""

    @cache
    def names() -> tuple[str, ...]:
        return tuple(name for module in backbone_class.timm_modules for name in timm.list_models(module=module))

    def build(
        name: str, *, image_hw: tuple[int, int], weights: StartWeights, drop_path: float, args: ModelArgs
    ) -> TimmTransformer:
        return _build(backbone_class, name, image_hw=image_hw, weights=weights, drop_path=drop_path, args=args)

    return BackboneFamily(names=names, build=build)


def _build(
    backbone_class: type[TimmTransformer],
    name: str,
    *,
    image_hw: tuple[int, int],
    weights: StartWeights,
    drop_path: float,
    args: ModelArgs,
) -> TimmTransformer:
    require_architecture(args)
    settings: dict[str, Any] = {**args, "img_size": image_hw}
    if backbone_class.accepts_any_size:
        settings["dynamic_img_size"] = True
    vit = create_timm(name, pretrained=weights == "pretrained", settings=settings)
    _require_supported_parts(backbone_class, name, vit)
    require_whole_patches(image_hw, vit.patch_embed.patch_size)
    classifier = _classifier({f"head.{key}": tensor.detach().clone() for key, tensor in vit.head.state_dict().items()})
    vit.reset_classifier(0)
    backbone = backbone_class(vit, drop_path=drop_path)
    if weights == "pretrained":
        backbone.classifier = classifier
    elif weights is not None:
        _load(backbone, weights)
    return backbone


def _classifier(tensors: Mapping[str, Tensor]) -> Classifier | None:
    """Return the classifier `head`; the second one of a distillation token is ignored."""
    weight, bias = tensors.get("head.weight"), tensors.get("head.bias")
    if weight is None and bias is None:
        return None
    return Classifier(weight=weight if weight is not None and weight.ndim == 2 else None, bias=bias)


def _load(backbone: TimmTransformer, path: Path) -> None:
    """Load everything but the classifier; position embeddings of another grid are resized, nothing else is."""
    source, expected = str(path), backbone.vit.state_dict().keys()
    start = read_start_tensors(path, expected=expected)
    tensors = start.tensors
    weight, own_weight = tensors.get("patch_embed.proj.weight"), backbone.vit.patch_embed.proj.weight
    if weight is not None and weight.shape != own_weight.shape:  # timm would resample another patch size silently
        raise WeightsError(
            f"{source}: patch_embed.proj.weight is {tuple(weight.shape)}, this backbone's is "
            f"{tuple(own_weight.shape)}; name the backbone that these weights belong to"
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if "dist_token" not in expected and (distilled := distilled_backbone(shapes)):
        raise WeightsError(f"{source}: weights of a distilled model; take --backbone {distilled}")
    if "fc_norm.weight" in tensors and "fc_norm.weight" not in expected:
        raise WeightsError(
            f"{source}: weights of a model that pools its patches (fc_norm in place of norm); "
            """add --backbone-args '{"global_pool": "avg"}'"""
        )
    try:
        adapted = backbone.adapt_weights(dict(tensors))
    except (RuntimeError, ValueError, TypeError, LookupError, AssertionError, AttributeError) as fault:
        raise WeightsError(f"{source}: not weights of this Vision Transformer ({one_line(fault)})") from fault
    layers = load_start_tensors(backbone.vit, adapted, source=source)
    backbone.classifier = _classifier(tensors)
    backbone.start_note = start.note(source, heads=layers)


def _require_supported_parts(backbone_class: type[TimmTransformer], name: str, vit: Any) -> None:
    parts = [vit, *vit.blocks, *(getattr(block, "attn", None) for block in vit.blocks)]
    if unsupported := next((part for part in parts if type(part) not in backbone_class.supported_parts), None):
        raise ConfigError(
            f"backbone {name!r} has {type(unsupported).__name__} parts, which are not supported; "
            "use another one, such as deit_small_patch16_224 or vit_small_patch14_dinov2"
        )
