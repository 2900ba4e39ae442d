"""Any timm Vision Transformer with a class token, walked block by block with fused attention.

Knows nothing of methods: it computes the class token's attention row where it is asked to, from the q and k it has.
"""

import re
from functools import cache
from typing import Any, cast

import timm
import torch
from jaxtyping import Float
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer, checkpoint_filter_fn
from torch import Tensor
from torch.nn import functional as F

from tscam.backbones.base import Backbone, BackboneFamily, ModelArgs, StartWeights, backbone_families
from tscam.backbones.tensors import read_tensors, require_same_layout
from tscam.errors import ConfigError, WeightsError, one_line
from tscam.features import Features, Record

_DEEPEST = 200  # blocks; the deepest model of timm has 48

_MODULES = ("vision_transformer", "deit")  # timm's files whose models are walked here


# What timm takes beside an architecture: places of files, what is set here, and what would have no effect.
_NOT_ARCHITECTURE = frozenset(
    {
        "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "device", "dtype",
        "img_size", "dynamic_img_size", "in_chans", "num_classes", "drop_path_rate", "patch_drop_rate",
    }
)  # fmt: skip


class VisionTransformerBackbone(Backbone):
    """A timm Vision Transformer without its classifier.

    Its outputs are timm's to float rounding. Views of another size than the built one work: the position embeddings
    are resized to their grid.
    """

    serves = Record.CLASS_ATTENTION
    published_prefix = "vit."

    def __init__(
        self, vit: VisionTransformer, *, drop_path: float = 0.0, classifier_bias: Float[Tensor, " c"] | None = None
    ) -> None:
        super().__init__()
        self.vit = vit
        self.num_features = vit.num_features
        self.patch_hw = vit.patch_embed.patch_size
        depth = len(vit.blocks)
        rates = [drop_path * number / max(depth - 1, 1) for number in range(depth)]
        self.drop_rates = tuple(rate for rate in rates for _ in ("attention", "mlp"))
        self.num_layers = depth + 2
        self.undecayed = frozenset(f"vit.{name}" for name in vit.no_weight_decay())
        pretrained: Any = vit.pretrained_cfg
        self.mean, self.std = pretrained["mean"], pretrained["std"]
        self.classifier_bias = classifier_bias

    def forward(
        self, pixels: Float[Tensor, "b 3 H W"], *, records: Record, draws: Float[Tensor, "b branches"] | None = None
    ) -> Features:
        height, width = pixels.shape[2:]
        _require_whole_patches((height, width), self.patch_hw)
        vit: Any = self.vit  # whose blocks and norms are plain modules to a type checker
        rows = []
        tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(pixels)))
        for number, block in enumerate(vit.blocks):
            normed = block.norm1(tokens)
            query, key, value = _project(block.attn, normed)
            if Record.CLASS_ATTENTION in records:
                rows.append(_class_row(block.attn, query, key))
            attended = block.ls1(_attend(block.attn, normed, query, key, value))
            tokens = tokens + self._some(attended, draws, 2 * number)
            tokens = tokens + self._some(block.ls2(block.mlp(block.norm2(tokens))), draws, 2 * number + 1)
        # One of these two norms is the identity: some models norm after pooling.
        tokens = vit.fc_norm(vit.norm(tokens))
        return Features(
            patch_tokens=tokens[:, vit.num_prefix_tokens :].unflatten(
                1, (height // self.patch_hw[0], width // self.patch_hw[1])
            ),
            prefix_tokens=tokens[:, : vit.num_prefix_tokens],
            class_attention=torch.stack(rows) if rows else None,
        )

    def layer_of(self, parameter: str) -> int:
        block = re.match(r"vit\.blocks\.(\d+)\.", parameter)
        if block:
            return int(block[1]) + 1
        return self.num_layers - 1 if parameter.startswith(("vit.norm.", "vit.fc_norm.")) else 0

    def _some(
        self, branch: Float[Tensor, "b t d"], draws: Float[Tensor, "b branches"] | None, number: int
    ) -> Float[Tensor, "b t d"]:
        """The branch where a picture's draw keeps it, scaled so that the mean stays; nothing where it does not."""
        rate = self.drop_rates[number]
        if draws is None or rate == 0:
            return branch
        kept = (draws[:, number] >= rate).to(branch.dtype) / (1 - rate)
        return branch * kept[:, None, None]


def _project(
    attn: Attention, tokens: Float[Tensor, "b t d"]
) -> tuple[Float[Tensor, "b heads t e"], Float[Tensor, "b heads t e"], Float[Tensor, "b heads t e"]]:
    query, key, value = attn.qkv(tokens).unflatten(2, (3, attn.num_heads, attn.head_dim)).permute(2, 0, 3, 1, 4)
    return attn.q_norm(query), attn.k_norm(key), value


def _class_row(
    attn: Attention, query: Float[Tensor, "b heads t e"], key: Float[Tensor, "b heads t e"]
) -> Float[Tensor, "b heads t"]:
    """The softmax row of the first token, which is the class token: one row where the whole matrix has t."""
    # Multiplied and summed, not a matrix product: that would copy all keys first, which costs more than the row.
    return (query[:, :, :1] * attn.scale * key).sum(dim=-1).softmax(dim=-1)


def _attend(
    attn: Attention,
    tokens: Float[Tensor, "b t d"],
    query: Float[Tensor, "b heads t e"],
    key: Float[Tensor, "b heads t e"],
    value: Float[Tensor, "b heads t e"],
) -> Float[Tensor, "b t d"]:
    dropout = attn.attn_drop.p if attn.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=attn.scale)
    mixed = attn.norm(mixed.transpose(1, 2).flatten(2))
    if attn.gate is not None:
        mixed = mixed * attn.gate(tokens).sigmoid()
    projected: Tensor = attn.proj_drop(attn.proj(mixed))
    return projected


