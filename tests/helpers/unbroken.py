"""Localizations and evaluations that are interrupted and resumed, for comparison with the same work unbroken."""

from dataclasses import dataclass, replace
from pathlib import Path

from data_sets import write_folder
from faults import Ended, Fault, in_child, kill
from tiny_models import draw_pictures, tiny_model
from tscam.config import EvaluateConfig, LocalizeConfig
from tscam.system.lines import LineFile, RowFile
from tscam.system.loading import Progress
from tscam.verbs.evaluate import evaluate
from tscam.verbs.localize import localize


def append_then_die(path: Path, count: int) -> None:
    """Work for a child: add so many lines and rows, and be killed with both files open."""
    lines, rows = LineFile(path / "lines"), RowFile(path / "rows.csv", ["number"])
    for number in range(count):
        lines.append(f"{number}".encode())
        rows.append([number])
    kill()


@dataclass(frozen=True)
class KillAfter:
    """Listener for progress that kills its process after so many pictures."""

    pictures: int

    def __call__(self, done: int, _: int) -> None:
        if done == self.pictures:
            kill()


class Localizations:
    """Localizations of the same pictures by the same model, each in a folder of its own.

    There are nine pictures, of which the second and the last cannot be read; a batch has four.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.pictures = folder, folder / "pictures"
        draw_pictures(self.pictures, 9)
        for number in (1, 8):
            (self.pictures / f"{number}.png").write_bytes(b"\x89PNG")
        self.model = tiny_model(folder / "model")
        self._count = 0

    def config(self, **changes: object) -> LocalizeConfig:
        """Return settings with a new folder for the result."""
        self._count += 1
        config = LocalizeConfig(
            out=self.folder / f"out {self._count}", top_k=2, to=("coco", "csv", "voc"), draw=True, batch_size=4,
            device="cpu", workers=1,
        )  # fmt: skip
        return replace(config, **changes)  # type: ignore[arg-type]

    def run(self, config: LocalizeConfig, *, fault: Fault | KillAfter | None = None, resume: bool = False) -> Ended:
        """Localize in a child, which meets a fault."""
        on_progress = fault if isinstance(fault, KillAfter) else None
        return in_child(
            _localize, self.pictures, self.model, replace(config, resume=resume), on_progress,
            watched=config.out, faults=[fault] if isinstance(fault, Fault) else [],
        )  # fmt: skip


class Evaluations:
    """Evaluations of the same model on the same data, each in a folder of its own.

    There are nine pictures to test on, and nine of which a threshold is chosen; a batch has four.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_folder(folder / "data", splits={"val": 3, "test": 3})
        self.model = tiny_model(folder / "model")
        self._count = 0

    def config(self, **changes: object) -> EvaluateConfig:
        """Return settings with a new folder for the result."""
        self._count += 1
        config = EvaluateConfig(
            data=self.folder / "data", out=self.folder / f"out {self._count}", protocol=("ts-cam", "max-box-acc-v2"),
            threshold="val", save_maps=True, batch_size=4, device="cpu", workers=1,
        )  # fmt: skip
        return replace(config, **changes)  # type: ignore[arg-type]

    def run(self, config: EvaluateConfig, *, fault: Fault | KillAfter | None = None, resume: bool = False) -> Ended:
        """Evaluate in a child, which meets a fault."""
        on_progress = fault if isinstance(fault, KillAfter) else None
        return in_child(
            evaluate_in, self.model, replace(config, resume=resume), on_progress,
            watched=config.out, faults=[fault] if isinstance(fault, Fault) else [],
        )  # fmt: skip


def evaluate_in(model: Path, config: EvaluateConfig, on_progress: Progress | None) -> Path:
    """Work for a child: evaluate, and return the folder."""
    return evaluate(model, config, on_progress=on_progress).out


def _localize(pictures: Path, model: Path, config: LocalizeConfig, on_progress: Progress | None) -> Path:
    return localize(pictures, model=model, config=config, on_progress=on_progress)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return all files of an output folder but the lock, with the folder's own path taken out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(str(folder).encode(), b"OUT")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def tear_last_line(path: Path) -> None:
    """Add the beginning of a line, as a kill or a full disk can leave it."""
    with path.open("ab") as file:
        file.write(b'{"version": 2, "image": "no such')
