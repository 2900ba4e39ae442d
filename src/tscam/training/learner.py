"""What a training step changes: weights, their moving average, the optimizer; and how a step changes it.

The gradient of a step is that of the mean loss over all pictures of the step, however many processes share them and in
however many parts each takes its share. Knows nothing of epochs, files and data sets.
"""

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor

from tscam.config import TrainConfig
from tscam.errors import TrainingError
from tscam.model import LocalizationModel
from tscam.predictors.pytorch import autocast
from tscam.system.memory import free_unused, is_out_of_memory
from tscam.system.processes import Processes
from tscam.training.batch_norms import RunningStatistics
from tscam.training.optimizer import create_optimizer, freeze
from tscam.training.pictures import Batch, normalized

_NOTHING_FITS = "not even one picture at once fits into memory; take a smaller --image-size or --backbone"


class NotFiniteError(TrainingError):
    """The loss is NaN or infinite; the weights have not taken it."""


class Learner:
    """A model in training.

    Attributes:
        model: on its device.
        accumulate: parts that each share of a step is taken in; it grows where memory does not suffice.
        on_note: takes what a person should know, as a line of text.
    """

    def __init__(
        self,
        model: LocalizationModel,
        config: TrainConfig,
        *,
        device: torch.device,
        processes: Processes,
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        freeze(model, backbone=config.freeze_backbone, blocks=config.freeze_blocks)
        self._statistics = RunningStatistics(model)
        self.model = model.to(device)
        self.device, self.processes, self.config, self.on_note = device, processes, config, on_note
        self.accumulate = config.accumulate
        self.optimizer = create_optimizer(
            model,
            learning_rate=config.learning_rate,
            head_learning_rate=config.head_learning_rate,
            layer_decay=config.layer_decay,
            weight_decay=config.weight_decay,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self._model_loss = torch.compile(model.loss) if config.compile else model.loss
        self._average = None if config.ema is None else ModelEmaV3(model, decay=config.ema, use_warmup=True)

    @property
    def kept_model(self) -> LocalizationModel:
        """The model that is scored and kept: the moving average where there is one."""
        return self.model if self._average is None else self._average.module

    def begin_training(self) -> None:
        """Puts the model into training mode, but for the statistics of what is frozen."""
        self.model.train()
        self._statistics.hold_frozen()

    def step(self, batch: Batch, *, number: int, pictures: int, rate_factor: float) -> float:
        """One step of a model in training mode; returns the mean loss over all its pictures.

        Args:
            batch: this process's share.
            number: of the step in the whole training, from 1.
            pictures: of the step, over all processes.
            rate_factor: of the learning rates.

        Raises:
            NotFiniteError: the loss is; the weights have not taken it.
            TrainingError: memory does not suffice.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate_factor
        # For dropout, where a backbone has it: a generator's state would have to be kept.
        torch.manual_seed(self.config.seed + number * self.processes.count + self.processes.rank)
        loss = self._add_gradients(batch, pictures)
        if not math.isfinite(loss):
            raise NotFiniteError(f"the loss is {loss}")
        self.processes.add_up([weight.grad for weight in self.model.parameters() if weight.grad is not None])
        if self.config.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update(self.model, step=number)
        return loss

    def spoilt(self) -> str | None:
        """What is not finite, in words; None where all is as it should be.

        Raises:
            TrainingError: memory does not suffice.
        """
        if not all(bool(tensor.isfinite().all()) for tensor in self.tensors().values()):
            return "weights"
        height, width = self.model.input_format.size_hw
        is_training = self.model.training
        try:
            with torch.no_grad():  # a black picture
                scores = self.model.eval()(torch.zeros((1, 3, height, width), device=self.device))
        except (RuntimeError, MemoryError) as fault:
            if not is_out_of_memory(fault):
                raise
            raise TrainingError(_NOTHING_FITS) from fault
        if is_training:
            self.begin_training()
        return None if bool(scores.isfinite().all()) else "class scores"

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a step changes, by name."""
        found = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self._average is not None:
            found |= {f"ema.{name}": tensor for name, tensor in self._average.module.state_dict().items()}
        for name, parameter in self._optimized().items():
            for what, tensor in self.optimizer.state[parameter].items():
                found[f"optimizer.{what}.{name}"] = tensor
        return found

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes what `tensors` gave.

        Raises:
            KeyError, RuntimeError: they are another model's.
        """
        self.model.load_state_dict(_under("model.", tensors))
        if self._average is not None:
            self._average.module.load_state_dict(_under("ema.", tensors))
        for name, parameter in self._optimized().items():
            for what in ("step", "exp_avg", "exp_avg_sq"):
                if (kept := tensors.get(f"optimizer.{what}.{name}")) is not None:
                    place = kept if what == "step" else kept.to(self.device)
                    self.optimizer.state[parameter][what] = place

    def _optimized(self) -> dict[str, Tensor]:
        groups = self.optimizer.param_groups
        return {
            name: parameter
            for group in groups
            for name, parameter in zip(group["param_names"], group["params"], strict=True)
        }

    def _add_gradients(self, batch: Batch, pictures: int) -> float:
        """Adds up the gradients of this process's share; returns the mean loss over all pictures of the step."""
        before = self._statistics.kept()
        while True:
            try:
                loss = sum(
                    (self._part_loss(part, pictures).detach() for part in _parts(batch, self.accumulate)),
                    start=torch.zeros((), device=self.device),
                )
                break
            except (RuntimeError, MemoryError) as fault:
                if not is_out_of_memory(fault):
                    raise
                problem = fault
            self._take_smaller_parts(batch, problem)
            self._statistics.restore(before)
        if not len(batch.labels):  # nothing was learnt of the stand-in
            self._statistics.restore(before)
        self._statistics.share(self.processes, weight=len(batch.labels) / pictures)
        return self.processes.sum([float(loss)], device=self.device)[0]

    def _part_loss(self, part: Batch, pictures: int) -> Float[Tensor, ""]:
        """The part's share of the step's mean loss; its gradient is added to what there is."""
        if len(part.labels):
            loss = self._loss(part) * (len(part.labels) / pictures)
        else:  # A process without pictures has a gradient of zero for just those weights that the others have one for.
            loss = self._loss(_stand_in(part)) * 0.0
        self.scaler.scale(loss).backward()
        return loss

    def _loss(self, part: Batch) -> Float[Tensor, ""]:
        pixels, labels, draws = (
            tensor.to(self.device, non_blocking=True) for tensor in (part.pixels, part.labels, part.draws)
        )
        network_pixels = normalized(pixels, to=self.model.input_format)
        with autocast(self.device, self.config.precision):
            return self._model_loss(network_pixels, labels, draws=draws, label_smoothing=self.config.label_smoothing)

    def _take_smaller_parts(self, batch: Batch, problem: BaseException) -> None:
        """Doubles the number of parts after memory has run out, where that was allowed and helps.

        Raises:
            TrainingError: it was not, or does not; names the largest part that fits.
        """
        self._forget_gradients()
        tried = -(-len(batch.labels) // self.accumulate)
        if tried > 1 and self.config.auto_batch:
            self.accumulate *= 2
            self.on_note(f"memory does not suffice: each step is taken in {self.accumulate} parts from here on")
            return
        fitting = self._most_that_fit(batch, below=tried)
        if fitting:
            parts = -(-len(batch.labels) // fitting)
            raise TrainingError(
                f"{tried} pictures at once do not fit into memory, {fitting} do; set `accumulate: {parts}` or "
                "`auto_batch: true` in RUN/config.yaml, then `tscam resume RUN`; or train with a smaller --batch-size"
            ) from problem
        raise TrainingError(_NOTHING_FITS) from problem

    def _most_that_fit(self, batch: Batch, *, below: int) -> int:
        """The largest number of pictures at once that memory suffices for; 0 where there is none."""
        fitting = 0
        while below - fitting > 1:
            middle = (fitting + below) // 2
            if self._fits(Batch(*(tensor[:middle] for tensor in batch))):
                fitting = middle
            else:
                below = middle
        return fitting

    def _fits(self, part: Batch) -> bool:
        try:
            self._part_loss(part, len(part.labels))
        except (RuntimeError, MemoryError) as fault:
            if not is_out_of_memory(fault):
                raise
            return False
        finally:
            self._forget_gradients()
        return True

    def _forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        free_unused()


def _parts(batch: Batch, count: int) -> list[Batch]:
    """The batch cut into at most so many parts of nearly the same size; one, where it is empty."""
    parts = zip(*(tensor.tensor_split(min(count, max(len(batch.labels), 1))) for tensor in batch), strict=True)
    return [Batch(*part) for part in parts]


def _stand_in(part: Batch) -> Batch:
    """One black picture of the first class."""
    return Batch(*(torch.zeros((1, *tensor.shape[1:]), dtype=tensor.dtype) for tensor in part))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
