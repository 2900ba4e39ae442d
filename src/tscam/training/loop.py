"""Training from image-level labels alone: what is made ready, in each process, before the first step or the next."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import torch

from tscam.backbones.base import StartWeights
from tscam.config import TrainConfig
from tscam.datasets import Dataset, require_usable
from tscam.errors import TrainingError
from tscam.model import LocalizationModel, ModelSpec
from tscam.system.launch import launch
from tscam.system.processes import Processes, find_device, is_member, joined, own_device
from tscam.system.stopping import stop_requests
from tscam.training.epochs import Epochs
from tscam.training.learner import Learner
from tscam.training.pictures import EpochOrder, TrainingPictures, end_readers, reader_deaths_named, training_batches
from tscam.training.run.progress import Progress
from tscam.training.run.run_folder import RunFolder, require_merely_begun, settings_of_run
from tscam.training.run.state import was_saved
from tscam.training.run.trackers import open_tracker, require_tracker
from tscam.training.splits import Splits, read_splits

OnProgress = Callable[[Progress], None]
OnNote = Callable[[str], None]
_Begins = Literal["new", "anew", "where it was left"]


def train(config: TrainConfig, *, on_progress: OnProgress = lambda _: None, on_note: OnNote = lambda _: None) -> Path:
    """Trains a model and returns the absolute path of its run folder.

    Args:
        on_progress: called after every step and epoch.
        on_note: called with what a person should know, a line of text.

    Raises:
        TscamError: settings, data, weights or place are not fit, and nothing is written.
        TrainingError: the loss is not finite, memory does not suffice, or a process has died; the last good state and
            weights are in the run folder.
        StoppedError: SIGTERM or SIGINT came; the state is saved, and `resume` goes on.
    """
    if config.process_count > 1 and not is_member():
        on_message = _dispatch(on_progress, on_note)
        return launch(_train_in_member, config, processes=config.process_count, on_message=on_message)
    require_tracker(config.tracker)
    return _run(config, begins="new", on_progress=on_progress, on_note=on_note)


def resume(run: Path, *, on_progress: OnProgress = lambda _: None, on_note: OnNote = lambda _: None) -> Path:
    """Goes on with a run from its last saved state, to the very result it would have had; returns its absolute path.

    A run that ended before its first state begins anew; one that is done is tested once more.

    Raises:
        TrainingError: not a run folder, no state that is whole, or settings or data have changed, or are gone; else as
            `train`.
    """
    config = settings_of_run(run)
    if not config.data.is_dir():
        raise TrainingError(f"{config.data}: no such folder; say where the data is in {run / 'config.yaml'}, `data:`")
    require_tracker(config.tracker)
    is_merely_begun = not was_saved(config.out / "state") and not (config.out / "weights").exists()
    if is_merely_begun:
        require_merely_begun(config.out)
    if config.process_count > 1 and not is_member():
        on_message = _dispatch(on_progress, on_note)
        return launch(_resume_in_member, run, processes=config.process_count, on_message=on_message)
    if is_merely_begun:
        return _run(replace(config, overwrite=True), begins="anew", on_progress=on_progress, on_note=on_note)
    return _run(config, begins="where it was left", on_progress=on_progress, on_note=on_note)


def _train_in_member(config: TrainConfig, send: Callable[[Progress | str], None]) -> Path:
    return train(config, on_progress=send, on_note=send)


def _resume_in_member(run: Path, send: Callable[[Progress | str], None]) -> Path:
    return resume(run, on_progress=send, on_note=send)


def _dispatch(on_progress: OnProgress, on_note: OnNote) -> Callable[[Progress | str], None]:
    """A listener for the messages of another process: progress and notes."""
    return lambda message: on_note(message) if isinstance(message, str) else on_progress(message)


def _run(config: TrainConfig, *, begins: _Begins, on_progress: OnProgress, on_note: OnNote) -> Path:
    device, is_new = _device(config), begins != "where it was left"
    with ExitStack() as open_things:
        processes = open_things.enter_context(joined(str(device)))
        if not processes.is_main:  # Under torchrun each process has listeners of its own.
            on_progress = on_note = _say_nothing
        splits = read_splits(config)
        for note in splits.notes():
            on_note(note)
        torch.manual_seed(config.seed)
        model = _create_model(config, splits.training, weights=_start_weights(config.weights) if is_new else None)
        learner = Learner(model, config, device=device, processes=processes, on_note=on_note)
        run = RunFolder(config, selection=splits.selection, dataset=splits.training.name, data_hash=splits.data_hash())
        if begins == "anew":
            on_note("no state was saved yet: the run begins anew")
            run.require_same_data()
        if is_new and processes.is_main:
            run.require_free()  # now, not after all pictures have been read
        pictures = _pictures(config, splits, model, processes, is_new=is_new, on_note=on_note)
        order = EpochOrder(
            len(splits.training), batch_size=config.batch_size, seed=config.seed, rank=processes.rank,
            processes=processes.count,
        )  # fmt: skip
        if processes.is_main:
            open_things.enter_context(run.begun() if is_new else run.held())
        processes.wait()
        batches = training_batches(pictures, order, workers=config.workers)
        open_things.callback(end_readers, batches)
        open_things.enter_context(reader_deaths_named())
        epochs = Epochs(
            config, splits, learner, order, batches, run, processes=processes,
            stop=open_things.enter_context(stop_requests(is_answered=processes.is_main)), on_progress=on_progress,
        )  # fmt: skip
        if not is_new:
            for changed in run.changed_versions():
                on_note(f"{changed}: the run may end a little differently")
            for spoilt in epochs.restore():
                on_note(f"a spoilt state is set aside: {spoilt}")
        if processes.is_main:
            epochs.tracker = open_things.enter_context(
                open_tracker(config.tracker, run=run.path, settings=asdict(run.config), on_note=on_note)
            )
        epochs.go()
        return run.path


def _say_nothing(_: object) -> None:
    pass


def _device(config: TrainConfig) -> torch.device:
    """Return the device of this process; a GPU becomes PyTorch's current one."""
    device = find_device(own_device(config.device, gpus=config.gpus))
    if device.index is not None:
        torch.cuda.set_device(device)
    return device


