"""A method's request to a backbone, and the backbone's answer: tokens on a grid, and the requested records."""

from dataclasses import dataclass
from enum import Flag, auto

from jaxtyping import Float
from torch import Tensor


class Record(Flag):
    """Intermediate results of a backbone. Only what is requested is computed."""

    NOTHING = 0
    CLASS_ATTENTION = auto()  # the class token's softmax rows
    ATTENTION = auto()  # the whole softmax matrices, averaged over heads
    POOLED = auto()  # the input of the backbone's own classifier
    GRADIENT = auto()  # the last layer's patches, as the leaf of a graph that leads to the patch tokens


@dataclass(frozen=True, kw_only=True)
class Request:
    """Records that one pass through a backbone returns, and residual branches that it drops.

    Attributes:
        records: results to return beside the tokens.
        draws: uniform numbers in [0, 1) for stochastic depth: a picture's residual branch is dropped if its number is
            below the branch's rate. The caller draws them, so that training depends on no generator's state. None
            drops nothing.

    Source:
        Huang et al., ECCV 2016; a branch that is kept is divided by its probability, as in timm.
    """

    records: Record = Record.NOTHING
    draws: Float[Tensor, "b branches"] | None = None

    def __or__(self, other: "Request") -> "Request":
        """A request for the records of both; the draws are this one's, or else the other's."""
        draws = other.draws if self.draws is None else self.draws
        return Request(records=self.records | other.records, draws=draws)

    @property
    def needs_gradient(self) -> bool:
        """True if maps are computed from gradients, so that the pass must build a graph."""
        return Record.GRADIENT in self.records


@dataclass(frozen=True, kw_only=True)
class Features:
    """A backbone's outputs for a batch of views. None stands for what was not requested.

    Attributes:
        patch_tokens: outputs of the patches after the last norm, on the patch grid, channels last.
        prefix_tokens: outputs of all other tokens (class token first, then distillation token or registers).
        class_attention: for each layer and head the softmax row of the class token over all t = p + h·w tokens, the
            prefix tokens first.
        attention: for each layer the softmax matrix over all tokens, averaged over its heads; a row is a query.
        pooled: the input of the backbone's own classifier, one vector a picture.
        branch: the same of the convolutional branch of a backbone with two branches, which always returns it.
        leaf: the tensor whose gradients are taken: all tokens as they enter the attention of the last block, or, in a
            CNN, the last map as h·w patches.
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
