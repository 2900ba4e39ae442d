"""The seam: everything after a network uses it through `Predictor` alone, in NumPy.

A PyTorch model and an ONNX model are both predictors, so boxes, metrics, annotation files and pictures are the same.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from tscam.image import InputFormat
from tscam.registry import MethodArgs


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A network's outputs for one picture.

    Attributes:
        logits: one for each class.
        classes: ids of the classes that have a map: the most likely ones, best first, then the label if given.
        maps: raw localization map of each of these classes, on the patch grid.
    """

    logits: Float[np.ndarray, " c"]
    classes: Int[np.ndarray, " k"]
    maps: Float[np.ndarray, "k h w"]

    @property
    def probabilities(self) -> Float[np.ndarray, " c"]:
        """Softmax of the logits."""
        exponentials = np.exp(self.logits - self.logits.max())
        return exponentials / exponentials.sum()

    @property
    def objectness(self) -> float:
        """Sigmoid of the one logit of a model that tells objectness."""
        return float(1 / (1 + np.exp(-float(self.logits[0]))))


# The name of a model that was not read from files.
IN_MEMORY = "in memory"


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts about a predictor's model that the files of a result state.

    Attributes:
        model: the model as the user named it, or `IN_MEMORY`.
        backbone, method: names in their registries.
        method_args: options of the method.
        view_wh: width and height of the view, in pixels.
        selection: how the model's epoch was chosen, in words; empty where its files do not say.
        has_classifier: False if the model tells no classes apart: it has one class, and no Top-1 is stated.
        maps_are_probabilities: True if a raw map's values are probabilities of object.
        tells_objectness: True if the one logit of a model without a classifier says whether there is an object at all.
    """

    model: str
    backbone: str
    method: str
    method_args: MethodArgs
    view_wh: tuple[int, int]
    selection: str = ""
    has_classifier: bool = True
    maps_are_probabilities: bool = False
    tells_objectness: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the facts as JSON values, under the names of `metrics.json`; an unknown selection is left out."""
        selection = {"selection": self.selection} if self.selection else {}
        return {
            "model": self.model,
            "backbone": self.backbone,
            "method": self.method,
            "method_args": dict(self.method_args),
            "view": list(self.view_wh),
            **selection,
        }


@runtime_checkable
class Predictor(Protocol):
    """Pixels → predictions."""

    @property
    def facts(self) -> ModelFacts:
        """Facts about the model, for the files of a result."""
        ...

    @property
    def input_format(self) -> InputFormat:
        """Size and normalization of the pixels that `predict` takes."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        ...

    @property
    def threshold(self) -> float:
        """Fraction of a map's maximum above which is object, as stored with the model."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of everything that decides a prediction: weights, method and its options, classes."""
        ...

    def predict(
        self, pixels: Float[np.ndarray, "b 3 H W"], *, top_k: int, labels: Int[np.ndarray, " b"] | None = None
    ) -> list[Prediction]:
        """Return one prediction a picture: maps of its `top_k` most likely classes and, last, of its label if given.

        A `top_k` above the number of classes means all classes; with labels it may be 0.
        """
        ...
