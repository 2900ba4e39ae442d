"""Stored weights → a model in memory, whatever they are stored as. Nothing in the files is ever run."""

from pathlib import Path

from tscam.checkpoints.authors import read_authors_file
from tscam.checkpoints.model_folder import read_model_folder
from tscam.checkpoints.source import ModelSource, resolve
from tscam.model import LocalizationModel
from tscam.registry import MethodArgs


def load_model(
    model: str | Path | ModelSource, *, method: str | None = None, method_args: MethodArgs | None = None
) -> LocalizationModel:
    """Load the model of a model folder, a run folder (its best weights), or a checkpoint of the TS-CAM authors.

    Args:
        model: folder, file, or `hf-hub:user/name[@revision]`.
        method: reads the maps by another method than the model's own.
        method_args: options of the method; by default the model's own, or the published ones of another method.

    Raises:
        WeightsError: nothing of that name, an unknown layout, or damaged; or the hub does not give it.
        ConfigError: the method cannot read these weights.
    """
    weights = resolve(model).weights
    network = read_model_folder(weights) if weights.is_dir() else read_authors_file(weights)
    return network.with_method(method or network.spec.method, method_args or None)
