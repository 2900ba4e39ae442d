"""A training run in one of its processes: everything that is prepared before the first step, then the epochs."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import torch

from tscam.backbones.base import StartWeights
from tscam.backbones.creation import pretrained_source
from tscam.datasets import Dataset, common_range, require_usable
from tscam.decoding import PixelRange
from tscam.image import ValueSpan
from tscam.methods import OBJECT, methods
from tscam.model import LocalizationModel, ModelSpec
from tscam.registry import MethodArgs, ModelArgs
from tscam.system.processes import Processes, find_device, joined
from tscam.system.resources import Resources
from tscam.system.stopping import stop_requests
from tscam.training.epochs import Epochs
from tscam.training.learner import Learner, LearnerSettings
from tscam.training.pictures import EpochOrder, PictureSettings, TrainingPictures, open_batches
from tscam.training.preparation import prepare_model
from tscam.training.run.progress import Progress
from tscam.training.run.run_folder import RunFacts, RunFolder, RunSettings
from tscam.training.run.trackers import open_tracker
from tscam.training.schedule import ScheduleSettings
from tscam.training.selection import EpochScorer
from tscam.training.splits import Splits, SplitSettings, read_splits

OnProgress = Callable[[Progress], None]
OnNote = Callable[[str], None]


class Start(Enum):
    """The way that a run starts."""

    NEW = "new"
    RESTARTED = "restarted"  # because it ended before its first state
    RESUMED = "resumed"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Settings of the model; its classes and threshold come from the dataset.

    Attributes:
        backbone, method: names in their registries.
        backbone_args: changes to the backbone's architecture.
        method_args: options of the method.
        weights: weights that training starts from.
        image_hw: height and width of the view, in pixels.
        drop_path: rate of stochastic depth.
        seed: seed of weights that are not read.
    """

    backbone: str
    backbone_args: ModelArgs
    method: str
    method_args: MethodArgs
    weights: StartWeights
    image_hw: tuple[int, int]
    drop_path: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of a training run, in groups for the parts that take them.

    Attributes:
        resources: device and workers of the whole run; precision and batch size of scoring.
    """

    model: ModelSettings
    splits: SplitSettings
    pictures: PictureSettings
    learner: LearnerSettings
    schedule: ScheduleSettings
    run: RunSettings
    resources: Resources


def run_training(settings: TrainingSettings, *, start: Start, on_progress: OnProgress, on_note: OnNote) -> Path:
    """Train in this process, together with the others of the task; return the absolute path of the run folder.

    Raises:
        TscamError: settings, data, weights or the folder cannot be used; nothing is written.
        TrainingError: the loss is not finite, memory ran out, or a process died; the last good state is kept.
        StoppedError: SIGTERM or SIGINT came; the state is saved.
    """
    is_new = start is not Start.RESUMED
    device = _select_device(settings.resources.device)
    with ExitStack() as stack:
        processes = stack.enter_context(joined(str(device)))
        if not processes.is_main:  # Under torchrun each process has listeners of its own.
            on_progress = on_note = _ignore
        splits = read_splits(settings.splits)
        for note in splits.notes():
            on_note(note)
        torch.manual_seed(settings.model.seed)
        model = _create_model(settings.model, splits.training, with_weights=is_new)
        if model.backbone.start_note:
            on_note(model.backbone.start_note)
        learner = Learner(model, settings.learner, device=device, processes=processes, on_note=on_note)
        run = RunFolder(settings.run, _facts(settings.model, splits))
        if start is Start.RESTARTED:
            on_note("no state was saved yet: the run restarts")
            run.require_same_data()
        if is_new and processes.is_main:
            run.require_free()  # now, not after all pictures have been read
        if is_new:
            pixel_range = _read_once(splits, processes, workers=settings.resources.workers, on_note=on_note)
            run.facts = replace(run.facts, pixel_range=pixel_range)
        else:
            pixel_range = run.recorded_pixel_range()
        learner.keep_pixel_range(pixel_range)
        splits = splits.scaled_by(pixel_range)
        if is_new:
            prepare_model(learner.model, splits.training, settings.resources, processes)
        pictures = _create_pictures(settings, splits.training, model)
        order = EpochOrder(
            len(splits.training), batch_size=settings.pictures.batch_size, seed=settings.pictures.seed,
            rank=processes.rank, processes=processes.count,
        )  # fmt: skip
        if processes.is_main:
            stack.enter_context(run.begin() if is_new else run.reopen())
        processes.wait()
        epochs = Epochs(
            learner,
            stack.enter_context(open_batches(pictures, order, workers=settings.resources.workers)),
            EpochScorer(
                splits,
                replace(settings.resources, device=str(device)),
                processes,
                published=methods[settings.model.method].default_threshold,
            ),
            run,
            schedule=settings.schedule,
            stop=stack.enter_context(stop_requests(is_answered=processes.is_main)),
            on_progress=on_progress,
        )
        if not is_new:
            _restore(epochs, run, on_note=on_note)
        if processes.is_main:
            epochs.tracker = stack.enter_context(
                open_tracker(settings.run.tracker, run=run.path, settings=settings.run.settings, on_note=on_note)
            )
        epochs.train_all()
        return run.path


def _ignore(_: object) -> None:
    pass


def _select_device(name: str | None) -> torch.device:
    """Return the device of that name; a GPU becomes PyTorch's current one."""
    device = find_device(name)
    if device.index is not None:
        torch.cuda.set_device(device)
    return device


