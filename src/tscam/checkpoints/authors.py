"""Models of the TS-CAM authors' checkpoints."""

from pathlib import Path

import torch

from tscam.backbones.tensors import require_same_layout
from tscam.checkpoints.authors_layout import LANDMARKS, AuthorsLayout, read_authors_layout
from tscam.errors import ConfigError, WeightsError
from tscam.model import LocalizationModel, ModelSpec
from tscam.weights.reading import read_named_tensors

# Published thresholds by number of classes: ILSVRC's 1000; CUB's for all others.
_THRESHOLD, _THRESHOLDS = 0.10, {1000: 0.12}


def read_authors_file(path: Path) -> LocalizationModel:
    """Read the model of a checkpoint of TS-CAM on DeiT or Conformer, or of VGG16-CAM.

    Raises:
        WeightsError: not a weight file, weights of another model, or damaged.
    """
    spec = _spec(read_authors_layout(path))
    tensors = read_named_tensors(path, expected=LANDMARKS, at_least=1).tensors
    try:
        with torch.device("meta"):  # Shapes may be of any size; memory is taken only for what the tensors fit.
            require_same_layout(tensors, expected=LocalizationModel(spec).tensors(), source=str(path))
        model = LocalizationModel(spec)
    except ConfigError as fault:
        raise WeightsError(f"{path}: {fault}") from fault
    model.load_tensors(tensors, source=str(path))
    return model


def _spec(layout: AuthorsLayout) -> ModelSpec:
    return ModelSpec(
        backbone=layout.backbone,
        method=layout.method,
        label_names=tuple(str(number) for number in range(layout.classes)),
        image_hw=layout.image_hw,
        threshold=_THRESHOLDS.get(layout.classes, _THRESHOLD),
    )
