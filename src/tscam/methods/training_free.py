"""The pretrained classifier's weights on patch tokens, coupled with attention: boxes without training."""

from jaxtyping import Float
from torch import Tensor

from tscam.backbones.features import Features, Record, Request
from tscam.methods.base import methods
from tscam.methods.ts_cam import TsCam


@methods.register("training-free")
class TrainingFree(TsCam):
    """TS-CAM whose semantic map is the classifier's weights applied to each patch token; scores are the classifier's.

    The classifier was trained on the class token (or on pooled patches), never on single patches: its maps are weaker
    than those of a trained head.

    Args:
        layers, heads, relu: as in `TsCam`.

    Source:
        Zhou et al., CVPR 2016, for the weights as a map; Gao et al., ICCV 2021, for the coupling.
    """

    training_requests = Request(records=Record.POOLED)
    fixed_head = "linear"

    def token_scores(self, features: Features) -> Float[Tensor, "b c"]:
        scores: Tensor = self.head(features.pooled)
        return scores
