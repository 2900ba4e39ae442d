"""Epoch after epoch: training steps, scores, rows, weights; and a state at every place where a run may be left."""

import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch.utils.data import DataLoader

from tscam.config import TrainConfig
from tscam.datasets import has_boxes
from tscam.errors import ImageError, StoppedError, TrainingError
from tscam.evaluation.map_sources import MappedSplit, PredictedMaps
from tscam.evaluation.results import METRICS
from tscam.evaluation.scoring import score
from tscam.predictors import open_predictor
from tscam.predictors.pytorch import PyTorchPredictor
from tscam.system.processes import Processes
from tscam.system.stopping import StopRequest
from tscam.training.learner import Learner, NotFiniteError
from tscam.training.pictures import Batch, EpochOrder, read
from tscam.training.run.progress import EpochRow, Pace, Progress
from tscam.training.run.run_folder import RunFolder
from tscam.training.run.run_results import draw_results
from tscam.training.run.samples import write_samples
from tscam.training.run.trackers import Tracker
from tscam.training.schedule import learning_rate_factor
from tscam.training.selection import PROTOCOL, score_epoch
from tscam.training.splits import Splits
from tscam.writing import write_csv, write_json

# Steps between two points of the training loss in a tracker.
_TRACKED_STEPS = 10


@dataclass(kw_only=True)
class Position:
    """Where a run is, tensors aside.

    Attributes:
        epoch: from 1; one above the last when all are done.
        step: steps done in it; when all are, it has been trained and not yet scored.
        loss_sum: over the epoch's pictures so far.
        rows: of the epochs before.
    """

    epoch: int = 1
    step: int = 0
    loss_sum: float = 0.0
    rows: list[EpochRow] = field(default_factory=list)

    @property
    def best(self) -> EpochRow | None:
        """The row of the best epoch so far, the first of equal ones."""
        return max(self.rows, key=lambda row: row.quality, default=None)


