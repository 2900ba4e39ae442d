"""A localization model: a backbone and a method. Knows nothing of files, pictures, boxes or metrics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tscam.backbones import create_backbone
from tscam.backbones.base import StartWeights
from tscam.backbones.features import Features
from tscam.backbones.tensors import require_same_layout
from tscam.decoding import PixelRange
from tscam.errors import ConfigError, WeightsError
from tscam.image import InputFormat
from tscam.methods import create_method, methods, supported_methods
from tscam.registry import MethodArgs, ModelArgs


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Everything that rebuilds a model, its weights aside.

    Attributes:
        backbone, method: names in their registries.
        label_names: name of each class, in the order of the logits.
        image_hw: height and width of the view, in pixels.
        backbone_args: changes to the backbone's architecture.
        method_args: options of the method.
        threshold: fraction of a map's maximum above which is object.
        pixel_range: the range of values that pictures of more than eight bits are scaled by; None if the model was
            trained on none.
    """

    backbone: str
    method: str
    label_names: tuple[str, ...]
    image_hw: tuple[int, int]
    backbone_args: ModelArgs = field(default_factory=dict)
    method_args: MethodArgs = field(default_factory=dict)
    threshold: float = 0.10
    pixel_range: PixelRange | None = None


class LocalizationModel(nn.Module):
    """Pixels → class scores, training loss, and maps of chosen classes."""

    def __init__(self, spec: ModelSpec, *, weights: StartWeights = None, drop_path: float = 0.0) -> None:
        super().__init__()
        if not spec.label_names:
            raise ConfigError("no classes; expected at least one label name")
        self.spec = spec
        self.backbone = create_backbone(
            spec.backbone, image_hw=spec.image_hw, weights=weights, drop_path=drop_path, args=spec.backbone_args
        )
        self.method = create_method(
            spec.method, self.backbone, num_classes=len(spec.label_names), args=spec.method_args
        )
        if self.backbone.classifier is not None:
            self.method.initialize_from(self.backbone.classifier)

    @property
    def input_format(self) -> InputFormat:
        """View size and range of values of the model, and the normalization of its backbone."""
        return InputFormat(
            size_hw=self.spec.image_hw, mean=self.backbone.mean, std=self.backbone.std,
            pixel_range=self.spec.pixel_range,
        )  # fmt: skip

    def forward(
        self, pixels: Float[Tensor, "b 3 H W"], *, draws: Float[Tensor, "b branches"] | None = None
    ) -> Float[Tensor, "b c"]:
        """Logits. The backbone records only what the method needs for them.

        Args:
            draws: for stochastic depth, as in `Request`.
        """
        return self.method.logits(self._training_features(pixels, draws))

    def loss(
        self,
        pixels: Float[Tensor, "b 3 H W"],
        labels: Int[Tensor, " b"],
        *,
        draws: Float[Tensor, "b branches"] | None = None,
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """The method's training loss of a batch, from one pass through the backbone.

        Args:
            draws: for stochastic depth, as in `Request`.
            label_smoothing: share of the target that is spread over all classes.
        """
        features = self._training_features(pixels, draws)
        return self.method.loss(features, labels, label_smoothing=label_smoothing)

    def localize(
        self, pixels: Float[Tensor, "b 3 H W"], *, top_k: int, labels: Int[Tensor, " b"] | None = None
    ) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b k"], Float[Tensor, "b k h w"]]:
        """Logits, the chosen classes, and their raw maps on the patch grid.

        The `top_k` most likely classes are chosen, best first, or all if there are fewer; then the label, if any.
        Gradients are enabled here for a method that needs them, which inference mode does not allow.
        """
        with torch.set_grad_enabled(self.needs_gradient or torch.is_grad_enabled()):
            features = self.backbone(pixels, self.method.requests | self.method.training_requests)
            logits = self.method.logits(features)
            chosen = logits.topk(min(top_k, logits.shape[1]), dim=1).indices
            if labels is not None:
                chosen = torch.cat([chosen, labels[:, None]], dim=1)
            return logits, chosen, self.method.maps(features, chosen)

    def prepare(self, batches: Iterable[Float[Tensor, "b 3 H W"]]) -> None:
        """Let the method take what it needs from the training pictures, before the first step.

        Args:
            batches: the views of all training pictures.
        """
        with torch.no_grad():
            self.method.prepare(self._training_features(pixels, None) for pixels in batches)

    @property
    def needs_gradient(self) -> bool:
        """True if maps are computed from gradients."""
        return self.method.requests.needs_gradient

    def with_method(self, name: str, args: MethodArgs | None = None) -> "LocalizationModel":
        """Return a model with the same weights and another method, or other options of the same method.

        Raises:
            ConfigError: there is no such method or option, the method needs other weights, or the backbone does not
                support it.
        """
        if name == self.spec.method and args in (None, self.spec.method_args):
            return self
        self._require_same_head(name)
        other = LocalizationModel(replace(self.spec, method=name, method_args=args or {}))
        try:
            other.load_tensors(self.tensors(), source=f"method {name!r}")
        except WeightsError as fault:
            raise ConfigError(
                f"method {name!r} cannot read weights trained for {self.spec.method!r}: {fault}"
            ) from fault
        return other

    def tensors(self) -> dict[str, Tensor]:
        """All weights under their published names: the authors' and timm's."""
        return {self._published(name): tensor for name, tensor in self.state_dict().items()}

    def load_tensors(self, tensors: Mapping[str, Tensor], *, source: str) -> None:
        """Load weights under their published names.

        Raises:
            WeightsError: names `source`, and the missing, unexpected or misshapen tensors.
        """
        names = {self._published(name): name for name in self.state_dict()}
        require_same_layout(tensors, expected=self.tensors(), source=source)
        self.load_state_dict({names[published]: tensor for published, tensor in tensors.items()})

    def _training_features(
        self, pixels: Float[Tensor, "b 3 H W"], draws: Float[Tensor, "b branches"] | None
    ) -> Features:
        features: Features = self.backbone(pixels, replace(self.method.training_requests, draws=draws))
        return features

    def _require_same_head(self, name: str) -> None:
        """Refuse a method whose head is not the one that these weights belong to."""
        heads = {each: methods[each].head_name(self.backbone) for each in supported_methods(self.backbone)}
        head = self.method.head_name(self.backbone)
        if methods[name].head_name(self.backbone) != head:
            readers = ", ".join(each for each in heads if heads[each] == head)
            raise ConfigError(
                f"method {name!r} needs another head than weights trained for {self.spec.method!r} have; use one of "
                f"{readers}, or train with --method {name}"
            )

    def _published(self, name: str) -> str:
        if name.startswith("backbone."):
            return name.removeprefix("backbone.").removeprefix(self.backbone.published_prefix)
        head, dot, rest = name.removeprefix("method.").partition(".")
        return self.backbone.published_heads.get(head, head) + dot + rest


def create_model(
    backbone: str,
    *,
    label_names: Sequence[str] | int,
    method: str = "ts-cam",
    image_size: int | tuple[int, int] = 224,
    weights: StartWeights = None,
    drop_path: float = 0.0,
    backbone_args: ModelArgs | None = None,
    method_args: MethodArgs | None = None,
) -> LocalizationModel:
    """Create a new model for training.

    Args:
        backbone, method: names, as `tscam list backbones` and `tscam list methods` show them.
        label_names: name of each class, or the number of classes; a method without a classifier has the one class
            `object`.
        image_size: side of the view, or its height and width, in pixels; multiples of the patch.
        weights: `"pretrained"` (timm's hub), the path of a weight file, or None for random weights.
        drop_path: rate of stochastic depth.
        backbone_args: changes to the backbone's architecture.
        method_args: options of the method.

    Raises:
        ConfigError: an unknown name, a method that the backbone does not support, or a size that does not fit.
        WeightsError: weights that are not available or do not fit.
    """
    names = tuple(str(i) for i in range(label_names)) if isinstance(label_names, int) else tuple(label_names)
    spec = ModelSpec(
        backbone=backbone,
        method=method,
        label_names=names,
        image_hw=(image_size, image_size) if isinstance(image_size, int) else image_size,
        backbone_args=dict(backbone_args or {}),
        method_args=dict(method_args or {}),
        threshold=methods[method].default_threshold or ModelSpec.threshold,
    )
    return LocalizationModel(spec, weights=weights, drop_path=drop_path)
