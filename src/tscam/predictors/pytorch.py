"""A PyTorch model as a `Predictor`: pixels in and predictions out are NumPy arrays."""

import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Float, Int

from tscam.checkpoints.config_file import read_config
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.source import ModelSource
from tscam.errors import WeightsError
from tscam.image import InputFormat
from tscam.model import LocalizationModel
from tscam.predictor import IN_MEMORY, ModelFacts, Prediction
from tscam.registry import MethodArgs
from tscam.system.memory import free_unused, is_out_of_memory
from tscam.system.processes import find_device
from tscam.system.resources import Precision


class PyTorchPredictor:
    """A `Predictor` of a localization model on one device.

    Args:
        model: is moved to the device and set to evaluation.
        device: as PyTorch names it (`cpu`, `cuda`, `cuda:1`); None takes the GPU where there is one.
        precision: of the matrix products.
        name: the model as the user named it, for `facts`.
        selection: how the model's epoch was chosen, for `facts`; empty where that is not known.

    Raises:
        ConfigError: no such device here.
    """

    def __init__(
        self,
        model: LocalizationModel,
        *,
        device: str | None = None,
        precision: Precision = "fp32",
        name: str = IN_MEMORY,
        selection: str = "",
    ) -> None:
        self.device = find_device(device)
        self.precision = precision
        self._model = model.to(self.device).eval()
        self._name = name
        self._selection = selection

    @property
    def facts(self) -> ModelFacts:
        spec = self._model.spec
        return ModelFacts(
            model=self._name,
            backbone=spec.backbone,
            method=spec.method,
            method_args=dict(spec.method_args),
            view_wh=self.input_format.size_wh,
            selection=self._selection,
            has_classifier=self._model.method.has_classifier,
            maps_are_probabilities=self._model.method.maps_are_probabilities,
            tells_objectness=self._model.method.tells_objectness,
        )

    @property
    def input_format(self) -> InputFormat:
        return self._model.input_format

    @property
    def label_names(self) -> tuple[str, ...]:
        return self._model.spec.label_names

    @property
    def threshold(self) -> float:
        return self._model.spec.threshold

    def fingerprint(self) -> str:
        digest = hashlib.sha256(json.dumps(asdict(self._model.spec), sort_keys=True, default=str).encode())
        for name, tensor in sorted(self._model.tensors().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def predict(
        self, pixels: Float[np.ndarray, "b 3 H W"], *, top_k: int, labels: Int[np.ndarray, " b"] | None = None
    ) -> list[Prediction]:
        """Predict as `Predictor.predict` does; a batch that does not fit into memory is halved, down to one picture.

        Raises:
            WeightsError: the logits are not finite.
        """
        try:
            return self._predict(pixels, top_k=top_k, labels=labels)
        except (RuntimeError, MemoryError) as fault:
            if not is_out_of_memory(fault) or len(pixels) == 1:
                raise
        free_unused()
        half = len(pixels) // 2
        return [
            prediction
            for part in (slice(half), slice(half, None))
            for prediction in self.predict(pixels[part], top_k=top_k, labels=None if labels is None else labels[part])
        ]

    def _predict(
        self, pixels: Float[np.ndarray, "b 3 H W"], *, top_k: int, labels: Int[np.ndarray, " b"] | None
    ) -> list[Prediction]:
        classes_asked = None if labels is None else torch.as_tensor(labels, device=self.device)
        without_graph = torch.no_grad() if self._model.needs_gradient else torch.inference_mode()
        with without_graph, autocast(self.device, self.precision):
            # Copied only where PyTorch cannot use the array as it is.
            batch = torch.from_numpy(np.require(pixels, np.float32, ["C", "W"])).to(self.device, non_blocking=True)
            outputs = self._model.localize(batch, top_k=top_k, labels=classes_asked)
        logits, classes, maps = (tensor.detach().cpu() for tensor in outputs)
        if not logits.isfinite().all():
            raise WeightsError("the model's class scores are not finite; its weights are corrupt, or need fp32")
        return [
            Prediction(logits=logits_, classes=classes_, maps=maps_)
            for logits_, classes_, maps_ in zip(
                logits.float().numpy(), classes.numpy(), maps.float().numpy(), strict=True
            )
        ]


def open_pytorch(
    model: ModelSource | LocalizationModel,
    *,
    method: str | None = None,
    method_args: MethodArgs | None = None,
    device: str | None = None,
    precision: Precision = "fp32",
) -> PyTorchPredictor:
    """Open a PyTorch model for prediction, as `predictors.open_predictor` describes it."""
    if isinstance(model, LocalizationModel):
        network = model.with_method(method or model.spec.method, method_args or None)
        return PyTorchPredictor(network, device=device, precision=precision)
    network = load_model(model, method=method, method_args=method_args)
    metrics = read_config(model.weights).metrics if model.weights.is_dir() else {}
    return PyTorchPredictor(
        network, device=device, precision=precision, name=model.name, selection=str(metrics.get("selection", ""))
    )


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return a context in which matrix products have that precision; weights stay float32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)
