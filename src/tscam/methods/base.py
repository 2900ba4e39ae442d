"""The contract of a method, features → logits, loss and maps, and the registry of methods."""

import inspect
from collections.abc import Iterable
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tscam.backbones.base import Backbone, Classifier, HeadName
from tscam.backbones.features import Features, Record, Request
from tscam.errors import ConfigError, quoted
from tscam.methods.head import Head, heads
from tscam.registry import MethodArgs, Registry


class Method(nn.Module):
    """Features → class scores and raw localization maps.

    By default a method has one head, chosen by the backbone. Its scores are the head's mean over the grid, plus those
    of a second branch if the backbone has one; its loss is their cross-entropy. A subclass then writes `maps` alone.

    A method without a classifier has neither head nor branch. Its models have the one class `object`, and it writes
    `logits`, one for each picture, and `loss` itself.

    Attributes:
        requests: what `maps` needs of the backbone.
        training_requests: what `logits` and `loss` need of it.
        fixed_head: the head on every backbone; chosen by the backbone if None.
        has_classifier: True if logits tell classes apart.
        maps_are_probabilities: True if a raw map's values are probabilities of object.
        default_threshold: threshold of a new model; None takes the published one of the data set.

    Source:
        Gao et al., ICCV 2021; the sum of two branches, for Conformer, is their released code's.
    """

    requests: ClassVar[Request] = Request()
    training_requests: ClassVar[Request] = Request()
    fixed_head: ClassVar[HeadName | None] = None
    has_classifier: ClassVar[bool] = True
    maps_are_probabilities: ClassVar[bool] = False
    default_threshold: ClassVar[float | None] = None

    head: Head
    branch_head: nn.Linear | None

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        if not self.has_classifier:
            return
        self.head = heads[self.head_name(backbone)](backbone.num_features, num_classes)
        channels = backbone.branch_features
        self.branch_head = nn.Linear(channels, num_classes) if channels else None

    @classmethod
    def head_name(cls, backbone: Backbone) -> HeadName:
        """Name of the method's head on a backbone."""
        return cls.fixed_head or backbone.head_name

    @classmethod
    def required_records(cls) -> Record:
        """All records that the method needs of a backbone, for maps and for training."""
        return (cls.requests | cls.training_requests).records

    def logits(self, features: Features) -> Float[Tensor, "b c"]:
        """Score of each class."""
        scores = self.token_scores(features)
        return scores if self.branch_head is None else scores + self.branch_head(features.branch)

    def token_scores(self, features: Features) -> Float[Tensor, "b c"]:
        """Score of each class from the tokens alone, without a second branch."""
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
        """Raw maps of each picture's chosen classes, on the patch grid."""
        raise NotImplementedError

    @property
    def tells_objectness(self) -> bool:
        """True if the logit of a method without a classifier says whether there is an object at all."""
        return False

    def prepare(self, features: Iterable[Features]) -> None:
        """Set what the method takes from the training pictures before the first step; by default nothing.

        Args:
            features: features of all training pictures with the records of `training_requests`, batch by batch; they
                are computed as they are iterated over.
        """

    def initialize_from(self, classifier: Classifier) -> None:
        """Copy the classifier's weights and biases to the heads where shapes agree; a convolution gets the bias alone.

        Source:
            The released TS-CAM code: all weights of fitting name and shape are loaded.
        """
        pairs = [(self.head.weight, classifier.weight), (self.head.bias, classifier.bias)]
        if self.branch_head is not None:
            branch = self.branch_head
            pairs += [(branch.weight, classifier.branch_weight), (branch.bias, classifier.branch_bias)]
        for parameter, initial in pairs:
            if parameter is not None and initial is not None and parameter.shape == initial.shape:
                with torch.no_grad():
                    parameter.copy_(initial)


methods: Registry[type[Method]] = Registry("method")

# Name of the one class of models whose method has no classifier.
OBJECT = "object"


def create_method(name: str, backbone: Backbone, *, num_classes: int, args: MethodArgs) -> Method:
    """Create the method of that name on a backbone.

    Raises:
        ConfigError: there is no such method or option, or the backbone does not support it; the message lists those
            that it supports; or there are several classes and the method has no classifier.
    """
    method_class = methods[name]
    if missing := method_class.required_records() & ~backbone.supports:
        reads_attention = missing & (Record.CLASS_ATTENTION | Record.ATTENTION)
        reason = (
            "reads the class token's attention, and this backbone has no class token"
            if reads_attention
            else f"needs records that this backbone does not return ({missing.name})"
        )
        raise ConfigError(f"method {name!r} {reason}; use one of {', '.join(supported_methods(backbone))}")
    if not method_class.has_classifier and num_classes != 1:
        raise ConfigError(
            f"method {name!r} tells no classes apart, and the model has {num_classes}; give it the one class {OBJECT!r}"
        )
    options = [
        option for option in inspect.signature(method_class).parameters if option not in ("backbone", "num_classes")
    ]
    if unknown := sorted(args.keys() - set(options)):
        raise ConfigError(f"method {name!r} has no option {quoted(unknown[0])}; it has {', '.join(options) or 'none'}")
    method = method_class(backbone, num_classes, **args)
    if method.has_classifier:
        for head in filter(None, (method.head, method.branch_head)):
            backbone.initialize_head(head)
    return method


def supported_methods(backbone: Backbone) -> list[str]:
    """Names of the methods that work on a backbone, sorted."""
    return [name for name in methods if methods[name].required_records() in backbone.supports]
