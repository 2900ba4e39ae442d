"""The main job, end to end, on pictures drawn for it: train from class labels, evaluate, localize. No network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tscam.config import EvaluateConfig, LocalizeConfig
from tscam.recipe import train_config
from tscam.training.run.progress import Progress
from tscam.verbs.demo_pictures import draw_pictures
from tscam.verbs.evaluate import evaluate
from tscam.verbs.localize import localize
from tscam.verbs.train import train
from tscam.writing import claim_output

_DRAWN_A_CLASS = 2  # pictures that are shown with maps and boxes


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What the demo left: a folder, and a summary for people."""

    out: Path
    summary: str


def run_demo(out: Path | None = None, *, on_progress: Callable[[Progress], None] = lambda _: None) -> Demo:
    """Draws pictures, trains a tiny model from random weights, evaluates it, and localizes some test pictures.

    Args:
        out: folder of the result, new; None takes `tscam-demo`, or the next free name, in the current folder.

    Raises:
        OutputError: the folder is in use or cannot be written.
    """
    folder = claim_output(out or _free_name(Path("tscam-demo")), overwrite=False)
    data, run = folder / "pictures", folder / "run"
    draw_pictures(data)
    train(train_config("demo/vit-tiny", data=data, out=run), on_progress=on_progress)
    evaluation = evaluate(run, EvaluateConfig(data=data, out=folder / "evaluation", device="cpu"))
    classes = sorted((data / "test").iterdir())
    shown = [path for pictures in classes for path in sorted(pictures.iterdir())[:_DRAWN_A_CLASS]]
    localize(shown, model=run, config=LocalizeConfig(out=folder / "localized", draw=True, to=("coco",), device="cpu"))
    summary = (
        "The pictures are drawn and the model is tiny: this shows the way, not what TS-CAM can do.\n"
        f"{evaluation.describe()}\n"
        f"Pictures with maps and boxes: {folder / 'localized' / 'drawings'}"
    )
    return Demo(out=folder, summary=summary)


def _free_name(wanted: Path) -> Path:
    free, number = wanted, 1
    while free.exists():
        number += 1
        free = wanted.with_name(f"{wanted.name}-{number}")
    return free
