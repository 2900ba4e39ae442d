"""What a method is: features → logits and maps, and the registry of methods. One idea, one file."""

import inspect
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tscam.backbones.base import Backbone, Classifier, HeadKind
from tscam.backbones.features import Features, Request
from tscam.errors import ConfigError
from tscam.methods.head import heads
from tscam.registry import MethodArgs, Registry


class Method(nn.Module):
    """Features → class scores and raw localization maps.

    Unless a method says otherwise it has one head, which the backbone asks for, and its scores are that head's mean
    over the grid (plus those of a second branch where the backbone has one); then `maps` is all there is to write.

    Source:
        Gao et al., ICCV 2021; the sum of two branches, for Conformer, is their released code's.
    """

    requests: ClassVar[Request] = Request()  # what `maps` needs of the backbone
    training_requests: ClassVar[Request] = Request()  # what `logits` and `loss` need of it
    head_kind: ClassVar[HeadKind | None] = None  # a head of its own, whatever the backbone asks for

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.head = heads[self.head_kind or backbone.head](backbone.num_features, num_classes)
        branch = backbone.branch_features
        self.branch_head = nn.Linear(branch, num_classes) if branch else None

    def logits(self, features: Features) -> Float[Tensor, "b c"]:
        """Score of each class."""
        scores = self.token_scores(features)
        return scores if self.branch_head is None else scores + self.branch_head(features.branch)

    def token_scores(self, features: Features) -> Float[Tensor, "b c"]:
        """Score of each class by the tokens alone."""
        return self.head.pooled(features.patch_tokens)

    def loss(self, features: Features, labels: Int[Tensor, " b"], *, label_smoothing: float = 0.0) -> Float[Tensor, ""]:
        """The training loss: the mean cross-entropy of the logits over the batch, in float32 at least.

        Args:
            label_smoothing: share of the target that is spread over all classes.
        """
        logits = self.logits(features)
        exact = torch.promote_types(logits.dtype, torch.float32)  # under autocast logits may be bfloat16 or float16
        return F.cross_entropy(logits.to(exact), labels, label_smoothing=label_smoothing)

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        """Raw maps of the chosen classes of each picture, on the patch grid."""
        raise NotImplementedError

    def start_from(self, classifier: Classifier) -> None:
        """Takes over what fits of the backbone's own classifier: of a convolution, the bias alone.

        Source:
            The released TS-CAM code: all weights of fitting name and shape are loaded.
        """
        pairs = [(self.head.weight, classifier.weight), (self.head.bias, classifier.bias)]
        if self.branch_head is not None:
            branch = self.branch_head
            pairs += [(branch.weight, classifier.branch_weight), (branch.bias, classifier.branch_bias)]
        for own, given in pairs:
            if own is not None and given is not None and own.shape == given.shape:
                with torch.no_grad():
                    own.copy_(given)


methods: Registry[type[Method]] = Registry("method")


def create_method(name: str, backbone: Backbone, num_classes: int, args: MethodArgs) -> Method:
    """The method of that name on a backbone.

    Raises:
        ConfigError: no such method or option, or a method that this backbone cannot serve; says which it can.
    """
    kind = methods[name]
    if kind.requests.records not in backbone.supports:
        raise ConfigError(
            f"method {name!r} reads the class token's attention, and this backbone has no class token; "
            f"with it work {', '.join(methods_of(backbone))}"
        )
    options = [option for option in inspect.signature(kind).parameters if option not in ("backbone", "num_classes")]
    if unknown := sorted(args.keys() - set(options)):
        raise ConfigError(f"method {name!r} has no option {unknown[0]!r}; it has {', '.join(options) or 'none'}")
    method = kind(backbone, num_classes, **args)
    for head in filter(None, (method.head, method.branch_head)):
        backbone.start_head(head)
    return method


def methods_of(backbone: Backbone) -> list[str]:
    """The methods that a backbone can serve, by name."""
    return [name for name in methods if methods[name].requests.records in backbone.supports]
