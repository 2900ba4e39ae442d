"""The seam: what comes after a network speaks to it through `Predictor` alone, in NumPy.

A PyTorch model and an ONNX model are both predictors, so boxes, metrics, annotation files and pictures are the same.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from tscam.image import InputFormat


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says of one picture.

    Attributes:
        logits: one for each class.
        classes: ids of the classes that have a map: the most likely ones, best first, then the one asked for.
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


@runtime_checkable
class Predictor(Protocol):
    """Pixels → predictions."""

    @property
    def input_format(self) -> InputFormat:
        """What `predict` expects of its pixels."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the logits."""
        ...

    @property
    def threshold(self) -> float:
        """The fraction of a map's maximum above which is object, as stored with the model."""
        ...

    def predict(
        self, pixels: Float[np.ndarray, "b 3 H W"], *, top_k: int, labels: Int[np.ndarray, " b"] | None = None
    ) -> list[Prediction]:
        """One prediction a picture, with the maps of its `top_k` most likely classes and, last, of its label if given.

        `top_k` above the number of classes means all classes.
        """
        ...
