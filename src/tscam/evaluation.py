"""A model, or saved maps, on a data set → the numbers of every protocol, from one pass over the pictures."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tscam.checkpoints.source import ModelSource, resolve
from tscam.config import EvaluateConfig, TrainConfig
from tscam.datasets import Dataset, read_dataset, write_wsol_metadata
from tscam.errors import ConfigError, DataError
from tscam.judging import Judge, Protocols
from tscam.loading import Progress
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.protocol import BoxProtocol, PixelProtocol, protocols
from tscam.metrics.summary import ProtocolResult, summarize
from tscam.predictor import Predictor
from tscam.predictors import open_predictor
from tscam.report import write_report
from tscam.results import write_results
from tscam.spool import Spool
from tscam.system.processes import ALONE, Processes, joined, own_device
from tscam.tasks import PredictedMaps, SavedMaps, Tasks, judged, require_judgeable, require_readable
from tscam.thresholds import Thresholds, choose_thresholds, plan_thresholds, requested_policy, require_plan_readable
from tscam.writing import claim_output, literal, locked, require_claimable

# Data sets that wsolevaluation knows by a name of its own.
_WSOL_NAMES = {"cub": "CUB", "imagenet": "ILSVRC"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What `evaluate` found and where it wrote it.

    Attributes:
        results: by protocol, in the order in which they were asked for.
        images: ids of the pictures, in the data set's order.
        faults: pictures that count as wrong without being judged, by id, and why.
        selection: how the model's epoch was chosen, in words; empty where that is not known.
    """

    results: Mapping[str, ProtocolResult]
    images: tuple[str, ...]
    faults: Mapping[str, str]
    out: Path
    selection: str = ""

    def describe(self) -> str:
        """The numbers as lines of text, each protocol with its threshold."""
        blocks = [result.describe() for result in self.results.values()]
        if self.faults:
            blocks.append(f"{len(self.faults)} pictures count as wrong without being judged: {self.out}/missing.csv")
        if "oracle" in self.selection:
            blocks.append(f"the model's epoch was chosen on the test split: {self.selection}")
        return "\n\n".join(blocks)


def evaluate(model: str | Path | None, config: EvaluateConfig, *, on_progress: Progress | None = None) -> Evaluation:
    """Scores a model, or saved maps, on a data set with boxes or masks.

    Writes what `tscam.results` says, and the page of `tscam.report`.

    Args:
        model: a model; None where `config.maps` are scored.

    Raises:
        TscamError: model, data or place are not fit; nothing is written then.
    """
    asked = tuple(protocols[name] for name in dict.fromkeys(config.protocol))
    requested = requested_policy(config.threshold, asked)
    dataset = read_dataset(config.data, name=config.dataset, split=config.split)
    with ExitStack() as held:
        processes = held.enter_context(joined(own_device(config.device)))
        if (model is None) == (config.maps is None):
            given = "neither a MODEL nor" if config.maps is None else "both a MODEL and"
            raise ConfigError(f"{given} --maps given; evaluate scores one or the other")
        source = None if model is None else resolve(model)
        inputs = [config.data, *([source.path] if source else []), *([config.maps] if config.maps else [])]
        tasks, facts = _tasks(source, config, dataset)
        plan = plan_thresholds(
            asked, dataset, tasks, requested=requested, fraction=TrainConfig.val_fraction, seed=TrainConfig.seed
        )
        faults = require_judgeable(dataset, tasks, allow_missing=config.allow_missing, **_needs(asked))
        out, threads = literal(config.out), max(config.workers, 1)
        if processes.is_main:
            require_claimable(config.out, overwrite=config.overwrite, inputs=inputs)
            require_plan_readable(plan, tasks, workers=threads)
            require_readable(dataset, tasks, asked, faults=faults, workers=threads)
            held.enter_context(locked(out))
            out = claim_output(config.out, overwrite=config.overwrite, inputs=inputs)
        processes.wait()
        spool_in = out if processes.is_main else None
        thresholds = choose_thresholds(plan, tasks, spool_in=spool_in, workers=config.workers)
        found = evaluate_to(
            out, tasks, dataset, thresholds=thresholds, facts=facts, faults=faults, workers=config.workers,
            save_to=out / "scoremaps" if config.save_maps else None, processes=processes, on_progress=on_progress,
        )  # fmt: skip
        if processes.is_main:
            write_report(out, image_root=dataset.image_root)
    return found


