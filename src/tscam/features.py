"""What a backbone hands to a method: tokens on a grid, and what else was asked for."""

from dataclasses import dataclass
from enum import Flag, auto

from jaxtyping import Float
from torch import Tensor


class Record(Flag):
    """What a method asks a backbone to keep on its way through the blocks. What is not asked for is not computed."""

    NOTHING = 0
    CLASS_ATTENTION = auto()  # the class token's softmax rows
    ATTENTION = auto()  # the whole softmax matrices, averaged over heads
    POOLED = auto()  # what the backbone's own classifier reads
    GRADIENT = auto()  # the last layer's patches, as the leaf of a graph that goes on to the patch tokens


@dataclass(frozen=True, kw_only=True)
class Features:
    """A backbone's view of a batch of pictures. What is None was not asked for.

    Attributes:
        patch_tokens: outputs of the patches after the last norm, on the patch grid, channels last.
        prefix_tokens: outputs of all other tokens (class token first, then distillation token or registers).
        class_attention: for each layer and head the softmax row of the class token over all t = p + h·w tokens, the
            prefix tokens first.
        attention: for each layer the softmax matrix over all tokens, averaged over its heads; a row is a query.
        pooled: the picture as a whole, as the backbone's own classifier reads it.
        branch: the same for the convolutional branch of a backbone of two; such a backbone always gives it.
        leaf: what gradients are taken of: all tokens as they enter the attention of the last block, or, without
            tokens, the last map of the convolutions as h·w patches.
    """

    patch_tokens: Float[Tensor, "b h w d"]
    prefix_tokens: Float[Tensor, "b p d"]
    class_attention: Float[Tensor, "l b heads t"] | None = None
    attention: Float[Tensor, "l b t t"] | None = None
    pooled: Float[Tensor, "b d"] | None = None
    branch: Float[Tensor, "b e"] | None = None
    leaf: Float[Tensor, "b t f"] | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.patch_tokens.shape[1], self.patch_tokens.shape[2]
