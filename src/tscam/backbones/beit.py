"""BEiT of timm: relative position biases are added to the attention scores."""

from typing import Any

import torch
from jaxtyping import Float
from timm.models.beit import Attention, Beit, Block, checkpoint_filter_fn
from torch import Tensor
from torch.nn import functional as F

from tscam.backbones.base import backbone_families
from tscam.backbones.timm_transformer import TimmTransformer, timm_family
from tscam.backbones.walk import Heads, split_heads


class BeitBackbone(TimmTransformer):
    """Relative position biases, one table a layer or one for all; they are resized for weights of another grid."""

    timm_modules = ("beit",)
    supported_parts = (Beit, Block, Attention)
    accepts_any_size = False

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return checkpoint_filter_fn(tensors, self.vit)

    def _embed(self, pixels: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b t d"], list[Tensor | None]]:
        vit = self.vit
        patches = vit.patch_embed(pixels)
        tokens = torch.cat([vit.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        if vit.pos_embed is not None:
            tokens = tokens + vit.pos_embed
        shared = None if vit.rel_pos_bias is None else vit.rel_pos_bias()[None]
        return vit.pos_drop(tokens), [shared] * len(vit.blocks)

    def _heads(self, attn: Any, tokens: Float[Tensor, "b t d"], position: Tensor | None) -> Heads:
        bias = None if attn.q_bias is None else torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
        query, key, value = split_heads(attn, F.linear(tokens, attn.qkv.weight, bias))
        layer_bias = None if attn.relative_position_bias_table is None else attn._get_rel_pos_bias()
        biases = [pair_bias for pair_bias in (layer_bias, position) if pair_bias is not None]
        position_bias = torch.stack(biases).sum(dim=0) if biases else None
        return Heads(query=query, key=key, value=value, scale=attn.scale, bias=position_bias)

    def _layer_scale(self, block: Any, branch: Float[Tensor, "b t d"], *, number: int) -> Float[Tensor, "b t d"]:
        scale = block.gamma_1 if number == 1 else block.gamma_2
        return branch if scale is None else branch * scale


backbone_families.register("beit")(timm_family(BeitBackbone))
