"""A light head that tells object from background on each patch, trained without any label; it knows no classes."""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tscam.backbones.base import Backbone, Classifier
from tscam.backbones.features import Features, Record, Request
from tscam.methods.attention_maps import attention_map
from tscam.methods.base import Method, methods

# Blocks whose attention is the target: the last ones, in which the class token attends to objects.
_TARGET_BLOCKS = 4


class ForegroundHead(nn.Linear):
    """One linear layer on each patch token; its channels are standardized by statistics of the training pictures.

    It starts at zero. `mean` and `std` are buffers, so that they are stored with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, 1)
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("std", torch.ones(num_features))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w"]:
        """Logit of each patch: above 0 it is more likely object than background."""
        logits: Tensor = super().forward((tokens - self.mean) / self.std)
        return logits[..., 0]


class ObjectnessHead(nn.Module):
    """One linear layer on the class token: the logit that there is an object at all.

    Its weights are buffers: the loss does not train them. They are zero unless a model brings its own.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(num_features))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, class_tokens: Float[Tensor, "b d"]) -> Float[Tensor, "b 1"]:
        return (class_tokens @ self.weight + self.bias)[:, None]


@methods.register("foreground")
class Foreground(Method):
    """The map is the probability that a patch belongs to an object, `σ(w · (x - mean) / std + b)` of its token.

    The target of training is a mask from the frozen backbone's own attention; class labels are not used.

    Source:
        A study for this package; the nearest published idea is FOUND (Siméoni et al., CVPR 2023). Trained on other
        classes and other pictures it finds objects as well as on its own: docs/results.md.
    """

    training_requests = Request(records=Record.CLASS_ATTENTION)
    fixed_head = "foreground"
    has_classifier = False
    maps_are_probabilities = True
    default_threshold = 0.5

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__(backbone, num_classes)
        self.foreground = ForegroundHead(backbone.num_features)
        self.objectness = ObjectnessHead(backbone.num_features)

    @property
    def tells_objectness(self) -> bool:
        return bool(self.objectness.weight.any())

    def logits(self, features: Features) -> Float[Tensor, "b 1"]:
        """Logit that there is an object at all; 0 for every picture if the method does not tell."""
        return self.objectness(features.prefix_tokens[:, 0])

    def loss(
        self,
        features: Features,
        labels: Int[Tensor, " b"],  # noqa: ARG002
        *,
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Mean binary cross-entropy over all patches, in float32 at least, against the masks of `attended_patches`.

        Args:
            labels: not used.
            label_smoothing: share of the target that is spread over object and background.
        """
        logits = self.foreground(features.patch_tokens)
        exact = torch.promote_types(logits.dtype, torch.float32)
        targets = attended_patches(features).to(exact) * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits.to(exact), targets)

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        probabilities = self.foreground(features.patch_tokens).sigmoid()
        return probabilities[:, None].expand(-1, classes.shape[1], -1, -1)

    def prepare(self, features: Iterable[Features]) -> None:
        """Set mean and standard deviation of each channel over the patches of all training pictures."""
        count = 0
        total = square_total = torch.zeros((), dtype=torch.float64)
        for batch in features:
            tokens = batch.patch_tokens.flatten(0, 2).double()
            count += len(tokens)
            total = total.to(tokens.device) + tokens.sum(dim=0)
            square_total = square_total.to(tokens.device) + tokens.square().sum(dim=0)
        mean = total / count
        variance = (square_total / count - mean.square()).clamp_min(1e-12)  # A constant channel has none.
        self.foreground.mean.copy_(mean)
        self.foreground.std.copy_(variance.sqrt())

    def initialize_from(self, classifier: Classifier) -> None:
        """Keep the start at zero: a classifier says nothing about the background."""


def attended_patches(features: Features) -> Bool[Tensor, "b h w"]:
    """True for the patches that the class token attends to in the last four blocks.

    Its softmax rows are averaged over heads, summed over the blocks and smoothed; Otsu's threshold then divides the
    patches of each picture.
    """
    rows = features.class_attention
    assert rows is not None
    last = range(len(rows))[-_TARGET_BLOCKS:]
    return above_otsu(smoothed(attention_map(rows.detach(), grid=features.grid, layers=last)))


def smoothed(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Maps after a Gaussian filter of 3×3 patches, weights ¼ ½ ¼ along each side; edges are repeated outwards."""
    weights = maps.new_tensor([0.25, 0.5, 0.25])
    padded = F.pad(maps[:, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, (weights[:, None] * weights)[None, None])[:, 0]


def above_otsu(maps: Float[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """True above the threshold that best divides the values of each map into two groups; nowhere on a flat map.

    Source:
        Otsu, IEEE Trans. SMC 1979: the largest variance between the groups; here over the values themselves, not over
        a histogram of them.
    """
    values = maps.flatten(1).double().sort(dim=1).values
    count = values.shape[1]
    lower = torch.arange(1, count, device=values.device)  # size of the lower group at each of the possible cuts
    sums = values.cumsum(dim=1)
    means = sums[:, :-1] / lower
    means_above = (sums[:, -1:] - sums[:, :-1]) / (count - lower)
    between = lower * (count - lower) * (means_above - means).square()
    cut = values.gather(1, between.argmax(dim=1, keepdim=True))
    return maps > cut[:, :, None]
