"""The results of a training run: curves of its epochs as a picture, and a summary in text."""

import csv
import io
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tscam.errors import TrainingError, one_line
from tscam.system.writing import write_bytes_atomically
from tscam.training.run.progress import EpochRow
from tscam.training.selection import PROTOCOL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind people can tell apart, with markers that differ in print.
_BLUE, _ORANGE, _GREEN, _PINK, _INK, _FAINT = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#333333", "#8A8A8A"
_SCORES = {
    "gt_known_loc": ("GT-known loc", _ORANGE, "s"),
    "top1_loc": ("top-1 loc", _GREEN, "^"),
    "top1_cls": ("top-1 cls", _BLUE, "o"),
}
_FEW = 30  # Up to so many epochs, each has a marker.


def draw_results(path: Path, rows: Sequence[EpochRow], *, selection: str) -> None:
    """Write a PNG with loss, learning rate, scores and threshold of each epoch; the best epoch is marked.

    Curves without values are left out, and the threshold's curve if it never changes.

    Args:
        rows: at least one.
        selection: how the best epoch is chosen, for the title.

    Raises:
        OutputError: the disk refuses.
        ValueError: no rows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # Slow to import.
    from matplotlib.figure import Figure

    best = _best(rows)
    draws: list[Callable[[Axes], None]] = []
    if any(_known(rows, name) for name in _SCORES):
        draws.append(lambda axes: _draw_scores(axes, rows, best))
    draws += [lambda axes: _draw_loss(axes, rows, best), lambda axes: _draw_rate(axes, rows)]
    if len({row.threshold for row in rows if row.threshold is not None}) > 1:
        draws.append(lambda axes: _draw_threshold(axes, rows, best))
    columns = 2 if len(draws) > 2 else len(draws)
    figure = Figure(figsize=(5.6 * columns, 3.5 * -(-len(draws) // columns) + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(-(-len(draws) // columns), columns)
    is_first_wide = len(draws) == 3  # The scores, above the other two.
    for index, draw in enumerate(draws):
        cell = grid[0, :] if is_first_wide and index == 0 else grid[divmod(index + is_first_wide, columns)]
        axes = figure.add_subplot(cell)
        _frame(axes, rows)
        draw(axes)
    colour = _ORANGE if "oracle" in selection else _INK
    figure.suptitle(_heading(rows, best, selection), x=0.01, ha="left", fontsize=11, color=colour)
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", dpi=160, metadata={"Software": None})
    write_bytes_atomically(path, encoded.getvalue())


def describe_run(run: Path) -> str:
    """The result of a run as lines of text: its best and last epoch, its test, and the paths of its files.

    The first lines name the protocol of all scores and the choice of the epoch.

    Raises:
        TrainingError: the folder lacks the files of a run after its first epoch.
    """
    try:
        rows = _read_rows(run / "metrics.csv")
        selection = str(json.loads((run / "run.json").read_text())["selection"])
        metrics = run / "test" / "metrics.json"
        test: dict[str, Any] = json.loads(metrics.read_text()) if metrics.is_file() else {}
        best = _best(rows)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise TrainingError(f"{run}: not the folder of a run with an epoch done ({one_line(fault)})") from fault
    table = [["weights", "epoch", "loss", "split", "top-1 cls", "top-1 loc", "GT-known", "threshold"]]
    table += [_cells("best", best), _cells("last", rows[-1])]
    if test:
        table.append(["best", str(best.epoch), "–", str(test.get("split", "test")), *_test_cells(test)])
    paths = {"best weights": run / "weights" / "best", "curves": run / "results.png", "samples": run / "samples"}
    heading = [f"protocol {PROTOCOL.name}, scores in %", f"selection of the best epoch: {selection}"]
    lines = [*heading, "", *_aligned(table), ""]
    lines += [f"{name:12} {path}" for name, path in paths.items() if path.exists()]
    return "\n".join(lines)


def _test_cells(test: Mapping[str, Any]) -> list[str]:
    """Scores and threshold of the test split; without boxes only its accuracy."""
    result = test.get("protocols", {}).get(PROTOCOL.name, {})
    scores = {name: score["value"] for name, score in result.get("scores", {}).items()} or test
    cells = [_number(scores.get(name), ".2f") for name in ("top1_cls", "top1_loc", "gt_known_loc")]
    return [*cells, _number(result.get("threshold", {}).get("values", {}).get("gt_known_loc"), "g")]


def _best(rows: Sequence[EpochRow]) -> EpochRow:
    """The row of largest quality, the first of equal ones."""
    return max(rows, key=lambda row: row.quality)


def _known(rows: Sequence[EpochRow], name: str) -> list[tuple[int, float]]:
    """Epochs that have a value, with the value."""
    return [(row.epoch, float(getattr(row, name))) for row in rows if getattr(row, name) is not None]


def _heading(rows: Sequence[EpochRow], best: EpochRow, selection: str) -> str:
    splits = ", ".join(dict.fromkeys(repr(row.split) for row in rows if row.split is not None))
    scored = f"protocol {PROTOCOL.name}, scored on split {splits}" if splits else "no split scored"
    return f"{scored}\nbest epoch {best.epoch} of {rows[-1].epoch}; selection: {selection}"


def _frame(axes: "Axes", rows: Sequence[EpochRow]) -> None:
    """Prepare a plot over epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    first, last = rows[0].epoch, rows[-1].epoch
    margin = max(0.5, 0.02 * (last - first))
    axes.set_xlim(first - margin, last + margin)
    axes.set_xlabel("epoch", fontsize=9, color=_INK)


