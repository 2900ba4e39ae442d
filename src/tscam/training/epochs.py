"""Epoch after epoch: training steps, scores, rows, weights; and a state wherever a run may be interrupted."""

import signal
import time
from collections.abc import Callable
from dataclasses import asdict, replace

from tscam.errors import StoppedError, TrainingError, first_names
from tscam.system.stopping import StopRequest
from tscam.system.writing import write_csv
from tscam.training.learner import Learner, NotFiniteError
from tscam.training.pictures import Batch, TrainingBatches
from tscam.training.run.position import Position, SavedPosition
from tscam.training.run.progress import EpochRow, Pace, Progress
from tscam.training.run.run_folder import RunFolder
from tscam.training.run.run_results import draw_results
from tscam.training.run.trackers import Tracker
from tscam.training.schedule import ScheduleSettings, learning_rate_factor
from tscam.training.selection import EpochScorer

# Steps between two points of the training loss in a tracker.
_TRACKED_STEPS = 10


class Epochs:
    """The loop of a run, in each of its processes.

    Attributes:
        position: epoch and step that the run has reached.
        tracker: records the metrics; by default it records nothing.
    """

    def __init__(
        self,
        learner: Learner,
        batches: TrainingBatches,
        scorer: EpochScorer,
        run: RunFolder,
        *,
        schedule: ScheduleSettings,
        stop: StopRequest,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._learner, self._batches, self._scorer, self._run = learner, batches, scorer, run
        self._schedule, self._stop_request, self._on_progress = schedule, stop, on_progress
        self._order, self._processes = batches.order, learner.processes
        self.position, self._pace = Position(), Pace()
        self.tracker = Tracker()
        self._saved = time.monotonic()

    @property
    def steps_done(self) -> int:
        """Number of steps done in the whole training."""
        return (self.position.epoch - 1) * self._order.steps + self.position.step

    def restore(self) -> tuple[str, ...]:
        """Load the last saved state; return which newer states were corrupt, each with the reason.

        Raises:
            TrainingError: every state is corrupt, or settings or data have changed since it was saved.
        """
        state = self._run.load()
        saved = SavedPosition.from_json(state.facts["position"])
        self._learner.load_tensors(state.tensors)
        if self._learner.settings.auto_batch:  # Parts that once fitted into memory; otherwise the settings decide.
            self._learner.accumulate = max(saved.accumulate, self._learner.accumulate)
        self._learner.scaler.load_state_dict(dict(saved.scaler))
        self.position = saved.position
        return state.corrupt

    def train_all(self) -> None:
        """Train, score and save every epoch that is left, then test the chosen weights.

        Raises:
            StoppedError: a signal came; the state is saved.
            TrainingError: loss or weights are not finite, or memory ran out; the last state is unchanged.
            TscamError: the disk refuses, or a picture cannot be read.
        """
        if self.position == Position():
            self._save()  # so that even a run that dies in its first step can be resumed
        while self.position.epoch <= self._schedule.epochs:
            if self.position.step < self._order.steps:
                self._train_epoch()
            row = EpochRow(epoch=self.position.epoch, train_loss=self._mean_loss(), learning_rate=self._learning_rate())
            row = self._scorer.score(row, self._learner.evaluated_model, on_picture=self._stop_if_requested)
            self.position.rows.append(row)
            self._finish_epoch(row)
            self.position = Position(epoch=self.position.epoch + 1, rows=self.position.rows)
            self._save()
        self._scorer.test(self._run.best, self._run.path / "test", on_picture=self._stop_if_requested)

    def _train_epoch(self) -> None:
        position, order = self.position, self._order
        self._pace = Pace()
        self._learner.begin_training()
        for batch in self._batches.of_epoch(position.epoch, first_step=position.step):
            self._pace.batch_arrived()
            step_number = self.steps_done + 1
            pictures = order.pictures_in(position.step)
            factor = self._rate_factor(position.step)
            try:
                loss = self._learner.step(batch, step_number=step_number, pictures=pictures, rate_factor=factor)
            except NotFiniteError as fault:
                raise self._with_pictures(fault, batch) from fault
            position.step += 1
            position.loss_sum += loss * pictures
            self._pace.count(pictures)
            if step_number % _TRACKED_STEPS == 0:
                self.tracker.log({"train/loss": loss, "train/learning_rate": self._learning_rate()}, step=step_number)
            self._on_progress(self._progress())
            self._save_or_stop()

    def _save_or_stop(self) -> None:
        """Save or stop between two steps; all processes do so at the same step."""
        minutes = self._run.settings.save_minutes
        is_due = self._processes.is_main and time.monotonic() - self._saved >= 60 * minutes
        is_requested = self._stop_request.signal is not None
        due, requests = self._processes.sum([float(is_due), float(is_requested)], device=self._learner.device)
        if due or requests or self.position.step == self._order.steps:
            self._save()
        if requests:
            self._stop(self._stop_request.signal or signal.SIGTERM)

    def _finish_epoch(self, row: EpochRow) -> None:
        """Write the files of an epoch and report it. A run that was interrupted here does it again, to the same end."""
        if self._processes.is_main:
            model = self._learner.evaluated_model
            if row.threshold is not None:
                model.spec = replace(model.spec, threshold=row.threshold)
            self._run.write_weights(row, model, is_best=row is self.position.best)
            self._run.write_rows(self.position.rows)
            draw_results(self._run.path / "results.png", self.position.rows, selection=self._run.facts.selection)
            every = self._run.settings.samples_every
            if every and (row.epoch % every == 0 or row.epoch == self._schedule.epochs):
                self._scorer.write_samples(self._run.path / "samples" / f"epoch-{row.epoch:04d}.jpg", model)
            scores = {name: value for name, value in asdict(row).items() if isinstance(value, float)}
            self.tracker.log({f"epoch/{name}": value for name, value in scores.items()}, step=self.steps_done)
        self._on_progress(replace(self._progress(), row=row))

    def _save(self) -> None:
        """Save the state.

        Raises:
            TrainingError: weights or class scores are not finite; nothing is saved.
        """
        self._saved = time.monotonic()
        if not self._processes.is_main:
            return
        if not_finite := self._learner.find_not_finite():
            raise TrainingError(
                f"the {not_finite} are not finite in epoch {self.position.epoch} after step {self.position.step} of "
                f"{self._order.steps}; {self._way_out}"
            )
        saved = SavedPosition(
            position=self.position, accumulate=self._learner.accumulate, scaler=self._learner.scaler.state_dict()
        )
        self._run.save(self._learner.tensors(), saved.to_json())

    def _stop(self, signal_number: int) -> None:
        position = f"in epoch {self.position.epoch} after step {self.position.step} of {self._order.steps}"
        if self.position.epoch > self._schedule.epochs:
            position = "after the last epoch, before the test was done"
        message = f"stopped {position}; the state is saved, continue with `tscam resume {self._run.path}`"
        raise StoppedError(message, signal_number)

    def _stop_if_requested(self, _done: int, _count: int) -> None:
        """Stop between two scored pictures; the state of the epoch's end is saved."""
        if self._stop_request.signal is not None:
            self._stop(self._stop_request.signal)

    def _with_pictures(self, fault: NotFiniteError, batch: Batch) -> TrainingError:
        """The error with the step where it occurred and the pictures of that step, which are listed in a file."""
        indices = self._processes.gather(batch.indices.tolist())
        names = [self._batches.pictures.dataset.image_ids[index] for index in indices]
        listed = self._run.path / "bad_batch.csv"
        if self._processes.is_main:
            write_csv(listed, ["image"], [[name] for name in names])
        return TrainingError(
            f"{fault} in epoch {self.position.epoch}, step {self.position.step + 1} of {self._order.steps}, with the "
            f"pictures {first_names([repr(name) for name in names], at_most=1)} ({listed}); {self._way_out}"
        )

    @property
    def _way_out(self) -> str:
        other = "" if self._learner.settings.precision == "fp32" else ", or train with --precision fp32"
        return f"the last good state and weights are kept. Lower --learning-rate{other}"

    def _rate_factor(self, step: int) -> float:
        """The factor in the middle of a step, from 0: a warm-up's first and a cosine's last step are not zero."""
        return learning_rate_factor(self._schedule, self.position.epoch, done=(step + 0.5) / self._order.steps)

    def _learning_rate(self) -> float:
        """The learning rate of the last step."""
        return self._learner.settings.optimizer.learning_rate * self._rate_factor(self.position.step - 1)

    def _mean_loss(self) -> float:
        return self.position.loss_sum / min(self.position.step * self._order.batch_size, self._order.pictures)

    def _progress(self) -> Progress:
        """The progress after at least one step of the epoch."""
        return Progress(
            epoch=self.position.epoch,
            epochs=self._schedule.epochs,
            step=self.position.step,
            steps=self._order.steps,
            loss=self._mean_loss(),
            learning_rate=self._learning_rate(),
            selection=self._run.facts.selection,
            images_per_second=self._pace.images_per_second,
            seconds_left=self._pace.seconds_for(self._schedule.epochs * self._order.steps - self.steps_done),
            waiting=self._pace.waiting,
            best=self.position.best,
        )
