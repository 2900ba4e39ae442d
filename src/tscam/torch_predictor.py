"""A PyTorch model behind the seam: pixels in and predictions out are NumPy arrays."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from jaxtyping import Float, Int

from tscam.errors import ConfigError, WeightsError
from tscam.image import InputFormat
from tscam.memory import free_unused, is_out_of_memory
from tscam.model import LocalizationModel
from tscam.predictor import Prediction
from tscam.system.resources import Precision


class TorchPredictor:
    """A `Predictor` made of a localization model on one device.

    Args:
        device: as PyTorch names it (`cpu`, `cuda`, `cuda:1`); None takes the GPU where there is one.
        precision: of the matrix products.

    Raises:
        ConfigError: the device is not there.
    """

    def __init__(self, model: LocalizationModel, *, device: str | None = None, precision: Precision = "fp32") -> None:
        self.device = find_device(device)
        self.precision = precision
        self.model = model.to(self.device).eval()

    @property
    def input_format(self) -> InputFormat:
        return self.model.input_format

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.model.spec.label_names

    @property
    def threshold(self) -> float:
        return self.model.spec.threshold

    def predict(
        self, pixels: Float[np.ndarray, "b 3 H W"], *, top_k: int, labels: Int[np.ndarray, " b"] | None = None
    ) -> list[Prediction]:
        """As `Predictor.predict`; where memory does not suffice, in two halves, down to one picture.

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
        asked = None if labels is None else torch.as_tensor(labels, device=self.device)
        graphless = torch.no_grad() if self.model.needs_gradient else torch.inference_mode()
        with graphless, autocast(self.device, self.precision):
            own = np.require(pixels, np.float32, ["C", "W"])  # copied only where PyTorch could not take it as it is
            on_device = torch.from_numpy(own).to(self.device, non_blocking=True)
            found = self.model.localize(on_device, top_k=top_k, labels=asked)
        logits, classes, maps = (tensor.detach().cpu() for tensor in found)
        if not logits.isfinite().all():
            raise WeightsError("the model's class scores are not finite; its weights are spoilt, or need fp32")
        return [
            Prediction(logits=logits_, classes=classes_, maps=maps_)
            for logits_, classes_, maps_ in zip(
                logits.float().numpy(), classes.numpy(), maps.float().numpy(), strict=True
            )
        ]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which matrix products are of that precision; weights stay float32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)


def find_device(name: str | None) -> torch.device:
    """The device of that name; None takes the GPU where there is one, else the CPU.

    Raises:
        ConfigError: no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # it is there, and it computes
    except (RuntimeError, AssertionError, ImportError) as fault:
        have = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise ConfigError(f"no device {name!r} here; there is {', '.join(have)}") from fault
    return device