def _set_title(axes: "Axes", title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=_INK)


def _curve(axes: "Axes", rows: Sequence[EpochRow], name: str, *, colour: str, marker: str, label: str = "") -> None:
    points = _known(rows, name)
    marker = marker if len(rows) <= _FEW else ""
    epochs, values = [epoch for epoch, _ in points], [value for _, value in points]
    axes.plot(epochs, values, color=colour, marker=marker, markersize=4, linewidth=1.6, label=label or None)


def _mark_best(axes: "Axes", best: EpochRow) -> None:
    axes.axvline(best.epoch, color=_FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=0)


def _draw_scores(axes: "Axes", rows: Sequence[EpochRow], best: EpochRow) -> None:
    _set_title(axes, f"scores in % (protocol {PROTOCOL.name})")
    _mark_best(axes, best)
    for name, (label, colour, marker) in _SCORES.items():
        value = getattr(best, name)
        if _known(rows, name):
            with_value = label if value is None else f"{label}, {value:.1f} at epoch {best.epoch}"
            _curve(axes, rows, name, colour=colour, marker=marker, label=with_value)
        if value is not None:
            axes.plot(best.epoch, value, marker=marker, color=colour, markersize=8, markeredgecolor="white")
    axes.set_ylim(0, 102)
    axes.legend(fontsize=9, labelcolor=_INK, loc="lower right", facecolor="white", edgecolor="white", framealpha=0.9)


def _draw_loss(axes: "Axes", rows: Sequence[EpochRow], best: EpochRow) -> None:
    _set_title(axes, "training loss")
    if best.measure != "epoch":
        _mark_best(axes, best)
    _curve(axes, rows, "train_loss", colour=_INK, marker="o")
    axes.set_ylim(bottom=0)


def _draw_rate(axes: "Axes", rows: Sequence[EpochRow]) -> None:
    """Draw a rate that falls in steps on a logarithmic axis, a cosine, which ends near zero, on a linear one."""
    from matplotlib.ticker import FuncFormatter

    _set_title(axes, "learning rate")
    _curve(axes, rows, "learning_rate", colour=_INK, marker="o")
    rates = [row.learning_rate for row in rows]
    falls_in_steps = any(math.isclose(rate, after) for rate, after in itertools.pairwise(rates))
    if falls_in_steps and 0 < min(rates) < max(rates) / 5:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.1 * max(rates) or 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def _draw_threshold(axes: "Axes", rows: Sequence[EpochRow], best: EpochRow) -> None:
    _set_title(axes, "threshold (fraction of the map's maximum)")
    _mark_best(axes, best)
    _curve(axes, rows, "threshold", colour=_PINK, marker="D")
    axes.set_ylim(0, 1.1 * max(value for _, value in _known(rows, "threshold")))


def _read_rows(path: Path) -> list[EpochRow]:
    with path.open(newline="") as file:
        return [_row(cells) for cells in csv.DictReader(file)]


def _row(cells: dict[str, str]) -> EpochRow:
    values: dict[str, Any] = {}
    for column in fields(EpochRow):
        text = cells[column.name]
        parse = {"epoch": int, "split": str}.get(column.name, float)
        values[column.name] = parse(text) if text else None
    return EpochRow(**values)


def _cells(weights: str, row: EpochRow) -> list[str]:
    scores = [_number(value, ".2f") for value in (row.top1_cls, row.top1_loc, row.gt_known_loc)]
    return [
        weights, str(row.epoch), f"{row.train_loss:.4f}", row.split or "–", *scores, _number(row.threshold, "g"),
    ]  # fmt: skip


def _number(value: float | None, format_spec: str) -> str:
    return "–" if value is None else format(value, format_spec)


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The table as lines; words are aligned to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    is_word = [column in (0, 3) for column in range(len(widths))]
    return [
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(row, widths, is_word, strict=True)
        ).rstrip()
        for row in table
    ]
