"""BEiT of timm: a bias for each pair of places is added to the attention scores."""

from typing import Any

import torch
from jaxtyping import Float
from timm.models.beit import Attention, Beit, Block, checkpoint_filter_fn
from torch import Tensor
from torch.nn import functional as F

from tscam.backbones.base import backbone_families
from tscam.backbones.timm_transformer import TimmTransformer, family_of
from tscam.backbones.walk import Heads, heads_of


class BeitBackbone(TimmTransformer):
    """Biases by relative place, of each layer or shared by all; weights of another grid have them resized."""

    module = ("beit",)
    classes = (Beit, Block, Attention)
    resizes = False

    def fit(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
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
        query, key, value = heads_of(attn, F.linear(tokens, attn.qkv.weight, bias))
        own = None if attn.relative_position_bias_table is None else attn._get_rel_pos_bias()
        given = [of_pair for of_pair in (own, position) if of_pair is not None]
        places = torch.stack(given).sum(dim=0) if given else None
        return Heads(query=query, key=key, value=value, scale=attn.scale, bias=places)

    def _scaled(self, block: Any, number: int, branch: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        scale = block.gamma_1 if number == 1 else block.gamma_2
        return branch if scale is None else branch * scale


backbone_families.register("beit")(family_of(BeitBackbone))
