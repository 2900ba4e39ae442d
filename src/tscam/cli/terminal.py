"""Progress as a person sees it: bars on a terminal, plain lines otherwise. Used by the command line alone."""

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

_LINE_EVERY_S = 10.0  # between plain lines


@contextmanager
def counting(what: str) -> Generator[Callable[[int, int], None]]:
    """A bar or lines for work that is done in a known number of pieces: gives what takes `(done, of)`."""
    if not sys.stderr.isatty():
        yield _Lines(what)
        return
    with _bar() as bar:
        task = bar.add_task(what, total=None)

        def show(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield show


@contextmanager
def training() -> Generator[tuple[Callable[["TrainingProgress"], None], Callable[[str], None]]]:
    """A bar or lines for `train`, a line that stays for each epoch, and one for each note: two listeners."""
    if not sys.stderr.isatty():
        lines = _Lines("")

        def tell(at: "TrainingProgress") -> None:
            lines.say(_epoch(at) if at.row else _step(at), at.row is not None or at.step == 1)

        yield tell, lambda note: lines.say(note, True)
        return
    with _bar() as bar:
        task = bar.add_task("training", total=None)

        def show(at: "TrainingProgress") -> None:
            if at.row:
                bar.console.print(_epoch(at), highlight=False)
            done = (at.epoch - 1) * at.steps + at.step
            bar.update(task, completed=done, total=at.epochs * at.steps, description=_place(at))

        yield show, lambda note: bar.console.print(note, highlight=False)


def _bar() -> Progress:
    """The bar itself gives way where the terminal is narrow, nothing else."""
    bar = BarColumn(None, table_column=Column(ratio=1))
    columns = (TextColumn("{task.description}"), bar, MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), expand=True)


class _Lines:
    """A line every few seconds, and one at the end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        self.say(f"{self._what} {done}/{of}", done == of)

    def say(self, text: str, now: bool) -> None:
        if now or time.monotonic() - self._last >= _LINE_EVERY_S:
            self._last = time.monotonic()
            print(text, file=sys.stderr, flush=True)


def _place(at: "TrainingProgress") -> str:
    """What stands beside a bar, which shows steps and time left: short, so that all of it fits into 80 columns."""
    return f"epoch {at.epoch}/{at.epochs} loss {at.loss:.4f} {at.images_per_second:.1f} images/s"


def _step(at: "TrainingProgress") -> str:
    left = timedelta(seconds=round(at.seconds_left))
    best = f", best {_scores(at.best)} in epoch {at.best.epoch}" if at.best and _scores(at.best) else ""
    return (
        f"epoch {at.epoch}/{at.epochs} step {at.step}/{at.steps} loss {at.loss:.4f} rate {at.learning_rate:.2g} "
        f"{at.images_per_second:.1f} images/s, {left} left{best}"
    )


def _epoch(at: "TrainingProgress") -> str:
    assert at.row is not None
    scores = _scores(at.row)
    how = " (oracle)" if "oracle" in at.selection else ""
    on = f"{at.row.split}{how}: {scores}" if scores else ""
    best = "(best so far)" if at.is_best and scores else ""
    return " ".join(filter(None, [f"epoch {at.epoch}/{at.epochs} done: loss {at.loss:.4f}", on, best]))


def _scores(row: "EpochRow") -> str:
    scores = {"top-1 cls": row.top1_cls, "top-1 loc": row.top1_loc, "GT-known loc": row.gt_known_loc}
    return " ".join(f"{name} {score:.1f} %" for name, score in scores.items() if score is not None)
