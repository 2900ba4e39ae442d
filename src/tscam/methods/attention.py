"""The class token's attention alone: a class-agnostic map, the same for every class."""

from jaxtyping import Float, Int
from torch import Tensor

from tscam.attention import attention_map
from tscam.features import Features, Record
from tscam.methods.base import Method, methods


@methods.register("attention")
class Attention(Method):
    """The map of every class is the attention map `A*`.

    Source:
        Gao et al., ICCV 2021, table 4 («TransAttention»): TS-CAM without the semantic map.
    """

    records = Record.CLASS_ATTENTION

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        assert features.class_attention is not None
        attention = attention_map(features.class_attention, grid=features.grid)
        return attention[:, None].expand(-1, classes.shape[1], -1, -1)
