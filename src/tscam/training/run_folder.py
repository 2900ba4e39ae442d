"""The folder of a training run: its settings, a row of metrics an epoch, the best and the last weights."""

import platform
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path

from tscam.checkpoint import save_model
from tscam.config import TrainConfig, to_yaml
from tscam.model import LocalizationModel
from tscam.training.progress import EpochRow
from tscam.writing import claim_output, write_csv, write_json, write_text_atomically

_VERSIONS_OF = ("tscam", "torch", "timm", "accelerate", "numpy", "opencv-python-headless", "pillow")


class RunFolder:
    """A new run folder, which grows by an epoch at a time.

    Args:
        config: settings of the run, written as `config.yaml`.
        selection: how the best epoch is chosen; it stands beside its numbers wherever they are.

    Raises:
        OutputError: the folder is in use or cannot be written.
    """

    def __init__(self, config: TrainConfig, *, selection: str) -> None:
        inputs = (config.data, Path(config.weights))  # words like `pretrained` name no file, which does no harm
        self.path: Path = claim_output(config.out, overwrite=config.overwrite, inputs=inputs)
        self.selection = selection
        self._base_model = f"timm/{config.backbone}" if config.weights == "pretrained" else ""
        self._rows: list[EpochRow] = []
        write_text_atomically(self.path / "config.yaml", to_yaml(config))
        run = {
            "versions": {name: version(name) for name in _VERSIONS_OF},
            "python": platform.python_version(),
            "platform": platform.platform(),
            "seed": config.seed,
            "selection": selection,
        }
        write_json(self.path / "run.json", run, indent=2)

    def add(self, row: EpochRow, model: LocalizationModel, *, is_best: bool) -> None:
        """Keeps an epoch: its row, and its weights as `weights/last`, and as `weights/best` where it is the best.

        Raises:
            OutputError: the disk refuses.
        """
        self._rows.append(row)
        names = [column.name for column in fields(EpochRow)]
        write_csv(self.path / "metrics.csv", names, [[getattr(kept, name) for name in names] for kept in self._rows])
        metrics = {"protocol": "ts-cam", "selection": self.selection, **asdict(row)}
        for name in ("last", "best") if is_best else ("last",):
            save_model(model, self.path / "weights" / name, metrics=metrics, base_model=self._base_model)