@cache
def _names() -> tuple[str, ...]:
    return tuple(name for module in _MODULES for name in timm.list_models(module=module))


def _build(
    name: str, *, image_hw: tuple[int, int], weights: StartWeights, drop_path: float, args: ModelArgs
) -> VisionTransformerBackbone:
    if foreign := sorted(_NOT_ARCHITECTURE & args.keys()):
        raise ConfigError(
            f"backbone argument {foreign[0]!r} does not change an architecture; such as embed_dim, depth, num_heads do"
        )
    depth = args.get("depth", 1)
    if not (isinstance(depth, int) and 1 <= depth <= _DEEPEST):
        raise ConfigError(f"backbone argument depth {depth!r}; expected a whole number from 1 to {_DEEPEST}")
    settings: dict[str, Any] = {**args, "img_size": image_hw, "dynamic_img_size": True}
    vit = _create(name, pretrained=weights == "pretrained", settings=settings)
    _require_whole_patches(image_hw, vit.patch_embed.patch_size)
    # The bias is asked for before the classifier goes: a head of as many classes starts from it.
    bias = getattr(vit.head, "bias", None)
    vit.reset_classifier(0)
    if weights is None:
        return VisionTransformerBackbone(vit, drop_path=drop_path)
    if weights == "pretrained":
        own = None if bias is None else bias.detach().clone()
        return VisionTransformerBackbone(vit, drop_path=drop_path, classifier_bias=own)
    tensors = read_tensors(weights)
    _load(vit, tensors, source=str(weights))
    return VisionTransformerBackbone(vit, drop_path=drop_path, classifier_bias=tensors.get("head.bias"))


def _create(name: str, *, pretrained: bool, settings: dict[str, Any]) -> VisionTransformer:
    try:
        vit: Any = timm.create_model(name, pretrained=pretrained, **settings)
    except TypeError as fault:
        raise ConfigError(f"backbone {name!r} does not take these arguments: {one_line(fault)}") from fault
    except (OSError, RuntimeError, ValueError, AssertionError, LookupError, ArithmeticError, AttributeError) as fault:
        if not pretrained:
            raise ConfigError(f"backbone {name!r} cannot be built so: {one_line(fault)}") from fault
        raise WeightsError(
            f"pretrained weights of {name!r} cannot be had ({one_line(fault)}); "
            "give a file with --weights FILE, or --weights none to start from random ones"
        ) from fault
    _require_walkable(name, vit)
    return cast("VisionTransformer", vit)


def _load(vit: VisionTransformer, tensors: dict[str, Tensor], *, source: str) -> None:
    """Loads everything but the classifier; position embeddings of another grid are resized, nothing else is."""
    given, wanted = tensors.get("patch_embed.proj.weight"), vit.patch_embed.proj.weight
    if given is not None and given.shape != wanted.shape:  # timm would resample another patch size in silence.
        raise WeightsError(
            f"{source}: patch_embed.proj.weight is {tuple(given.shape)}, this backbone's is {tuple(wanted.shape)}; "
            "name the backbone that these weights belong to"
        )
    try:
        fitted = checkpoint_filter_fn(dict(tensors), vit)
    except (RuntimeError, ValueError, TypeError, LookupError, AssertionError, AttributeError) as fault:
        raise WeightsError(f"{source}: not weights of this Vision Transformer ({one_line(fault)})") from fault
    held = {key: tensor for key, tensor in fitted.items() if not key.startswith(("head.", "head_dist."))}
    require_same_layout(held, vit.state_dict(), source=source)
    vit.load_state_dict(held)


def _require_walkable(name: str, vit: Any) -> None:
    if not isinstance(vit, VisionTransformer) or any(
        type(block) is not Block or type(block.attn) is not Attention for block in vit.blocks
    ):
        raise ConfigError(
            f"backbone {name!r} has blocks or attention of another kind than the plain Vision Transformer's, "
            "which alone are served; take a deit_* or vit_*_patch* model"
        )
    if vit.cls_token is None:
        raise ConfigError(
            f"backbone {name!r} has no class token, and the class token's attention is what localizes; "
            "take one that has it, such as deit_small_patch16_224 or vit_small_patch14_dinov2"
        )


def _require_whole_patches(image_hw: tuple[int, int], patch_hw: tuple[int, int]) -> None:
    for side, patch in zip(image_hw, patch_hw, strict=True):
        if side < patch or side % patch:
            below = side // patch * patch
            near = f"{below} or {below + patch}" if below else f"{patch}"
            raise ConfigError(f"image size {side} is not a multiple of the patch, {patch} pixels; take {near}")


backbone_families.register("vit")(BackboneFamily(names=_names, build=_build))