def evaluate_to(
    out: Path,
    tasks: Tasks,
    dataset: Dataset,
    *,
    thresholds: Thresholds,
    facts: Mapping[str, object],
    faults: Mapping[int, str] | None = None,
    workers: int = 0,
    save_to: Path | None = None,
    processes: Processes = ALONE,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Scores tasks that fit a data set; the first process writes the files into `out`.

    Args:
        thresholds: by protocol; every one of these protocols is scored.
        facts: of the model, for the files.
        faults: of pictures by index, why they count as wrong.
        workers: processes that judge, beside this one.
        save_to: folder for the maps.

    Raises:
        TscamError: a picture cannot be read, or the disk refuses.
    """
    if processes.is_main:
        out.mkdir(parents=True, exist_ok=True)
    per_map = next((each.policy for each in thresholds.values() if each.policy.is_per_map), None)
    judge = Judge(protocols=tuple(thresholds), per_map=per_map, save_to=save_to)
    named = {dataset.image_ids[index]: reason for index, reason in (faults or {}).items()}
    with Spool[JudgedPicture](out if processes.is_main else None) as pictures:
        sizes_wh = []
        for picture in judged(
            tasks, dataset, judge, faults=faults, workers=workers, processes=processes, on_progress=on_progress
        ):
            pictures.append(picture)
            sizes_wh.append(picture.picture_wh)
        results = {
            protocol.name: summarize(
                pictures, protocol, threshold, published=dataset.threshold, class_names=dataset.class_names
            )
            for protocol, threshold in thresholds.items()
        }
        if processes.is_main:
            write_results(out, results, pictures, dataset=dataset, facts=facts, faults=named)
    if processes.is_main and save_to is not None:
        _write_metadata(out / "metadata", dataset, sizes_wh)
    selection = str(facts.get("selection", ""))
    return Evaluation(results=results, images=dataset.image_ids, faults=named, out=out, selection=selection)


def require_same_classes(predictor: Predictor, dataset: Dataset) -> None:
    """Refuses a data set of other classes than the model's; where those of one are mere numbers they fit by count.

    Raises:
        DataError: says what differs first.
    """
    ours, theirs = predictor.label_names, dataset.class_names
    if len(ours) != len(theirs):
        raise DataError(
            f"{dataset.root}: {len(theirs)} classes, the model has {len(ours)}; give the data it was made for"
        )
    named = _has_names(ours) and _has_names(theirs)
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if named and our != their:
            raise DataError(
                f"{dataset.root}: class {number} is {their!r}, the model's is {our!r}; give the data it was made for"
            )


def _has_names(classes: tuple[str, ...]) -> bool:
    return any(name != str(number) for number, name in enumerate(classes))


def _tasks(model: ModelSource | None, config: EvaluateConfig, dataset: Dataset) -> tuple[Tasks, dict[str, object]]:
    """What makes the maps, and the facts about it."""
    if config.maps is not None:
        if config.save_maps:
            raise ConfigError("--save-maps beside --maps: the maps are there already; leave it out")
        if config.method is not None or config.method_args:
            raise ConfigError("--method beside --maps: no model is read; leave it out")
        facts: dict[str, object] = {"maps": str(config.maps)}
        return SavedMaps(folder=config.maps), facts
    assert model is not None
    predictor = open_predictor(
        model, method=config.method, method_args=config.method_args, device=own_device(config.device),
        precision=config.precision,
    )  # fmt: skip
    require_same_classes(predictor, dataset)
    tasks = PredictedMaps(predictor=predictor, batch_size=config.batch_size, workers=config.workers)
    return tasks, predictor.facts.to_json()


def _needs(asked: Protocols) -> dict[str, bool]:
    return {
        "with_boxes": any(isinstance(protocol, BoxProtocol) for protocol in asked),
        "with_masks": any(isinstance(protocol, PixelProtocol) for protocol in asked),
    }


def _write_metadata(folder: Path, dataset: Dataset, sizes_wh: Sequence[tuple[int, int]]) -> None:
    place = folder / _WSOL_NAMES.get(dataset.name, dataset.name) / dataset.split
    mask_root = dataset.image_root if dataset.boxes is None else None
    write_wsol_metadata(dataset, place, sizes_wh=np.array(sizes_wh, dtype=np.int64), mask_root=mask_root)
