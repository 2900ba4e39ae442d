"""What a backbone hands to a method: tokens on a grid, and the attention that was asked for."""

from dataclasses import dataclass
from enum import Flag, auto

from jaxtyping import Float
from torch import Tensor


class Record(Flag):
    """What a method asks a backbone to keep on its way through the blocks. What is not asked for is not computed."""

    NOTHING = 0
    CLASS_ATTENTION = auto()


@dataclass(frozen=True, kw_only=True)
class Features:
    """A backbone's view of a batch of pictures.

    Attributes:
        patch_tokens: outputs of the patches after the last norm, on the patch grid, channels last.
        prefix_tokens: outputs of all other tokens (class token first, then distillation token or registers).
        class_attention: for each layer and head the softmax row of the class token over all t = p + h·w tokens, the
            prefix tokens first; None unless `Record.CLASS_ATTENTION` was asked for.
    """

    patch_tokens: Float[Tensor, "b h w d"]
    prefix_tokens: Float[Tensor, "b p d"]
    class_attention: Float[Tensor, "l b heads t"] | None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.patch_tokens.shape[1], self.patch_tokens.shape[2]
