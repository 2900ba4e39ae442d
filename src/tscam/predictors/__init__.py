"""Models behind the seam: `open_predictor` gives a `Predictor`, and imports the library that computes only then."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from tscam.checkpoints.config_file import require_bounded
from tscam.checkpoints.source import ModelSource, resolve
from tscam.predictor import Predictor
from tscam.registry import MethodArgs
from tscam.system.resources import Precision

if TYPE_CHECKING:
    import tscam.model

# A model as verbs take it: its name (`checkpoints.source`), its files once found, or the model in memory.
ModelLike: TypeAlias = Union[str, Path, ModelSource, "tscam.model.LocalizationModel"]


def open_predictor(
    model: ModelLike,
    *,
    method: str | None = None,
    method_args: MethodArgs | None = None,
    device: str | None = None,
    precision: Precision = "fp32",
) -> Predictor:
    """Open a model for prediction.

    Args:
        model: a model folder, a run folder (its best weights), a checkpoint of the TS-CAM authors,
            `hf-hub:user/name[@revision]`; or a model in memory, which is moved to the device and set to evaluation.
        method: reads the maps by another method than the model's own, such as `cam` or `attention`.
        method_args: options of the method; by default the model's own, or the published ones of another method.
        device: as PyTorch names it (`cpu`, `cuda`, `cuda:1`); None takes the GPU where there is one.
        precision: of the matrix products.

    Raises:
        WeightsError: the model cannot be read.
        ConfigError: no such method, option or device.
    """
    opened = resolve(model) if isinstance(model, str | Path | ModelSource) else model
    if isinstance(opened, ModelSource):
        require_bounded(opened)
    # Here: whoever opens no PyTorch model never waits for PyTorch.
    from tscam.predictors.pytorch import open_pytorch

    return open_pytorch(opened, method=method, method_args=method_args, device=device, precision=precision)