class Epochs:
    """The loop of a run, in each of its processes.

    Args:
        batches: of `order`, which says where it is entered.

    Attributes:
        tracker: records the metrics; by default it records nothing.
    """

    def __init__(
        self,
        config: TrainConfig,
        splits: Splits,
        learner: Learner,
        order: EpochOrder,
        batches: DataLoader[Batch | ImageError],
        run: RunFolder,
        *,
        processes: Processes,
        stop: StopRequest,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.config, self.splits, self.learner, self.order, self.batches = config, splits, learner, order, batches
        self.run, self.processes, self.stop = run, processes, stop
        self.on_progress = on_progress
        self.at, self.pace = Position(), Pace()
        self.tracker = Tracker()
        self._saved = time.monotonic()

    def restore(self) -> tuple[str, ...]:
        """Goes to where the run was left; returns which newer states were spoilt, each with the reason.

        Raises:
            TrainingError: no state is whole, or settings or data are not those that it was saved under.
        """
        state = self.run.load()
        position: dict[str, Any] = state.facts["position"]
        self.learner.load_tensors(state.tensors)
        found = position.pop("accumulate")  # with `auto_batch`, what memory sufficed for; else the settings say it
        if self.config.auto_batch:
            self.learner.accumulate = max(found, self.learner.accumulate)
        self.learner.scaler.load_state_dict(position.pop("scaler"))
        rows = [EpochRow(**row) for row in position.pop("rows")]
        self.at = Position(**position, rows=rows)
        return state.spoilt

    def go(self) -> None:
        """Trains, scores and keeps every epoch that is left, then tests the chosen weights.

        Raises:
            StoppedError: a signal came, and the state is saved.
            TrainingError: the loss or the weights are not finite, or memory does not suffice; the last state stays.
            TscamError: the disk refuses, or a picture cannot be read.
        """
        if self.at == Position():
            self._save()  # so that even a run that dies in its first step can be resumed
        while self.at.epoch <= self.config.epochs:
            if self.at.step < self.order.steps:
                self._train_epoch()
            row = self._scored()
            self.at.rows.append(row)
            self._keep(row)
            self.at = Position(epoch=self.at.epoch + 1, rows=self.at.rows)
            self._save()
        self._test()

    def _train_epoch(self) -> None:
        at, order = self.at, self.order
        order.epoch, order.first_step = at.epoch, at.step
        self.pace = Pace()
        self.learner.begin_training()
        for batch in read(iter(self.batches)):
            self.pace.arrived()
            number = self.steps_done + 1
            pictures = order.pictures_in(at.step)
            try:
                factor = self._rate_factor(at.step)
                loss = self.learner.step(batch, number=number, pictures=pictures, rate_factor=factor)
            except NotFiniteError as fault:
                raise self._named(fault, batch) from fault
            at.step += 1
            at.loss_sum += loss * pictures
            self.pace.count(pictures)
            if number % _TRACKED_STEPS == 0:
                self.tracker.log({"train/loss": loss, "train/learning_rate": self._learning_rate()}, step=number)
            self.on_progress(self._progress())
            self._save_or_stop()

    def _save_or_stop(self) -> None:
        """Between two steps: all processes save, or stop, at the same one."""
        is_due = self.processes.is_main and time.monotonic() - self._saved >= 60 * self.config.save_minutes
        is_wished = self.stop.signal is not None
        due, wishes = self.processes.sum([float(is_due), float(is_wished)], device=self.learner.device)
        if due or wishes or self.at.step == self.order.steps:
            self._save()
        if wishes:
            self._stop(self.stop.signal or signal.SIGTERM)

    def _scored(self) -> EpochRow:
        """The row of the epoch that has just been trained."""
        row = EpochRow(epoch=self.at.epoch, train_loss=self._mean_loss(), learning_rate=self._learning_rate())
        dataset = self.splits.choosing
        if dataset is None:
            return row
        return score_epoch(
            row, self._predictor(), dataset, choose_threshold=self.config.select == "val",
            batch_size=self._scoring_batch, workers=self.config.workers, processes=self.processes,
            on_progress=self._scoring,
        )  # fmt: skip

    def _keep(self, row: EpochRow) -> None:
        """Files and messages of an epoch; done again to the same effect where the run was cut before its next state."""
        best = self.at.best
        if self.processes.is_main:
            model = self.learner.kept_model
            if row.threshold is not None:
                model.spec = replace(model.spec, threshold=row.threshold)
            self.run.write_weights(row, model, is_best=row is best)
            self.run.write_rows(self.at.rows)
            draw_results(self.run.path / "results.png", self.at.rows, selection=self.run.selection)
            self._write_samples(row)
            scores = {name: value for name, value in asdict(row).items() if isinstance(value, float)}
            self.tracker.log({f"epoch/{name}": value for name, value in scores.items()}, step=self.steps_done)
        self.on_progress(replace(self._progress(), row=row))

    def _write_samples(self, row: EpochRow) -> None:
        every, dataset = self.config.samples_every, self.splits.choosing or self.splits.test
        if dataset is not None and every and (row.epoch % every == 0 or row.epoch == self.config.epochs):
            path = self.run.path / "samples" / f"epoch-{row.epoch:04d}.jpg"
            predictor = self._predictor()
            write_samples(path, predictor, dataset, threshold=predictor.threshold)

    def _test(self) -> None:
        """Scores the chosen weights on the test split, which no choice has seen, unless by `oracle`."""
        test, out = self.splits.test, self.run.path / "test"
        self.processes.wait()  # until the first one has written the weights
        if test is None:
            return
        chosen = open_predictor(self.run.best, device=str(self.learner.device), precision=self.config.precision)
        how: dict[str, Any] = {"processes": self.processes, "on_progress": self._scoring}
        reading: dict[str, Any] = {"batch_size": self._scoring_batch, "workers": self.config.workers}
        if has_boxes(test):
            maps = PredictedMaps(predictor=chosen, **reading)
            score(MappedSplit(dataset=test, maps=maps), {PROTOCOL: maps.default_threshold(test)}, out=out, **how)
            return
        row = EpochRow(epoch=0, train_loss=0.0, learning_rate=0.0)
        row = score_epoch(row, chosen, test, choose_threshold=False, **reading, **how)
        if self.processes.is_main:
            of_data = {"split": test.split, "pictures": len(test), "top1_cls": row.top1_cls}
            write_json(out / METRICS, chosen.facts.to_json() | of_data, indent=2)

    def _save(self) -> None:
        """Keeps the state, if it is worth it.

        Raises:
            TrainingError: it is not, since weights or class scores are not finite.
        """
        self._saved = time.monotonic()
        if not self.processes.is_main:
            return
        if spoilt := self.learner.spoilt():
            raise TrainingError(
                f"the {spoilt} are not finite in epoch {self.at.epoch} after step {self.at.step} of "
                f"{self.order.steps}; {self._way_out}"
            )
        position = {
            "epoch": self.at.epoch,
            "step": self.at.step,
            "loss_sum": self.at.loss_sum,
            "rows": [asdict(row) for row in self.at.rows],
            "accumulate": self.learner.accumulate,
            "scaler": self.learner.scaler.state_dict(),
        }
        self.run.save(self.learner.tensors(), position)

    def _stop(self, number: int) -> None:
        place = f"in epoch {self.at.epoch} after step {self.at.step} of {self.order.steps}"
        if self.at.epoch > self.config.epochs:
            place = "after the last epoch, before the test was done"
        message = f"stopped {place}; the state is saved, go on with `tscam resume {self.run.path}`"
        raise StoppedError(message, number)

    def _scoring(self, _done: int, _of: int) -> None:
        """Called for each scored picture; the state is that of the epoch's end, and saved."""
        if self.stop.signal is not None:
            self._stop(self.stop.signal)

    def _named(self, fault: NotFiniteError, batch: Batch) -> TrainingError:
        """The fault with the place where it happened and the pictures that were in it."""
        indices = self.processes.gather(batch.indices.tolist())
        names = [self.splits.training.image_ids[index] for index in indices]
        more = f" and {len(names) - 1} more pictures" if len(names) > 1 else ""
        listed = self.run.path / "bad_batch.csv"
        if self.processes.is_main:
            write_csv(listed, ["image"], [[name] for name in names])
        return TrainingError(
            f"{fault} in epoch {self.at.epoch}, step {self.at.step + 1} of {self.order.steps}, with {names[0]!r}{more} "
            f"({listed}); {self._way_out}"
        )

    @property
    def _way_out(self) -> str:
        other = "" if self.config.precision == "fp32" else ", or train with --precision fp32"
        return f"the last good state and weights are kept. Lower --learning-rate{other}"

    @property
    def _scoring_batch(self) -> int:
        return min(self.config.batch_size, 32)

    def _predictor(self) -> PyTorchPredictor:
        model = self.learner.kept_model
        return PyTorchPredictor(model, device=str(self.learner.device), precision=self.config.precision)

    def _rate_factor(self, step: int) -> float:
        """In the middle of a step of the epoch, from 0: neither a warm-up's first nor a cosine's last one is lost."""
        return learning_rate_factor(
            self.at.epoch, done=(step + 0.5) / self.order.steps, schedule=self.config.schedule,
            steps=self.config.learning_rate_steps, epochs=self.config.epochs,
            warmup_epochs=self.config.warmup_epochs,
        )  # fmt: skip

    def _learning_rate(self) -> float:
        """Of the step that was done last."""
        return self.config.learning_rate * self._rate_factor(self.at.step - 1)

    def _mean_loss(self) -> float:
        return self.at.loss_sum / min(self.at.step * self.order.batch_size, self.order.pictures)

    @property
    def steps_done(self) -> int:
        """Of the whole training."""
        return (self.at.epoch - 1) * self.order.steps + self.at.step

    def _progress(self) -> Progress:
        """After at least one step of the epoch."""
        return Progress(
            epoch=self.at.epoch,
            epochs=self.config.epochs,
            step=self.at.step,
            steps=self.order.steps,
            loss=self._mean_loss(),
            learning_rate=self._learning_rate(),
            selection=self.run.selection,
            images_per_second=self.pace.images_per_second,
            seconds_left=self.pace.seconds_for(self.config.epochs * self.order.steps - self.steps_done),
            waiting=self.pace.waiting,
            best=self.at.best,
        )