def _create_model(config: TrainConfig, dataset: Dataset, *, weights: StartWeights) -> LocalizationModel:
    spec = ModelSpec(
        backbone=config.backbone,
        method=config.method,
        label_names=dataset.class_names,
        image_hw=(config.image_size, config.image_size),
        backbone_args=dict(config.backbone_args),
        method_args=dict(config.method_args),
        threshold=dataset.threshold,
    )
    return LocalizationModel(spec, weights=weights, drop_path=config.drop_path)


def _start_weights(given: str) -> StartWeights:
    if given == "pretrained":
        return "pretrained"
    return None if given == "none" else Path(given)


def _pictures(
    config: TrainConfig,
    splits: Splits,
    model: LocalizationModel,
    processes: Processes,
    *,
    is_new: bool,
    on_note: OnNote,
) -> TrainingPictures:
    """The training pictures; all pictures of a new run are decoded once, so that none stops it later."""
    pictures = TrainingPictures(
        splits.training,
        size_hw=model.input_format.size_hw,
        resize_size=config.resize_size,
        seed=config.seed,
        branches=len(model.backbone.drop_rates),
        rand_augment=config.rand_augment,
        fast_decode=config.fast_decode,
    )
    if is_new and processes.is_main:
        held = {id(split): split for split in (splits.training, splits.choosing, splits.test) if split is not None}
        on_note(f"reading all {sum(map(len, held.values()))} pictures once")
        for split in held.values():
            require_usable(split, workers=max(config.workers, 1))
    if config.cache == "ram":
        pictures.keep_in_memory(workers=config.workers)
    return pictures
