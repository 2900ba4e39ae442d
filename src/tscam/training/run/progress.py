"""The progress of a training run in numbers, for those who show it."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One row of `metrics.csv`. Scores are percentages of the split that the best epoch is chosen on, None without one.

    Times are not part of it: a run that was interrupted and resumed has the very same rows.

    Attributes:
        epoch: from 1.
        train_loss: mean over the epoch's pictures.
        learning_rate: the backbone's in the last step.
        split: name of the scored split; None if none was.
        top1_cls, top1_loc, gt_known_loc: scores under the protocol `ts-cam` at the threshold; None without boxes.
        threshold: the best one on a held-out split with boxes, otherwise the dataset's published one.
    """

    epoch: int
    train_loss: float
    learning_rate: float
    split: str | None = None
    top1_cls: float | None = None
    top1_loc: float | None = None
    gt_known_loc: float | None = None
    threshold: float | None = None

    @property
    def measure(self) -> str:
        """Name of the column that the best epoch is chosen by: GT-known Loc, else accuracy, else the epoch."""
        names = ("gt_known_loc", "top1_cls")
        return next((name for name in names if getattr(self, name) is not None), "epoch")

    @property
    def quality(self) -> float:
        """The value of that column; the best epoch has the largest."""
        return float(getattr(self, self.measure))


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of training after a step, and once more after an epoch, with its row.

    Attributes:
        epoch, epochs, step, steps: from 1; the steps are this epoch's.
        loss: mean over the epoch's pictures so far.
        learning_rate: the backbone's.
        selection: how the best epoch is chosen, in words.
        images_per_second: speed of this epoch so far, or since it was resumed.
        seconds_left: time that the rest of training takes at this speed.
        waiting: fraction of the time so far that was spent waiting for the next pictures.
        best: row of the best epoch so far.
        row: row of the epoch that has just ended.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    selection: str
    images_per_second: float
    seconds_left: float
    waiting: float
    best: EpochRow | None = None
    row: EpochRow | None = None

    @property
    def is_best(self) -> bool:
        """True if the epoch that has just ended is the best so far."""
        return self.row is not None and self.row == self.best


class Pace:
    """Times the steps of one epoch."""

    def __init__(self) -> None:
        self._steps, self._pictures, self._waited = 0, 0, 0.0
        self._started = self._last = time.perf_counter()

    def batch_arrived(self) -> None:
        """Note that the pictures of the next step are there."""
        self._waited += time.perf_counter() - self._last

    def count(self, pictures: int) -> None:
        """Count a step that is done."""
        self._steps += 1
        self._pictures += pictures
        self._last = time.perf_counter()

    @property
    def images_per_second(self) -> float:
        return self._pictures / self._seconds if self._steps else 0.0

    @property
    def waiting(self) -> float:
        """Fraction of the time that was spent waiting for pictures."""
        return self._waited / self._seconds if self._steps else 0.0

    def seconds_for(self, steps: int) -> float:
        """Seconds that so many steps take at the speed so far."""
        return self._seconds / self._steps * steps if self._steps else 0.0

    @property
    def _seconds(self) -> float:
        return max(self._last - self._started, 1e-9)
