"""A model goes to others: the authors' checkpoint becomes a model folder, and a model folder goes to the hub."""

from dataclasses import replace
from pathlib import Path

from tscam.checkpoints.card import published_card
from tscam.checkpoints.hub import PREFIX, is_on_hub, upload
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import read_model_folder, save_model
from tscam.checkpoints.source import ModelSource, resolve
from tscam.errors import ConfigError, WeightsError, one_line
from tscam.system.output_folder import claimed_output
from tscam.system.paths import require_utf8


def push_to_hub(model: str | Path, repo: str, *, private: bool = False, license: str | None = None) -> str:
    """Publish a model folder, or a run's best weights, on the Hugging Face hub in one commit; return its address.

    Args:
        model: the folder. It is loaded first, so that what is published can be.
        repo: `user/name`; made where it is not there yet.
        private: make the repository private.
        license: an identifier of the hub, such as `apache-2.0`, for the card; by default what the card says.

    Raises:
        WeightsError: not a model folder, or a damaged one.
        ConfigError: no such name of a repository or license.
        OutputError: the hub does not take it.
    """
    if (isinstance(model, str) and is_on_hub(model)) or not Path(model).is_dir():
        raise WeightsError(
            f"{model}: not a folder; what is published is a model folder or a run folder (`tscam convert-weights` "
            "makes one of the authors' file)"
        )
    folder = resolve(model).weights
    read_model_folder(folder)
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError) as fault:
        raise WeightsError(f"{folder}: its card, README.md, cannot be read ({one_line(fault)})") from fault
    files: dict[str, Path | bytes] = {name: folder / name for name in ("config.json", "model.safetensors")}
    files["README.md"] = published_card(card, name=f"{PREFIX}{repo}", license=license).encode()
    return upload(files, repo=repo, private=private)


def convert_weights(
    model: str | Path | ModelSource, *, out: Path, labels: Path | None = None, overwrite: bool = False
) -> Path:
    """Turn a checkpoint of the TS-CAM authors into a model folder; return its absolute path.

    Args:
        model: the authors' file.
        out: the folder, new.
        labels: a text file with one class name a line; by default the classes are numbers from 0.
        overwrite: replace what is in `out`.

    Raises:
        WeightsError: the file is not such a checkpoint.
        ConfigError: the labels cannot be read, or there are more or fewer of them than classes.
        OutputError: the folder is in use or cannot be written.
    """
    require_utf8(out, name="--out")
    source = resolve(model)
    network = load_model(source)
    if labels is not None:
        network.spec = replace(network.spec, label_names=_read_labels(labels, classes=len(network.spec.label_names)))
    inputs = (source.path, labels) if labels else (source.path,)
    with claimed_output(out, overwrite=overwrite, inputs=inputs) as folder:
        save_model(network, folder)
    return folder


def _read_labels(path: Path, *, classes: int) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as fault:
        raise ConfigError(
            f"{path}: cannot be read as text ({one_line(fault)}); expected a class name a line"
        ) from fault
    if len(names) != classes:
        raise ConfigError(
            f"{path}: {len(names)} names, the model has {classes} classes; expected a name a line for each"
        )
    return names