def _create_model(settings: ModelSettings, dataset: Dataset, *, with_weights: bool) -> LocalizationModel:
    method = methods[settings.method]
    spec = ModelSpec(
        backbone=settings.backbone,
        method=settings.method,
        label_names=dataset.class_names if method.has_classifier else (OBJECT,),
        image_hw=settings.image_hw,
        backbone_args=dict(settings.backbone_args),
        method_args=dict(settings.method_args),
        threshold=method.default_threshold or dataset.threshold,
    )
    return LocalizationModel(spec, weights=settings.weights if with_weights else None, drop_path=settings.drop_path)


def _facts(settings: ModelSettings, splits: Splits) -> RunFacts:
    return RunFacts(
        selection=splits.selection,
        dataset=splits.training.name,
        data_hash=splits.data_hash(),
        base_model=pretrained_source(settings.backbone) if settings.weights == "pretrained" else "",
    )


def _read_once(splits: Splits, processes: Processes, *, workers: int, on_note: OnNote) -> PixelRange | None:
    """Decode all pictures of a new run once, so that none stops it later; the main process does so for all.

    Returns:
        One range for all pictures of more than eight bits; None if there are none.

    Raises:
        DataError: pictures cannot be read.
    """
    spans: list[ValueSpan | None] = []
    if processes.is_main:
        on_note(f"reading all {sum(map(len, splits.all))} pictures once")
        spans = [require_usable(split, workers=max(workers, 1)) for split in splits.all]
    [pixel_range, *_] = processes.gather([common_range(spans)])
    if pixel_range is not None:
        on_note(f"pictures of more than 8 bits: values from {pixel_range} are black to white; the model keeps this")
    return pixel_range


def _create_pictures(settings: TrainingSettings, dataset: Dataset, model: LocalizationModel) -> TrainingPictures:
    pictures = TrainingPictures(
        dataset, settings.pictures, size_hw=model.input_format.size_hw, branches=len(model.backbone.drop_rates)
    )
    if settings.pictures.cache == "ram":
        pictures.keep_in_memory(workers=settings.resources.workers)
    return pictures


def _restore(epochs: Epochs, run: RunFolder, *, on_note: OnNote) -> None:
    for change in run.changed_versions():
        on_note(f"{change}: the result of the run may differ a little")
    for corrupt in epochs.restore():
        on_note(f"a corrupt state is set aside: {corrupt}")
