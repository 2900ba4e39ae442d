"""`tscam train` and `tscam resume`: settings become groups, several processes are launched, and the run is trained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tscam.backbones.base import StartWeights
from tscam.config import CHANGEABLE_ON_RESUME, TrainConfig
from tscam.errors import TrainingError
from tscam.methods import methods
from tscam.recipe import to_plain, to_yaml, train_config
from tscam.system.launch import launch
from tscam.system.paths import require_utf8
from tscam.system.processes import is_member, own_device
from tscam.system.resources import Resources
from tscam.system.writing import literal
from tscam.training.learner import LearnerSettings
from tscam.training.loop import ModelSettings, OnNote, OnProgress, Start, TrainingSettings, run_training
from tscam.training.optimizer import OptimizerSettings
from tscam.training.pictures import PictureSettings
from tscam.training.run.progress import Progress
from tscam.training.run.run_folder import CONFIG_FILE, RunSettings, require_only_begun
from tscam.training.run.state import was_saved
from tscam.training.run.trackers import require_tracker
from tscam.training.schedule import ScheduleSettings
from tscam.training.splits import SplitSettings

# Pictures that are scored together, at most.
_SCORED_TOGETHER = 32


def train(config: TrainConfig, *, on_progress: OnProgress = lambda _: None, on_note: OnNote = lambda _: None) -> Path:
    """Train a model; return the absolute path of its run folder.

    Args:
        on_progress: called after every step and epoch.
        on_note: called with messages for people, a line of text each.

    Raises:
        TscamError: settings, data, weights or the output folder cannot be used; nothing is written.
        TrainingError: the loss is not finite, memory ran out, or a process died; the last good state and weights are in
            the run folder.
        StoppedError: SIGTERM or SIGINT came; the state is saved, and `resume` continues the run.
    """
    require_utf8(config.out, name="--out")
    if config.process_count > 1 and not is_member():
        on_message = _dispatch(on_progress, on_note)
        return launch(_train_in_member, config, processes=config.process_count, on_message=on_message)
    require_tracker(config.tracker)
    return run_training(training_settings(config), start=Start.NEW, on_progress=on_progress, on_note=on_note)


def resume(run: Path, *, on_progress: OnProgress = lambda _: None, on_note: OnNote = lambda _: None) -> Path:
    """Resume a run from its last saved state, to the same result as without interruption; return its absolute path.

    A run that ended before its first state restarts; a run that is complete is tested once more.

    Raises:
        TrainingError: not a run folder, every state is corrupt, settings or data have changed, or the data is gone;
            otherwise as `train`.
    """
    config = config_of_run(run)
    if not config.data.is_dir():
        raise TrainingError(f"{config.data}: no such folder; say where the data is in {run / CONFIG_FILE}, `data:`")
    require_tracker(config.tracker)
    is_only_begun = not was_saved(config.out / "state") and not (config.out / "weights").exists()
    if is_only_begun:
        require_only_begun(config.out)
    if config.process_count > 1 and not is_member():
        on_message = _dispatch(on_progress, on_note)
        return launch(_resume_in_member, run, processes=config.process_count, on_message=on_message)
    start = Start.RESTARTED if is_only_begun else Start.RESUMED
    settings = training_settings(replace(config, overwrite=is_only_begun))
    return run_training(settings, start=start, on_progress=on_progress, on_note=on_note)


def config_of_run(run: Path) -> TrainConfig:
    """The settings that a run was trained with; `out` is the folder's present path.

    Raises:
        TrainingError: not a run folder.
        ConfigError: its settings cannot be read.
    """
    recipe = run / CONFIG_FILE
    if not recipe.is_file():
        raise TrainingError(f"{run}: not the folder of a run, it has no config.yaml; RUN is what train's --out was")
    return train_config(str(recipe), out=run)


def training_settings(config: TrainConfig) -> TrainingSettings:
    """The settings in groups for the parts of training; for this process, where there are several."""
    return TrainingSettings(
        model=ModelSettings(
            backbone=config.backbone,
            backbone_args=config.backbone_args,
            method=config.method,
            method_args=config.method_args,
            weights=_start_weights(config.weights),
            image_hw=config.image_hw,
            drop_path=config.drop_path,
            seed=config.seed,
        ),
        splits=SplitSettings(
            data=config.data,
            dataset=config.dataset,
            select=config.select,
            val_fraction=config.val_fraction,
            seed=config.seed,
            max_pixels=config.max_pixels,
            has_classifier=methods[config.method].has_classifier,
        ),
        pictures=PictureSettings(
            batch_size=config.batch_size,
            resize_size=config.resize_size,
            seed=config.seed,
            rand_augment=config.rand_augment,
            fast_decode=config.fast_decode,
            cache=config.cache,
        ),
        learner=learner_settings(config),
        schedule=ScheduleSettings(
            epochs=config.epochs,
            schedule=config.schedule,
            steps=config.learning_rate_steps,
            warmup_epochs=config.warmup_epochs,
        ),
        run=_run_settings(config),
        resources=Resources(
            device=own_device(config.device, gpus=config.gpus),
            precision=config.precision,
            batch_size=min(config.batch_size, _SCORED_TOGETHER),
            workers=config.workers,
        ),
    )


def learner_settings(config: TrainConfig) -> LearnerSettings:
    """The settings of a training step."""
    return LearnerSettings(
        optimizer=OptimizerSettings(
            learning_rate=config.learning_rate,
            head_learning_rate=config.head_learning_rate,
            layer_decay=config.layer_decay,
            weight_decay=config.weight_decay,
            clip_norm=config.clip_norm,
            freeze_backbone=config.freeze_backbone,
            freeze_blocks=config.freeze_blocks,
        ),
        seed=config.seed,
        precision=config.precision,
        label_smoothing=config.label_smoothing,
        ema=config.ema,
        accumulate=config.accumulate,
        auto_batch=config.auto_batch,
        compile=config.compile,
    )


def _run_settings(config: TrainConfig) -> RunSettings:
    weights = config.weights
    if weights not in ("pretrained", "none"):
        weights = str(literal(Path(weights)))
    # Without `overwrite`: a recipe that is run again must not empty the run that it came from.
    kept = replace(config, data=literal(config.data), out=literal(config.out), weights=weights, overwrite=False)
    settings = to_plain(kept)
    return RunSettings(
        out=kept.out,
        data=kept.data,
        inputs=(config.data, Path(config.weights)),  # `pretrained` names no file, which does no harm
        overwrite=config.overwrite,
        recipe=to_yaml(kept),
        settings=settings,
        fixed=tuple(name for name in settings if name not in CHANGEABLE_ON_RESUME),
        seed=config.seed,
        save_minutes=config.save_minutes,
        samples_every=config.samples_every,
        tracker=config.tracker,
    )


def _start_weights(weights: str) -> StartWeights:
    if weights == "pretrained":
        return "pretrained"
    return None if weights == "none" else Path(weights)


def _train_in_member(config: TrainConfig, send: Callable[[Progress | str], None]) -> Path:
    return train(config, on_progress=send, on_note=send)


def _resume_in_member(run: Path, send: Callable[[Progress | str], None]) -> Path:
    return resume(run, on_progress=send, on_note=send)


def _dispatch(on_progress: OnProgress, on_note: OnNote) -> Callable[[Progress | str], None]:
    """A listener for the messages of another process: progress and notes."""
    return lambda message: on_note(message) if isinstance(message, str) else on_progress(message)
