"""TS-CAM: the semantic map of a class, coupled with the class token's attention."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from tscam.backbones.base import Backbone
from tscam.backbones.features import Features
from tscam.errors import ConfigError, quoted
from tscam.methods.attention import Attention
from tscam.methods.base import methods


def couple(semantic_maps: Float[Tensor, "b k h w"], attention: Float[Tensor, "b h w"]) -> Float[Tensor, "b k h w"]:
    """Multiply each class's semantic map, patch by patch, by the same attention map.

    Source:
        Gao et al., ICCV 2021, equation 8.
    """
    return semantic_maps * attention[:, None]


@methods.register("ts-cam")
class TsCam(Attention):
    """The map of a class is `M_c = A* ∘ S_c`: attention map times semantic map, raw.

    Args:
        layers, heads: as in `Attention`.
        relu: set negative values of the semantic map to 0 before coupling; off by default, as published.

    Source:
        Gao et al., ICCV 2021. No ReLU on the semantic map, as in the released code.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        layers: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(backbone, num_classes, layers=layers, heads=heads)
        if not isinstance(relu, bool):
            raise ConfigError(f"relu {quoted(relu)}; expected true or false")
        self.relu = relu

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        semantic_maps = self.head.maps(features.patch_tokens, classes)
        if self.relu:
            semantic_maps = semantic_maps.relu()
        return couple(semantic_maps, self.attention_map(features))
