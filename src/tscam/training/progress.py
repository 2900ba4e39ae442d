"""Where a training run is, in numbers: for whoever shows it."""

import math
import time
from dataclasses import dataclass

from tscam.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One row of `metrics.csv`. Percentages are of the test split, None where it cannot be scored.

    Attributes:
        epoch: from 1.
        train_loss: mean over the epoch's pictures.
        learning_rate: of the backbone.
        images_per_second: in training.
        top1_cls, top1_loc, gt_known_loc: under the protocol `ts-cam` at the data set's threshold.
    """

    epoch: int
    train_loss: float
    learning_rate: float
    images_per_second: float
    top1_cls: float | None = None
    top1_loc: float | None = None
    gt_known_loc: float | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where training is: after a step and, then with its row, after an epoch.

    Attributes:
        epoch, epochs, step, steps: from 1; the steps are this epoch's.
        loss: mean over the epoch's pictures so far.
        learning_rate: of the backbone.
        images_per_second: of this epoch so far.
        seconds_left: of training, at this pace.
        row: what stands in `metrics.csv`, at the end of an epoch.
        is_best: is this the best epoch so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    images_per_second: float
    seconds_left: float
    row: EpochRow | None = None
    is_best: bool = False


class Pace:
    """Counts the steps of one epoch."""

    def __init__(self, *, epoch: int, epochs: int, steps: int, learning_rate: float) -> None:
        self.epoch, self.epochs, self.steps, self.learning_rate = epoch, epochs, steps, learning_rate
        self._step, self._pictures, self._loss_sum = 0, 0, 0.0
        self._started = time.perf_counter()

    def count(self, loss: float, *, pictures: int) -> None:
        """One step more.

        Raises:
            TrainingError: the loss is not finite; said before the weights take it.
        """
        self._step += 1
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {self.epoch}, step {self._step} of {self.steps}; the weights of the "
                "epoch before, if any, are kept. Lower --learning-rate, or train with --precision fp32"
            )
        self._loss_sum += loss * pictures
        self._pictures += pictures

    def progress(self) -> Progress:
        """Where the epoch is now; at least one step has been counted."""
        seconds = time.perf_counter() - self._started
        steps_left = (self.epochs - self.epoch + 1) * self.steps - self._step
        return Progress(
            epoch=self.epoch,
            epochs=self.epochs,
            step=self._step,
            steps=self.steps,
            loss=self._loss_sum / self._pictures,
            learning_rate=self.learning_rate,
            images_per_second=self._pictures / seconds,
            seconds_left=seconds / self._step * steps_left,
        )
