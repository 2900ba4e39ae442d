"""Training from image-level labels alone: one readable loop."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import Tensor

from tscam.backbones.base import StartWeights
from tscam.config import TrainConfig
from tscam.datasets import Dataset, find_reader, read_dataset, require_usable
from tscam.errors import TrainingError
from tscam.evaluation import require_boxes, score_dataset, top1_cls
from tscam.metrics import ts_cam
from tscam.model import LocalizationModel, ModelSpec
from tscam.torch_predictor import TorchPredictor, find_device
from tscam.training.optimizer import create_optimizer
from tscam.training.pictures import EpochOrder, TrainingPictures, training_batches
from tscam.training.progress import EpochRow, Pace, Progress
from tscam.training.run_folder import RunFolder
from tscam.training.schedule import learning_rate_factor


def train(config: TrainConfig, *, on_progress: Callable[[Progress], None] = lambda _: None) -> Path:
    """Trains a model and returns the absolute path of its run folder.

    After each epoch the test split is scored. The best epoch is the one of highest GT-known Loc there (top-1 accuracy,
    where it has no boxes; the last epoch, where there is no test split): an oracle's choice, as in the original.

    Raises:
        TscamError: settings, data, weights or place are not fit, and nothing is written.
        TrainingError: the loss is not finite; the weights of the epoch before stay in the run folder.
    """
    dataset, test = _datasets(config)
    device = find_device(config.device)
    set_seed(config.seed)
    model = _create_model(config, dataset)
    for split in (dataset, test) if test else (dataset,):
        require_usable(split, workers=max(config.workers, 1))
    run = RunFolder(config, selection=_selection(test))

    if device.index is not None:
        torch.cuda.set_device(device)  # accelerate takes the current GPU
    AcceleratorState._reset_state(True)  # Else the precision of the first run in a process would hold for all after it.
    accelerator = Accelerator(mixed_precision="bf16" if config.precision == "bf16" else "no", cpu=device.type == "cpu")
    optimizer = create_optimizer(
        model,
        learning_rate=config.learning_rate,
        head_learning_rate=config.head_learning_rate,
        weight_decay=config.weight_decay,
    )
    prepared, optimizer = accelerator.prepare(model, optimizer)
    pictures = TrainingPictures(dataset, to=model.input_format, resize_size=config.resize_size, seed=config.seed)
    order = EpochOrder(len(dataset), seed=config.seed)
    batches = training_batches(pictures, order, batch_size=config.batch_size, workers=config.workers)

    best = -math.inf
    for epoch in range(1, config.epochs + 1):
        order.epoch = epoch
        factor = learning_rate_factor(epoch, steps=config.learning_rate_steps)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        pace = Pace(epoch=epoch, epochs=config.epochs, steps=len(batches), learning_rate=config.learning_rate * factor)
        prepared.train()
        for pixels, labels in batches:
            pixels, labels = pixels.to(accelerator.device), labels.to(accelerator.device)
            loss = model.method.loss(prepared(pixels), labels)
            pace.count(loss.item(), pictures=len(labels))
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(loss)
            optimizer.step()
            on_progress(pace.progress())
        _require_finite(model, pixels, epoch)
        done = pace.progress()
        row = _score(done, model, test, config)
        quality = next(value for value in (row.gt_known_loc, row.top1_cls, float(epoch)) if value is not None)
        run.add(row, model, is_best=quality > best)
        on_progress(replace(done, row=row, is_best=quality > best))
        best = max(best, quality)
    return run.path


def _datasets(config: TrainConfig) -> tuple[Dataset, Dataset | None]:
    """Training split and, where there is another one, test split."""
    reader = find_reader(config.data, name=config.dataset)
    training, testing = reader.training_split(config.data), reader.test_split(config.data)
    dataset = read_dataset(config.data, name=config.dataset, split=training)
    if testing == training:
        return dataset, None
    test = read_dataset(config.data, name=config.dataset, split=testing)
    if test.boxes is not None:
        require_boxes(test)
    return dataset, test


def _create_model(config: TrainConfig, dataset: Dataset) -> LocalizationModel:
    spec = ModelSpec(
        backbone=config.backbone,
        method=config.method,
        label_names=dataset.class_names,
        image_hw=(config.image_size, config.image_size),
        backbone_args=dict(config.backbone_args),
        threshold=dataset.threshold,
    )
    return LocalizationModel(spec, weights=_start_weights(config.weights), drop_path=config.drop_path)


def _start_weights(given: str) -> StartWeights:
    if given == "pretrained":
        return "pretrained"
    return None if given == "none" else Path(given)


def _selection(test: Dataset | None) -> str:
    if test is None:
        return "last epoch (no test split)"
    measure = "top1_cls" if test.boxes is None else "gt_known_loc"
    return f"oracle (epoch of best {measure} on split {test.split!r})"


def _require_finite(model: LocalizationModel, pixels: Tensor, epoch: int) -> None:
    """A finite loss can still have a gradient that is not, and the last step of an epoch is followed by no loss."""
    with torch.no_grad():
        checked = {"weights": model.parameters(), "class scores": [model.eval()(pixels[:1])]}
    for what, tensors in checked.items():
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise TrainingError(
                f"the {what} are not finite at the end of epoch {epoch}; the weights of the epoch before, if any, are "
                "kept. Lower --learning-rate, or train with --precision fp32"
            )


def _score(done: Progress, model: LocalizationModel, test: Dataset | None, config: TrainConfig) -> EpochRow:
    row = EpochRow(
        epoch=done.epoch,
        train_loss=done.loss,
        learning_rate=done.learning_rate,
        images_per_second=done.images_per_second,
    )
    if test is None:
        return row
    predictor = TorchPredictor(model, device=str(next(model.parameters()).device), precision=config.precision)
    batch_size, workers = config.batch_size, config.workers
    if test.boxes is None:
        return replace(row, top1_cls=top1_cls(predictor, test, batch_size=batch_size, workers=workers))
    scored = score_dataset(predictor, test, threshold=test.threshold, batch_size=batch_size, workers=workers)
    result = ts_cam.summarize(image.score for image in scored)
    return replace(row, top1_cls=result.top1_cls, top1_loc=result.top1_loc, gt_known_loc=result.gt_known_loc)
