"""A PyTorch model behind the seam: pixels in and predictions out are NumPy arrays."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from tscam.errors import ConfigError, WeightsError
from tscam.image import InputFormat
from tscam.model import LocalizationModel
from tscam.predictor import Prediction


class TorchPredictor:
    """A `Predictor` made of a localization model on one device.

    Args:
        device: as PyTorch names it (`cpu`, `cuda`, `cuda:1`); None takes the GPU where there is one.
        precision: `fp32`, or `bf16` for the matrix products.

    Raises:
        ConfigError: the device is not there.
    """

    def __init__(
        self, model: LocalizationModel, *, device: str | None = None, precision: Literal["fp32", "bf16"] = "fp32"
    ) -> None:
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

    @torch.inference_mode()
    def predict(
        self, pixels: Float[np.ndarray, "b 3 H W"], *, top_k: int, labels: Int[np.ndarray, " b"] | None = None
    ) -> list[Prediction]:
        """As `Predictor.predict`.

        Raises:
            WeightsError: the logits are not finite.
        """
        asked = None if labels is None else torch.as_tensor(labels, device=self.device)
        with self._autocast():
            own = np.require(pixels, np.float32, ["C", "W"])  # copied only where PyTorch could not take it as it is
            on_device = torch.from_numpy(own).to(self.device, non_blocking=True)
            found = self.model.localize(on_device, top_k=top_k, labels=asked)
        logits, classes, maps = (tensor.cpu() for tensor in found)
        if not logits.isfinite().all():
            raise WeightsError("the model's class scores are not finite; its weights are spoilt, or need fp32")
        return [
            Prediction(logits=logits_, classes=classes_, maps=maps_)
            for logits_, classes_, maps_ in zip(
                logits.float().numpy(), classes.numpy(), maps.float().numpy(), strict=True
            )
        ]

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


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
