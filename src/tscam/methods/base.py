"""What a method is: features → logits and maps, and the registry of methods. One idea, one file."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tscam.features import Features, Record
from tscam.methods.head import PatchHead
from tscam.registry import Registry


class Method(nn.Module):
    """Features → class scores and raw localization maps.

    Unless a method says otherwise it has one head, TS-CAM's, and its scores are that head's mean over the grid; then
    `maps` is all there is to write. Parameters are called as in published weights (`head.weight`).
    """

    records: ClassVar[Record]  # what `maps` needs the backbone to keep
    training_records: ClassVar[Record] = Record.NOTHING  # the same for `logits` and `loss` while training

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.head = PatchHead(num_features, num_classes)

    def logits(self, features: Features) -> Float[Tensor, "b c"]:
        """Score of each class."""
        return self.head.pooled(features.patch_tokens)

    def loss(
        self, logits: Float[Tensor, "b c"], labels: Int[Tensor, " b"], *, label_smoothing: float = 0.0
    ) -> Float[Tensor, ""]:
        """What training lowers: the mean cross-entropy over the batch.

        Args:
            label_smoothing: share of the target that is spread over all classes.
        """
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        """Raw maps of the chosen classes of each picture, on the patch grid."""
        raise NotImplementedError

    def start_from(self, classifier_bias: Float[Tensor, " n"]) -> None:
        """Takes over the bias of the backbone's own classifier where it has as many classes.

        Source:
            The released TS-CAM code: all weights of fitting name and shape are loaded, and this one fits.
        """
        bias = self.head.bias
        if bias is not None and bias.shape == classifier_bias.shape:
            with torch.no_grad():
                bias.copy_(classifier_bias)


methods: Registry[type[Method]] = Registry("method")
