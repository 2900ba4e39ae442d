"""The verb `evaluate`: a model, or saved maps, on a data set with boxes or masks."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tscam.checkpoints.source import ModelSource, resolve
from tscam.config import EvaluateConfig, TrainConfig
from tscam.datasets import Dataset, read_dataset
from tscam.errors import ConfigError
from tscam.evaluation.map_sources import MapSource, PredictedMaps, SavedMaps
from tscam.evaluation.report import write_report
from tscam.evaluation.requirements import require_readable, require_same_classes, require_scorable
from tscam.evaluation.scoring import Evaluation, score
from tscam.evaluation.thresholds import choose_thresholds, plan_thresholds, requested_policy, require_plan_readable
from tscam.metrics.protocol import protocols
from tscam.predictors import ModelLike, open_predictor
from tscam.system.loading import Progress
from tscam.system.output_folder import claimed_output, require_claimable
from tscam.system.processes import Processes, joined, own_device
from tscam.system.writing import literal


def evaluate(
    model: ModelLike | None,
    config: EvaluateConfig,
    *,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Score a model, or saved maps, on a data set with boxes or masks.

    The files are those of `tscam.evaluation.results`, and the page of `tscam.evaluation.report`.

    Args:
        model: a model folder, a run folder (its best weights), a checkpoint of the TS-CAM authors,
            `hf-hub:user/name[@revision]`, or a model in memory; None where `config.maps` are scored.

    Raises:
        TscamError: model, data or output folder cannot be used; nothing is written then.
    """
    selected = tuple(protocols[name] for name in dict.fromkeys(config.protocol))
    requested = requested_policy(config.threshold, selected)
    dataset = read_dataset(config.data, name=config.dataset, split=config.split)
    with joined(own_device(config.device)) as processes:
        maps, inputs = _open_maps(model, config, dataset)
        plan = plan_thresholds(
            dataset, maps, selected, requested=requested, fraction=TrainConfig.val_fraction, seed=TrainConfig.seed
        )
        split = require_scorable(dataset, maps, selected, allow_missing=config.allow_missing)
        if processes.is_main:
            require_claimable(config.out, overwrite=config.overwrite, inputs=inputs)
            require_plan_readable(plan, workers=max(config.workers, 1))
            require_readable(split, selected, workers=max(config.workers, 1))
        with _claimed_output(config, inputs, processes) as out:
            spool_in = out if processes.is_main else None
            thresholds = choose_thresholds(plan, spool_in=spool_in, workers=config.workers)
            evaluation = score(
                split, thresholds, out=out, save_maps=config.save_maps, workers=config.workers, processes=processes,
                on_progress=on_progress,
            )  # fmt: skip
            if processes.is_main:
                write_report(out, image_root=dataset.image_root)
    held_out = plan.held_out.dataset.describe_gaps() if plan.held_out is not None else []
    return replace(evaluation, notes=tuple(dict.fromkeys([*dataset.describe_gaps(), *held_out])))


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
def _claimed_output(config: EvaluateConfig, inputs: Sequence[Path], processes: Processes) -> Generator[Path]:
    """Claim the folder of the result in the main process, and lock it until the block ends; the others wait for it."""
    if not processes.is_main:
        processes.wait()
        yield literal(config.out)
        return
    with claimed_output(config.out, overwrite=config.overwrite, inputs=inputs) as folder:
        processes.wait()
        yield folder
