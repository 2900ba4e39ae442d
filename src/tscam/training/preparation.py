"""Statistics of the training pictures that a method needs before the first step, such as the mean of each channel."""

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tscam.datasets import Dataset
from tscam.image import preprocess
from tscam.model import LocalizationModel
from tscam.predictors.pytorch import autocast
from tscam.system.loading import batches, read_ahead
from tscam.system.processes import Processes
from tscam.system.resources import Resources


def prepare_model(model: LocalizationModel, dataset: Dataset, resources: Resources, processes: Processes) -> None:
    """Let the model's method look at all training pictures, whole and not augmented, before the first step.

    Pictures are read only if the method needs them. The main process looks at them; the others take over its result.

    Args:
        model: on its device.

    Raises:
        ImageError: a picture cannot be read.
    """
    buffers = [buffer for buffer in model.method.buffers() if buffer.is_floating_point()]
    if processes.is_main:
        device = next(model.parameters()).device
        with autocast(device, resources.precision):
            model.eval().prepare(_views(model, dataset, resources, device))
    else:
        for buffer in buffers:
            buffer.zero_()
    processes.add_up(buffers)


def _views(
    model: LocalizationModel, dataset: Dataset, resources: Resources, device: torch.device
) -> Iterator[Float[Tensor, "b 3 H W"]]:
    """Yield the views of all pictures, batch by batch."""

    def load(index: int) -> Float[np.ndarray, "3 H W"]:
        return preprocess(dataset.read(index), to=model.input_format)[0]

    loaded = read_ahead(range(len(dataset)), load, workers=max(resources.workers, 1), depth=2 * resources.batch_size)
    with closing(loaded):
        for views in batches(loaded, resources.batch_size):
            yield torch.from_numpy(np.stack(views)).to(device)
