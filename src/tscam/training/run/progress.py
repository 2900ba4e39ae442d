"""Where a training run is, in numbers: for whoever shows it."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One row of `metrics.csv`. Percentages are of the split that the best epoch is chosen on, None without one.

    What is measured in seconds stands elsewhere: a run that was cut short and taken up again has the very same rows.

    Attributes:
        epoch: from 1.
        train_loss: mean over the epoch's pictures.
        learning_rate: of the backbone, in the last step.
        split: that was scored; None where none was.
        top1_cls, top1_loc, gt_known_loc: under the protocol `ts-cam` at the threshold; None without boxes.
        threshold: the best one on a held-out split with boxes, else the data set's published one.
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
        """Name of what the best epoch is chosen by."""
        named = ("gt_known_loc", "top1_cls")
        return next((name for name in named if getattr(self, name) is not None), "epoch")

    @property
    def quality(self) -> float:
        """What the best epoch has most of: GT-known Loc, else accuracy, else epochs."""
        return float(getattr(self, self.measure))


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where training is: after a step and, then with its row, after an epoch.

    Attributes:
        epoch, epochs, step, steps: from 1; the steps are this epoch's.
        loss: mean over the epoch's pictures so far.
        learning_rate: of the backbone.
        selection: how the best epoch is chosen, in words.
        images_per_second: of this epoch so far, or since it was taken up again.
        seconds_left: of training, at this pace.
        waiting: share of the time so far in which the next pictures were not there yet.
        best: the row of the best epoch so far.
        row: what stands in `metrics.csv`, at the end of an epoch.
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
        """Is the epoch that has just ended the best so far?"""
        return self.row is not None and self.row == self.best


class Pace:
    """Times the steps of one epoch."""

    def __init__(self) -> None:
        self._steps, self._pictures, self._waited = 0, 0, 0.0
        self._started = self._last = time.perf_counter()

    def batch_arrived(self) -> None:
        """The pictures of the next step are there."""
        self._waited += time.perf_counter() - self._last

    def count(self, pictures: int) -> None:
        """One step more."""
        self._steps += 1
        self._pictures += pictures
        self._last = time.perf_counter()

    @property
    def images_per_second(self) -> float:
        return self._pictures / self._seconds if self._steps else 0.0

    @property
    def waiting(self) -> float:
        return self._waited / self._seconds if self._steps else 0.0

    def seconds_for(self, steps: int) -> float:
        """That so many steps will take."""
        return self._seconds / self._steps * steps if self._steps else 0.0

    @property
    def _seconds(self) -> float:
        return max(self._last - self._started, 1e-9)
