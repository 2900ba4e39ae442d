"""Progress for people: bars on a terminal, plain lines otherwise. Used by the command line alone."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

if TYPE_CHECKING:
    from tscam.training.run.progress import EpochRow
    from tscam.training.run.progress import Progress as TrainingProgress

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def counting(work: str) -> Generator[Callable[[int, int], None]]:
    """Show progress of work with a known number of pieces; yields the listener, called with `(done, count)`.

    Args:
        work: name of the work, such as `evaluating`.
    """
    if not sys.stderr.isatty():
        yield _Lines(work)
        return
    with _bar() as bar:
        task = bar.add_task(work, total=None)

        def show(done: int, count: int) -> None:
            bar.update(task, completed=done, total=count)

        yield show


@contextmanager
def training() -> Generator[tuple[Callable[["TrainingProgress"], None], Callable[[str], None]]]:
    """Show progress of training, with a line for each epoch and each note; yields the two listeners of `train`."""
    if not sys.stderr.isatty():
        lines = _Lines("")

        def print_progress(progress: "TrainingProgress") -> None:
            is_first = progress.step == 1
            text = _describe_epoch(progress) if progress.row else _describe_step(progress)
            lines.print(text, always=progress.row is not None or is_first)

        yield print_progress, lambda note: lines.print(note, always=True)
        return
    with _bar() as bar:
        task = bar.add_task("training", total=None)

        def show(progress: "TrainingProgress") -> None:
            if progress.row:
                bar.console.print(_describe_epoch(progress), highlight=False)
            done = (progress.epoch - 1) * progress.steps + progress.step
            bar.update(
                task, completed=done, total=progress.epochs * progress.steps, description=_describe_bar(progress)
            )

        yield show, lambda note: bar.console.print(note, highlight=False)


def _bar() -> Progress:
    """A progress bar of which only the bar itself shrinks on a narrow terminal."""
    bar = BarColumn(None, table_column=Column(ratio=1))
    columns = (TextColumn("{task.description}"), bar, MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), expand=True)


class _Lines:
    """A line every few seconds, and one at the end."""

    def __init__(self, work: str) -> None:
        self._work = work
        self._printed = time.monotonic()

    def __call__(self, done: int, count: int) -> None:
        self.print(f"{self._work} {done}/{count}", always=done == count)

    def print(self, text: str, *, always: bool) -> None:
        if always or time.monotonic() - self._printed >= _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            print(text, file=sys.stderr, flush=True)


def _describe_bar(progress: "TrainingProgress") -> str:
    """The text beside a bar, which shows steps and time left: short, so that all fits into 80 columns."""
    loss, speed = f"loss {progress.loss:.4f}", f"{progress.images_per_second:.1f} images/s"
    return f"epoch {progress.epoch}/{progress.epochs} {loss} {speed}"


def _describe_step(progress: "TrainingProgress") -> str:
    left = timedelta(seconds=round(progress.seconds_left))
    best = progress.best
    best_so_far = f", best {_scores(best)} in epoch {best.epoch}" if best and _scores(best) else ""
    return (
        f"epoch {progress.epoch}/{progress.epochs} step {progress.step}/{progress.steps} loss {progress.loss:.4f} "
        f"rate {progress.learning_rate:.2g} {progress.images_per_second:.1f} images/s, {left} left{best_so_far}"
    )


def _describe_epoch(progress: "TrainingProgress") -> str:
    assert progress.row is not None
    scores = _scores(progress.row)
    oracle = " (oracle)" if "oracle" in progress.selection else ""
    parts = [f"epoch {progress.epoch}/{progress.epochs} done: loss {progress.loss:.4f}"]
    if scores:
        parts.append(f"{progress.row.split}{oracle}: {scores}")
        parts += ["(best so far)"] if progress.is_best else []
    return " ".join(parts)


def _scores(row: "EpochRow") -> str:
    scores = {"top-1 cls": row.top1_cls, "top-1 loc": row.top1_loc, "GT-known loc": row.gt_known_loc}
    return " ".join(f"{name} {score:.1f} %" for name, score in scores.items() if score is not None)
