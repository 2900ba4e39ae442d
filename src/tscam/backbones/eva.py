"""Vision Transformers of timm's EVA file: EVA, EVA-02, DINOv3 and others with rotary position embeddings."""

from typing import Any

import torch
from jaxtyping import Float
from timm.layers.attention import AttentionRope
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock, checkpoint_filter_fn
from torch import Tensor
from torch.nn import functional as F

from tscam.backbones.base import backbone_families
from tscam.backbones.timm_transformer import TimmTransformer, timm_family
from tscam.backbones.walk import Heads, split_heads


class EvaBackbone(TimmTransformer):
    """Rotary position embeddings: queries and keys of patches are rotated, by angles for the size of the view."""

    timm_modules = ("eva",)
    supported_parts = (Eva, EvaBlock, EvaAttention, AttentionRope)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return checkpoint_filter_fn(tensors, self.vit)

    def _embed(self, pixels: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b t d"], list[Tensor | None]]:
        vit = self.vit
        tokens, rotations = vit._pos_embed(vit.patch_embed(pixels))
        is_per_block = getattr(vit, "rope_mixed", False)
        return vit.norm_pre(tokens), list(rotations) if is_per_block else [rotations] * len(vit.blocks)

    def _heads(self, attn: Any, tokens: Float[Tensor, "b t d"], position: Tensor | None) -> Heads:
        query, key, value = _projected(attn, tokens)
        query, key = attn.q_norm(query), attn.k_norm(key)
        if position is not None:
            query, key = (_rotated(attn, projection, position).to(value.dtype) for projection in (query, key))
        groups = attn.num_heads // key.shape[1]
        if groups > 1:  # several heads of queries share keys and values
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        return Heads(query=query, key=key, value=value, scale=attn.scale)

    def _layer_scale(self, block: Any, branch: Float[Tensor, "b t d"], *, number: int) -> Float[Tensor, "b t d"]:
        scale = block.gamma_1 if number == 1 else block.gamma_2
        return branch if scale is None else branch * scale


def _rotated(attn: Any, projection: Float[Tensor, "b heads t e"], position: Tensor) -> Float[Tensor, "b heads t e"]:
    """Queries or keys, those of patches rotated."""
    prefix, patches = projection.split([attn.num_prefix_tokens, projection.shape[2] - attn.num_prefix_tokens], dim=2)
    return torch.cat([prefix, apply_rot_embed_cat(patches, position, half=attn.rotate_half)], dim=2)


def _projected(attn: Any, tokens: Float[Tensor, "b t d"]) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value `[b heads t e]` of an attention layer."""
    if attn.qkv is None:
        projections = (attn.q_proj(tokens), attn.k_proj(tokens), attn.v_proj(tokens))
        query, key, value = (each.unflatten(2, (-1, attn.head_dim)).transpose(1, 2) for each in projections)
        return query, key, value
    if getattr(attn, "q_bias", None) is None:
        return split_heads(attn, attn.qkv(tokens))
    return split_heads(attn, F.linear(tokens, attn.qkv.weight, torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))))


backbone_families.register("eva")(timm_family(EvaBackbone))
