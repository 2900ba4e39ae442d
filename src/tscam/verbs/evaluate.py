"""The verb `evaluate`: a model, or saved maps, on a data set with boxes or masks."""

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from tscam.checkpoints.source import ModelSource, resolve
from tscam.config import EvaluateConfig, TrainConfig
from tscam.datasets import Dataset, common_range, read_dataset
from tscam.datasets.fingerprint import hash_datasets, hash_masks
from tscam.decoding import DecodeSettings, PixelRange
from tscam.errors import ConfigError
from tscam.evaluation.map_sources import MappedSplit, MapSource, PredictedMaps, SavedMaps
from tscam.evaluation.report import write_report
from tscam.evaluation.requirements import require_readable, require_same_classes, require_scorable
from tscam.evaluation.results import require_metadata_writable
from tscam.evaluation.scoring import Evaluation, score
from tscam.evaluation.thresholds import (
    ThresholdPlan,
    choose_thresholds,
    plan_thresholds,
    requested_policy,
    require_plan_readable,
)
from tscam.image import ValueSpan
from tscam.metrics.protocol import protocols
from tscam.predictors import ModelLike, open_predictor
from tscam.system.loading import Progress
from tscam.system.output_folder import Job, require_resumable, resumable_output
from tscam.system.processes import Processes, joined, own_device
from tscam.system.writing import literal

# Folder of the judged pictures of an evaluation that is not complete.
_UNFINISHED = ".unfinished"


def evaluate(
    model: ModelLike | None,
    config: EvaluateConfig,
    *,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Score a model, or saved maps, on a data set with boxes or masks.

    The files are those of `tscam.evaluation.results`, and the page of `tscam.evaluation.report`. Judged pictures are
    kept in the folder as they come, so that an interrupted evaluation can go on.

    Args:
        model: a model folder, a run folder (its best weights), a checkpoint of the TS-CAM authors,
            `hf-hub:user/name[@revision]`, or a model in memory; None where `config.maps` are scored.

    Raises:
        TscamError: model, data or output folder cannot be used, and nothing is written; or a picture has gone or the
            disk refuses, and what is done stays.
    """
    selected = tuple(protocols[name] for name in dict.fromkeys(config.protocol))
    requested = requested_policy(config.threshold, selected)
    decode = DecodeSettings(max_pixels=config.max_pixels)
    dataset = read_dataset(config.data, name=config.dataset, split=config.split, decode=decode)
    with joined(own_device(config.device)) as processes:
        maps, inputs = _open_maps(model, config, dataset)
        dataset = dataset.scaled_by(maps.pixel_range)
        plan = plan_thresholds(
            dataset, maps, selected, requested=requested, fraction=TrainConfig.val_fraction, seed=TrainConfig.seed
        )
        split = require_scorable(dataset, maps, selected, allow_missing=config.allow_missing)
        if config.save_maps:
            require_metadata_writable(dataset)
        job = _job(config, split, plan) if processes.is_main else None
        if job is not None:  # Everything that can be refused is refused before the folder is touched.
            require_resumable(config.out, job, overwrite=config.overwrite, resume=config.resume, inputs=inputs)
        measured = _measure_range(split, plan, workers=max(config.workers, 1), processes=processes)
        if maps.pixel_range is None:
            split, plan = split.scaled_by(measured), plan.scaled_by(measured)
        with _output(config, job, inputs=inputs, processes=processes) as out:
            keep_in = out / _UNFINISHED if processes.is_main else None
            thresholds = choose_thresholds(plan, keep_in=keep_in, workers=config.workers)
            evaluation = score(
                split, thresholds, out=out, keep_in=keep_in, save_maps=config.save_maps, workers=config.workers,
                processes=processes, on_progress=on_progress,
            )  # fmt: skip
            if processes.is_main:
                write_report(out, image_root=dataset.image_root)
    notes = dataset.describe_gaps()
    notes += plan.held_out.dataset.describe_gaps() if plan.held_out is not None else []
    if maps.pixel_range is None and measured is not None:
        notes.append(
            "pictures of more than 8 bits: the model states no range of values, and so those of these pictures, "
            f"{measured}, are black to white"
        )
    return replace(evaluation, notes=tuple(dict.fromkeys(notes)))


def _measure_range(split: MappedSplit, plan: ThresholdPlan, *, workers: int, processes: Processes) -> PixelRange | None:
    """Read everything once in the main process, and return one range for all pictures of more than eight bits.

    Raises:
        DataError: a picture, map or mask cannot be judged.
    """
    spans: list[ValueSpan | None] = []
    if processes.is_main:
        spans.append(require_plan_readable(plan, workers=workers))
        spans.append(require_readable(split, tuple(plan.thresholds), workers=workers))
    [pixel_range, *_] = processes.gather([common_range(spans)])
    return pixel_range


def _open_maps(model: ModelLike | None, config: EvaluateConfig, dataset: Dataset) -> tuple[MapSource, Sequence[Path]]:
    """Return the source of the maps, and the files and folders that the evaluation reads."""
    if (model is None) == (config.maps is None):
        sources = "neither a MODEL nor" if config.maps is None else "both a MODEL and"
        raise ConfigError(f"{sources} --maps given; evaluate scores one or the other")
    if config.maps is not None:
        if config.save_maps:
            raise ConfigError("--save-maps beside --maps: the maps are there already; leave it out")
        if config.method is not None or config.method_args:
            raise ConfigError("--method beside --maps: no model is read; leave it out")
        return SavedMaps(folder=config.maps), (config.data, config.maps)
    assert model is not None
    inputs = [config.data]
    if isinstance(model, str | Path | ModelSource):
        model = resolve(model)
        inputs.append(model.path)
    predictor = open_predictor(
        model, method=config.method, method_args=config.method_args, device=own_device(config.device),
        precision=config.precision,
    )  # fmt: skip
    require_same_classes(predictor, dataset)
    return PredictedMaps(predictor=predictor, batch_size=config.batch_size, workers=config.workers), inputs


@contextmanager
def _output(
    config: EvaluateConfig, job: Job | None, *, inputs: Sequence[Path], processes: Processes
) -> Generator[Path]:
    """Claim or resume the folder of the result in the main process, until the block ends; the others wait for it.

    Args:
        job: everything that decides the result; None in other processes than the main one.
    """
    if job is None:
        processes.wait()
        yield literal(config.out)
        return
    with resumable_output(config.out, job, overwrite=config.overwrite, resume=config.resume, inputs=inputs) as out:
        processes.wait()
        yield out
        shutil.rmtree(out / _UNFINISHED)


def _job(config: EvaluateConfig, split: MappedSplit, plan: ThresholdPlan) -> Job:
    """Everything that decides the result."""
    datasets = [split.dataset] if plan.held_out is None else [split.dataset, plan.held_out.dataset]
    settings = {
        "tscam": version("tscam"), "dataset": split.dataset.name, "split": split.dataset.split,
        "method": config.method, "method_args": dict(config.method_args), "protocol": config.protocol,
        "threshold": config.threshold, "allow_missing": config.allow_missing, "save_maps": config.save_maps,
        "batch_size": config.batch_size, "precision": config.precision,
        "max_pixels": config.max_pixels,
    }  # fmt: skip
    maps = "the model" if config.maps is None else "the folder of maps"
    inputs = {
        maps: split.maps.fingerprint(datasets),
        "the dataset": hash_datasets(datasets),
        "the set of masks": hash_masks(datasets),
    }
    return Job(verb="evaluate", settings=settings, inputs=inputs)
