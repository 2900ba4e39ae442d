"""One training step: weights, their moving average, the optimizer, and how a step changes them.

The gradient of a step is that of the mean loss over all its pictures, however many processes share them and however
many parts each process computes its share in. Knows nothing of epochs, files and datasets.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor

from tscam.decoding import PixelRange
from tscam.errors import TrainingError
from tscam.model import LocalizationModel
from tscam.predictors.pytorch import autocast
from tscam.system.memory import free_unused, is_out_of_memory
from tscam.system.processes import Processes
from tscam.system.resources import Precision
from tscam.training.batch_norms import RunningStatistics
from tscam.training.optimizer import OptimizerSettings, create_optimizer, freeze
from tscam.training.pictures import Batch, normalized

_NOT_EVEN_ONE = "out of memory with a single picture; choose a smaller --image-size or --backbone"


@dataclass(frozen=True, kw_only=True)
class LearnerSettings:
    """Settings of a training step.

    Attributes:
        optimizer: learning rates, decay and frozen weights.
        seed: seed of dropout.
        precision: precision of the matrix products.
        label_smoothing: share of the target that is spread over all classes.
        ema: decay of the moving average of the weights; None keeps no average.
        accumulate: parts that each process computes its share of a step in.
        auto_batch: double `accumulate` when memory runs out.
        compile: compile the network.
    """

    optimizer: OptimizerSettings
    seed: int
    precision: Precision
    label_smoothing: float
    ema: float | None
    accumulate: int
    auto_batch: bool
    compile: bool


class NotFiniteError(TrainingError):
    """The loss is NaN or infinite; the weights are unchanged."""


class Learner:
    """A model in training.

    Args:
        on_note: called with messages for people, a line of text each.

    Attributes:
        model: on its device.
        accumulate: parts that each share of a step is computed in; it grows when memory runs out.
    """

    def __init__(
        self,
        model: LocalizationModel,
        settings: LearnerSettings,
        *,
        device: torch.device,
        processes: Processes,
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        freeze(model, settings.optimizer)
        self._statistics = RunningStatistics(model)
        self.model = model.to(device)
        self.device, self.processes, self.settings, self.on_note = device, processes, settings, on_note
        self.accumulate = settings.accumulate
        self.optimizer = create_optimizer(model, settings.optimizer)
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self._model_loss = torch.compile(model.loss) if settings.compile else model.loss
        self._average = None if settings.ema is None else ModelEmaV3(model, decay=settings.ema, use_warmup=True)

    @property
    def evaluated_model(self) -> LocalizationModel:
        """The model that is evaluated and saved: the averaged weights where there is an average."""
        return self.model if self._average is None else self._average.module

    def keep_pixel_range(self, pixel_range: PixelRange | None) -> None:
        """Keep with the model the range that the values of its pictures are scaled by."""
        for model in (self.model, self.evaluated_model):
            model.spec = replace(model.spec, pixel_range=pixel_range)

    def begin_training(self) -> None:
        """Put the model into training mode, except for batch norms whose weights are frozen."""
        self.model.train()
        self._statistics.freeze()

    def step(self, batch: Batch, *, step_number: int, pictures: int, rate_factor: float) -> float:
        """Take one step with a model in training mode; return the mean loss over all pictures of the step.

        Args:
            batch: this process's share of the step.
            step_number: from 1, over the whole training.
            pictures: pictures of the step, over all processes.
            rate_factor: factor of all learning rates.

        Raises:
            NotFiniteError: the loss is not finite; the weights are unchanged.
            TrainingError: out of memory.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate_factor
        # For dropout, in backbones that have it: otherwise a generator's state would have to be saved.
        torch.manual_seed(self.settings.seed + step_number * self.processes.count + self.processes.rank)
        loss = self._add_gradients(batch, pictures)
        if not math.isfinite(loss):
            raise NotFiniteError(f"the loss is {loss}")
        self.processes.add_up([weight.grad for weight in self.model.parameters() if weight.grad is not None])
        if self.settings.optimizer.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.optimizer.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update(self.model, step=step_number)
        return loss

    def find_not_finite(self) -> str | None:
        """Return "weights" or "class scores" if some of them are not finite, else None.

        Raises:
            TrainingError: out of memory.
        """
        if not all(bool(tensor.isfinite().all()) for tensor in self.tensors().values()):
            return "weights"
        height, width = self.model.input_format.size_hw
        is_training = self.model.training
        black_picture = torch.zeros((1, 3, height, width), device=self.device)
        try:
            with torch.no_grad():
                scores = self.model.eval()(black_picture)
        except (RuntimeError, MemoryError) as fault:
            if not is_out_of_memory(fault):
                raise
            raise TrainingError(_NOT_EVEN_ONE) from fault
        if is_training:
            self.begin_training()
        return None if bool(scores.isfinite().all()) else "class scores"

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a step changes, by name."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self._average is not None:
            tensors |= {f"ema.{name}": tensor for name, tensor in self._average.module.state_dict().items()}
        for name, parameter in self._optimized().items():
            for entry, tensor in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{entry}.{name}"] = tensor
        return tensors

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` returned.

        Raises:
            KeyError, RuntimeError: the tensors of another model.
        """
        self.model.load_state_dict(_under("model.", tensors))
        if self._average is not None:
            self._average.module.load_state_dict(_under("ema.", tensors))
        for name, parameter in self._optimized().items():
            for entry in ("step", "exp_avg", "exp_avg_sq"):
                if (saved := tensors.get(f"optimizer.{entry}.{name}")) is not None:
                    self.optimizer.state[parameter][entry] = saved if entry == "step" else saved.to(self.device)

    def _optimized(self) -> dict[str, Tensor]:
        groups = self.optimizer.param_groups
        return {
            name: parameter
            for group in groups
            for name, parameter in zip(group["param_names"], group["params"], strict=True)
        }

    def _add_gradients(self, batch: Batch, pictures: int) -> float:
        """Add up the gradients of this process's share; return the mean loss over all pictures of the step."""
        statistics = self._statistics.copy()
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
            self._reduce_parts(batch, problem)
            self._statistics.restore(statistics)
        if not len(batch.labels):  # the black picture must not change them
            self._statistics.restore(statistics)
        self._statistics.share(self.processes, weight=len(batch.labels) / pictures)
        return self.processes.sum([float(loss)], device=self.device)[0]

    def _part_loss(self, part: Batch, pictures: int) -> Float[Tensor, ""]:
        """The part's share of the step's mean loss; its gradient is added to those of the other parts."""
        if len(part.labels):
            loss = self._loss(part) * (len(part.labels) / pictures)
        else:  # A process without pictures needs zero gradients for exactly the weights that others have them for.
            loss = self._loss(_black_picture(part)) * 0.0
        self.scaler.scale(loss).backward()
        return loss

    def _loss(self, part: Batch) -> Float[Tensor, ""]:
        pixels, labels, draws = (
            tensor.to(self.device, non_blocking=True) for tensor in (part.pixels, part.labels, part.draws)
        )
        network_pixels = normalized(pixels, to=self.model.input_format)
        with autocast(self.device, self.settings.precision):
            return self._model_loss(network_pixels, labels, draws=draws, label_smoothing=self.settings.label_smoothing)

    def _reduce_parts(self, batch: Batch, problem: BaseException) -> None:
        """Double the number of parts after memory ran out, if `auto_batch` allows it and parts can be smaller.

        Raises:
            TrainingError: otherwise; names the largest part that fits.
        """
        self._drop_gradients()
        size = -(-len(batch.labels) // self.accumulate)
        if size > 1 and self.settings.auto_batch:
            self.accumulate *= 2
            self.on_note(f"out of memory: from now on each step is computed in {self.accumulate} parts")
            return
        fitting = self._largest_fitting(batch, below=size)
        if fitting:
            parts = -(-len(batch.labels) // fitting)
            raise TrainingError(
                f"out of memory with {size} pictures at once, {fitting} fit; set `accumulate: {parts}` or "
                "`auto_batch: true` in RUN/config.yaml, then `tscam resume RUN`; or train with a smaller --batch-size"
            ) from problem
        raise TrainingError(_NOT_EVEN_ONE) from problem

    def _largest_fitting(self, batch: Batch, *, below: int) -> int:
        """The largest number of pictures that fit into memory at once; 0 if none does."""
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
            self._drop_gradients()
        return True

    def _drop_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        free_unused()


def _parts(batch: Batch, count: int) -> list[Batch]:
    """The batch in at most `count` parts of nearly equal size; an empty batch is one part."""
    parts = zip(*(tensor.tensor_split(min(count, max(len(batch.labels), 1))) for tensor in batch), strict=True)
    return [Batch(*part) for part in parts]


def _black_picture(part: Batch) -> Batch:
    """One black picture of the first class."""
    return Batch(*(torch.zeros((1, *tensor.shape[1:]), dtype=tensor.dtype) for tensor in part))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
