"""CAM on patch tokens: the semantic map, without coupling."""

from jaxtyping import Float, Int
from torch import Tensor

from tscam.backbones.features import Features
from tscam.methods.base import Method, methods


@methods.register("cam")
class Cam(Method):
    """The map of a class is its semantic map `S_c`.

    Source:
        Gao et al., ICCV 2021, table 4 («TransCAM»): TS-CAM without the attention map.
    """

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        return self.head.maps(features.patch_tokens, classes)
