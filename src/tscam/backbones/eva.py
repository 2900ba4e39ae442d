"""Vision Transformers of timm's EVA file: EVA, EVA-02, DINOv3 and others with rotary positions."""

from typing import Any

import torch
from jaxtyping import Float
from timm.layers.attention import AttentionRope
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock, checkpoint_filter_fn
from torch import Tensor
from torch.nn import functional as F

from tscam.backbones.base import backbone_families
from tscam.backbones.timm_transformer import TimmTransformer, family_of
from tscam.backbones.walk import Heads, heads_of


class EvaBackbone(TimmTransformer):
    """Queries and keys of the patches are turned by their places; views of another size have turns of their own."""

    module = ("eva",)
    classes = (Eva, EvaBlock, EvaAttention, AttentionRope)

    def fit(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return checkpoint_filter_fn(tensors, self.vit)

    def _embed(self, pixels: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b t d"], list[Tensor | None]]:
        vit = self.vit
        tokens, turns = vit._pos_embed(vit.patch_embed(pixels))
        by_block = list(turns) if getattr(vit, "rope_mixed", False) else [turns] * len(vit.blocks)
        return vit.norm_pre(tokens), by_block

    def _heads(self, attn: Any, tokens: Float[Tensor, "b t d"], position: Tensor | None) -> Heads:
        query, key, value = _projected(attn, tokens)
        query, key = attn.q_norm(query), attn.k_norm(key)
        if position is not None:
            prefix, half = attn.num_prefix_tokens, attn.rotate_half
            query, key = (
                torch.cat([of[:, :, :prefix], apply_rot_embed_cat(of[:, :, prefix:], position, half=half)], dim=2).to(
                    value.dtype
                )
                for of in (query, key)
            )
        groups = attn.num_heads // key.shape[1]
        if groups > 1:  # several heads of queries share keys and values
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        return Heads(query=query, key=key, value=value, scale=attn.scale)

    def _scaled(self, block: Any, number: int, branch: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        scale = block.gamma_1 if number == 1 else block.gamma_2
        return branch if scale is None else branch * scale


def _projected(attn: Any, tokens: Float[Tensor, "b t d"]) -> tuple[Tensor, Tensor, Tensor]:
    if attn.qkv is None:
        separate = (attn.q_proj(tokens), attn.k_proj(tokens), attn.v_proj(tokens))
        query, key, value = (of.unflatten(2, (-1, attn.head_dim)).transpose(1, 2) for of in separate)
        return query, key, value
    if getattr(attn, "q_bias", None) is None:
        return heads_of(attn, attn.qkv(tokens))
    return heads_of(attn, F.linear(tokens, attn.qkv.weight, torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))))


backbone_families.register("eva")(family_of(EvaBackbone))
