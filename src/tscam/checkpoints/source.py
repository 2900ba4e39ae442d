"""Names of models, resolved once, here: a folder, a run, a weight file or a name on the hub. No PyTorch.

A name on the hub is text that begins with `hf-hub:`; it is never a `Path`.
"""

from dataclasses import dataclass
from pathlib import Path

from tscam.checkpoints.hub import PREFIX, fetch, is_on_hub
from tscam.errors import ConfigError, WeightsError, one_line
from tscam.system.writing import readable_folder


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A stored model and where its files are on this machine.

    Attributes:
        name: the model as the user named it.
        path: the file or folder of that name; for a model on the hub, the folder of the hub's cache.
        weights: what is read: the best weights of a run, else `path`.
    """

    name: str
    path: Path
    weights: Path


def resolve(model: str | Path | ModelSource) -> ModelSource:
    """Find the files of a model; fetch them for a model on the hub.

    Args:
        model: a model folder, a run folder, a weight file, or `hf-hub:user/name[@revision]` as text. A source that is
            resolved already is returned as it is.

    Raises:
        ConfigError: the name is empty, or no system has such names.
        WeightsError: nothing of that name; or the hub does not give it.
    """
    if isinstance(model, ModelSource):
        return model
    name = str(model)
    if isinstance(model, str) and is_on_hub(name):
        folder = fetch(name)
        return ModelSource(name=name, path=folder, weights=folder)
    if not name.strip():
        raise ConfigError(f"MODEL is empty; name a folder, a .pth file, or {PREFIX}user/name")
    path = Path(model)
    try:
        folder, is_file = readable_folder(path), path.is_file()
    except OSError as fault:
        raise ConfigError(f"{name}: no name of a MODEL ({one_line(fault)}); choose another one") from fault
    if folder.is_dir():
        best = readable_folder(folder / "weights" / "best")
        return ModelSource(name=name, path=folder, weights=best if best.is_dir() else folder)
    if is_file:
        return ModelSource(name=name, path=path, weights=path)
    raise WeightsError(
        f"{name}: no such file or folder; a MODEL is a model folder, a run folder, or a .pth file, or {PREFIX}user/name"
    )
