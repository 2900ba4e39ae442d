"""TS-CAM: the semantic map of a class, coupled with the class token's attention."""

from jaxtyping import Float, Int
from torch import Tensor

from tscam.attention import attention_map
from tscam.features import Features, Record
from tscam.methods.base import Method, methods


def couple(semantic_maps: Float[Tensor, "b k h w"], attention: Float[Tensor, "b h w"]) -> Float[Tensor, "b k h w"]:
    """Each class's semantic map times the same attention map, place by place.

    Source:
        Gao et al., ICCV 2021, equation 8.
    """
    return semantic_maps * attention[:, None]


@methods.register("ts-cam")
class TsCam(Method):
    """The map of a class is `M_c = A* ∘ S_c`: attention map times semantic map, raw.

    Source:
        Gao et al., ICCV 2021. No ReLU on the semantic map, as in the released code.
    """

    records = Record.CLASS_ATTENTION

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        assert features.class_attention is not None
        semantic_maps = self.head.maps(features.patch_tokens, classes)
        return couple(semantic_maps, attention_map(features.class_attention, grid=features.grid))
