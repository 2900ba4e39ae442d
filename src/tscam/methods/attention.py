"""The class token's attention alone: a class-agnostic map, the same for every class."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from tscam.backbones.base import Backbone
from tscam.backbones.features import Features, Record, Request
from tscam.errors import ConfigError, quoted
from tscam.methods.attention_maps import attention_map
from tscam.methods.base import Method, methods


@methods.register("attention")
class Attention(Method):
    """The map of every class is the attention map `A*`.

    Args:
        layers, heads: indices from 0 of the layers that are summed and of the heads that are averaged; all by default,
            as published.

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
        self.layers = _checked_indices("layers", layers, count=backbone.num_blocks)
        self.heads = _checked_indices("heads", heads, count=backbone.num_heads)

    def attention_map(self, features: Features) -> Float[Tensor, "b h w"]:
        """Return the attention map of the chosen layers and heads."""
        assert features.class_attention is not None
        return attention_map(features.class_attention, grid=features.grid, layers=self.layers, heads=self.heads)

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        return self.attention_map(features)[:, None].expand(-1, classes.shape[1], -1, -1)


def _checked_indices(option: str, indices: object, *, count: int) -> tuple[int, ...] | None:
    """Return the indices of an option; refuse all but different integers from 0 to `count` - 1."""
    if indices is None:
        return None
    value = list(indices) if isinstance(indices, Sequence) and not isinstance(indices, str) else indices
    chosen = tuple(value) if isinstance(value, list) else ()
    are_in_range = all(type(index) is int and 0 <= index < count for index in chosen)
    if not chosen or not are_in_range or len(set(chosen)) < len(chosen):
        raise ConfigError(
            f"{option} {quoted(value)}; expected a list of different integers from 0 to {count - 1}, "
            f"such as [{count - 1}]"
        )
    return chosen
