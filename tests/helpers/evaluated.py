"""Helpers of the report's tests: a tiny evaluation under three protocols, and names that would break a page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_sets import write_cub
from tiny_models import tiny_model
from tscam.config import EvaluateConfig
from tscam.verbs.evaluate import evaluate

CLASSES = 3
PICTURES = 6

# Each name would run a script, break the layout or reverse the text of a page that does not escape it.
NASTY = (
    "</script><script>window.broken = 1</script>",
    "\"><img src=x onerror='window.broken = 2'>",
    "</title></table><h1>שלום \u202e عنكبوت & co</h1>",
)


def tiny_evaluation(folder: Path) -> Path:
    """Evaluate a dataset in `data`, and return the folder `out`; the weights are random and always the same."""
    write_cub(folder / "data", classes=CLASSES, train=1, test=PICTURES, masks=True)
    names = [f"{number:03d}.Bird_{number}" for number in range(1, CLASSES + 1)]
    model = tiny_model(folder / "model", label_names=names)
    protocol = ("ts-cam", "max-box-acc-v2", "pxap")
    evaluate(model, EvaluateConfig(data=folder / "data", out=folder / "out", protocol=protocol, device="cpu"))
    return folder / "out"


def metrics_of(out: Path) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


def rewrite_metrics(out: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change `metrics.json`."""
    metrics = metrics_of(out)
    change(metrics)
    (out / "metrics.json").write_text(json.dumps(metrics))


def rewrite_pictures(out: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change each line of `per_image.jsonl`."""
    lines = [json.loads(line) for line in (out / "per_image.jsonl").read_text().splitlines()]
    for line in lines:
        change(line)
    (out / "per_image.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def with_nasty_names(out: Path) -> None:
    """Replace every text that comes from data or paths by one that tries to break the page."""

    def change_metrics(metrics: dict[str, Any]) -> None:
        metrics["class_names"] = list(NASTY)
        for key in ("model", "backbone", "method", "dataset", "data", "split"):
            metrics[key] = f"{key} {NASTY[1]}"
        for result in metrics["protocols"].values():
            result["threshold"]["explained"] = NASTY[0]
            result["settings"]["source"] = NASTY[1]
            for name, group in zip(NASTY, result["by_class"], strict=True):
                group["name"] = name
        metrics["protocols"] = dict(zip(NASTY, metrics["protocols"].values(), strict=True))

    def change_line(line: dict[str, Any]) -> None:
        line["image"] += NASTY[2]
        line["protocols"] = dict(zip(NASTY, line["protocols"].values(), strict=True))

    rewrite_metrics(out, change_metrics)
    rewrite_pictures(out, change_line)
