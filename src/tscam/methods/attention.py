"""The class token's attention alone: a class-agnostic map, the same for every class."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from tscam.backbones.base import Backbone
from tscam.backbones.features import Features, Record, Request
from tscam.errors import ConfigError
from tscam.methods.attention_maps import attention_map
from tscam.methods.base import Method, methods


@methods.register("attention")
class Attention(Method):
    """The map of every class is the attention map `A*`.

    Args:
        layers, heads: indices from 0 of those that are summed and averaged; all as published, where not given.

    Source:
        Gao et al., ICCV 2021, table 4 («TransAttention»): TS-CAM without the semantic map.
    """

    requests = Request(records=Record.CLASS_ATTENTION)

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        layers: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
    ) -> None:
        super().__init__(backbone, num_classes)
        self.layers = _chosen("layers", layers, backbone.num_blocks)
        self.heads = _chosen("heads", heads, backbone.num_heads)

    def attention_map(self, features: Features) -> Float[Tensor, "b h w"]:
        """The attention map of the chosen layers and heads."""
        assert features.class_attention is not None
        return attention_map(features.class_attention, grid=features.grid, layers=self.layers, heads=self.heads)

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        return self.attention_map(features)[:, None].expand(-1, classes.shape[1], -1, -1)


def _chosen(what: str, indices: object, count: int) -> tuple[int, ...] | None:
    if indices is None:
        return None
    given = list(indices) if isinstance(indices, Sequence) and not isinstance(indices, str) else indices
    chosen = tuple(given) if isinstance(given, list) else ()
    right = all(type(index) is int and 0 <= index < count for index in chosen)
    if not chosen or not right or len(set(chosen)) < len(chosen):
        raise ConfigError(
            f"{what} {given!r}; expected a list of unlike whole numbers from 0 to {count - 1}, such as [{count - 1}]"
        )
    return chosen
