"""The verb `demo`: the main job on pictures that are drawn for it: train from class labels, evaluate, localize."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tscam.config import EvaluateConfig, LocalizeConfig
from tscam.recipe import train_config
from tscam.system.output_folder import claimed_output
from tscam.training.run.progress import Progress
from tscam.verbs.demo_pictures import draw_pictures
from tscam.verbs.evaluate import evaluate
from tscam.verbs.localize import localize
from tscam.verbs.train import train

_LOCALIZED_PER_CLASS = 2


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The result of the demo: a folder, and a summary for people."""

    out: Path
    summary: str


def run_demo(out: Path | None = None, *, on_progress: Callable[[Progress], None] = lambda _: None) -> Demo:
    """Draw pictures, train a tiny model from random weights, evaluate it, and localize some test pictures.

    Args:
        out: folder of the result, new or empty; by default `tscam-demo`, or the next free name, in the current folder.
        on_progress: called after every training step and epoch.

    Raises:
        OutputError: the folder is not empty or cannot be written.
    """
    with claimed_output(out or _free_name(Path("tscam-demo")), overwrite=False) as folder:
        return _run_in(folder, on_progress=on_progress)


def _run_in(folder: Path, *, on_progress: Callable[[Progress], None]) -> Demo:
    data, run = folder / "pictures", folder / "run"
    draw_pictures(data)
    train(train_config("demo/vit-tiny", data=data, out=run), on_progress=on_progress)
    evaluation = evaluate(run, EvaluateConfig(data=data, out=folder / "evaluation", device="cpu"))
    classes = sorted((data / "test").iterdir())
    pictures = [path for each in classes for path in sorted(each.iterdir())[:_LOCALIZED_PER_CLASS]]
    config = LocalizeConfig(out=folder / "localized", draw=True, to=("coco",), device="cpu")
    localize(pictures, model=run, config=config)
    summary = (
        "The pictures are drawn and the model is tiny: this shows the steps, not the quality of TS-CAM.\n"
        f"{evaluation.describe()}\n"
        f"Pictures with maps and boxes: {folder / 'localized' / 'drawings'}"
    )
    return Demo(out=folder, summary=summary)


def _free_name(path: Path) -> Path:
    """The path, or the first of `path-2`, `path-3` … that does not exist."""
    free, count = path, 1
    while free.exists():
        count += 1
        free = path.with_name(f"{path.name}-{count}")
    return free
