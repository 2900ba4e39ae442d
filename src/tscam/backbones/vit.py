"""The plain Vision Transformer of timm: ViT, DeiT, DeiT III, DINO, DINOv2, CLIP and SigLIP image encoders."""

from typing import Any

from jaxtyping import Float
from timm.layers.attention import Attention
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Block, VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from tscam.backbones.base import backbone_families
from tscam.backbones.timm_transformer import TimmTransformer, timm_family
from tscam.backbones.walk import Heads, split_heads


class VisionTransformerBackbone(TimmTransformer):
    """Learned position embeddings, added to the patches; they are resized for views of another size."""

    timm_modules = ("vision_transformer", "deit")
    supported_parts = (VisionTransformer, VisionTransformerDistilled, Block, Attention)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return checkpoint_filter_fn(tensors, self.vit)

    def _embed(self, pixels: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b t d"], list[Tensor | None]]:
        vit = self.vit
        return vit.norm_pre(vit._pos_embed(vit.patch_embed(pixels))), [None] * len(vit.blocks)

    def _heads(self, attn: Any, tokens: Float[Tensor, "b t d"], position: Tensor | None) -> Heads:  # noqa: ARG002
        query, key, value = split_heads(attn, attn.qkv(tokens))
        return Heads(query=attn.q_norm(query), key=attn.k_norm(key), value=value, scale=attn.scale)

    def _layer_scale(self, block: Any, branch: Float[Tensor, "b t d"], *, number: int) -> Float[Tensor, "b t d"]:
        scaled: Tensor = (block.ls1 if number == 1 else block.ls2)(branch)
        return scaled


backbone_families.register("vit")(timm_family(VisionTransformerBackbone))
