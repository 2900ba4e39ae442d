"""Accuracy, time and memory of each method on each backbone, in one table from one run: which one to choose.

    uv run python benchmarks/methods.py --data DIR --weights dinov2.safetensors --models RUNS --out OUT

Each run folder in RUNS is read by every method that can read its weights. So are the start weights, which give
class-agnostic maps without any training. A reading is scored on the test split under all protocols in one pass; its
threshold is the best on held-out training pictures. Then each method on each backbone takes turns with the plain
classifier, in a separate process, on the first pictures of the test split: network, maps and box of the most likely
class, and the peak memory. Weights and options do not change this cost, which is measured once for all of them.
OUT gets `methods.md`, `methods.json`, and a folder a reading; a finished evaluation is not repeated.
"""

import json
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from cyclopts import App
from torch.profiler import profile

import tscam
from tscam.boxes import find_boxes
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import save_model
from tscam.config import EvaluateConfig, TrainConfig
from tscam.datasets import read_dataset
from tscam.errors import ConfigError
from tscam.evaluation.results import METRICS, PICTURES
from tscam.image import preprocess, read_image
from tscam.metrics.statistics import difference
from tscam.model import LocalizationModel, create_model
from tscam.predictors.pytorch import PyTorchPredictor
from tscam.recipe import read_recipe
from tscam.registry import MethodArgs
from tscam.system.processes import find_device
from tscam.system.writing import write_json, write_text_atomically
from tscam.verbs.benchmark import peak_mib

PROTOCOLS = ("ts-cam", "max-box-acc", "max-box-acc-v2", "realistic", "pxap")
CLASS_AGNOSTIC = ("attention", "rollout")
NO_TRAINING = "(no training)"
MEASURE = "gt_known_loc"
# Settings of a run that do not change what it learns.
_IRRELEVANT = {"data", "out", "workers", "cache", "device", "devices", "processes", "save_minutes", "samples_every",
               "overwrite", "tracker", "weights"}  # fmt: skip

app = App(help=__doc__)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A model read by a method.

    Attributes:
        run: name of the run folder, or `NO_TRAINING`.
        model: folder of the model.
        network: backbone and view, in words.
        method, args: the method and its options.
    """

    run: str
    model: Path
    network: str
    method: str
    args: MethodArgs

    @property
    def name(self) -> str:
        """Method and options, in words."""
        options = [f"{key} {_option(value)}" for key, value in self.args.items()]
        return ", ".join([self.method, *options])

    @property
    def folder(self) -> Path:
        """Folder of its evaluation, below `OUT`."""
        return Path(*(re.sub(r"[^\w.-]+", "-", part).strip("-") for part in (self.run, self.name)))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Result of a reading's evaluation.

    Attributes:
        values: value and 95 % interval in percent, by protocol and measure.
        thresholds: values by measure and their origin, by protocol.
        by_size: number of pictures, and GT-known Loc under `ts-cam`, by the group of the object's size.
        at_published: GT-known Loc under `ts-cam` at the data set's published threshold.
        hits: GT-known Loc under `ts-cam` of each picture, 0 or 1.
    """

    values: dict[str, dict[str, dict[str, float]]]
    thresholds: dict[str, dict[str, Any]]
    by_size: dict[str, tuple[int, float]]
    at_published: float
    hits: list[float]

    def threshold(self, protocol: str) -> float:
        """Return the threshold of the protocol's first measure."""
        value: float = next(iter(self.thresholds[protocol]["values"].values()))
        return value


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time and memory of a method on a backbone, beside the plain classifier.

    Attributes:
        ms, classifier_ms: milliseconds a picture, medians over the turns: CPU time on one thread, or wall time on a
            GPU.
        ratio, ratio_low, ratio_high: median, lowest and highest ratio of the two over the turns.
        batch_mib, classifier_batch_mib: peak memory of a batch's tensors, without weights.
        peak_mib: peak memory of the process (on a GPU, of its allocator) while it localizes a batch.
    """

    ms: float
    classifier_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    batch_mib: float
    classifier_batch_mib: float
    peak_mib: float | None


Row = tuple[Reading, Scores, Cost]


@app.default
def main(
    *,
    data: Path,
    weights: Path,
    models: Path,
    out: Path,
    backbone: str = "vit_small_patch14_dinov2",
    image_size: int = 140,
    batch_size: int = 8,
    turns: int = 15,
    device: str | None = None,
) -> None:
    """Score the readings that have no scores yet, measure the cost of all, and rewrite both tables.

    Args:
        weights: start weights of the runs whose backbone is `backbone`.
        image_size: side of the start weights' view; a run has its own.
        turns: batches that the classifier and the localization take in turns.
    """
    out.mkdir(parents=True, exist_ok=True)
    runs = sorted((path for path in models.iterdir() if (path / "config.yaml").is_file()), key=_order)
    settings = {run.name: read_recipe(str(run / "config.yaml")) for run in runs}
    readings, refused = _readings(runs, settings, _untrained(data, weights, backbone, image_size, out))
    scores, costs = [], dict[tuple[str, str], Cost]()
    for number, reading in enumerate(readings, start=1):
        print(f"scores {number}/{len(readings)} {reading.run}: {reading.name}", flush=True)
        scores.append(_scores(reading, data, out / reading.folder / "evaluation", device=device))
    for (network, method), reading in {(first.network, first.method): first for first in reversed(readings)}.items():
        print(f"cost {network}: {method}", flush=True)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            measure = process.submit(_cost, reading, data, batch_size=batch_size, turns=turns, device=device)
            costs[network, method] = measure.result()
    rows = [
        (reading, result, costs[reading.network, reading.method])
        for reading, result in zip(readings, scores, strict=True)
    ]
    conditions = _conditions(data, batch_size=batch_size, turns=turns, device=device)
    differences = _differences(rows)
    trained = {name: _training(run_settings) for name, run_settings in settings.items()}
    write_json(out / "methods.json", {"conditions": conditions, "runs": trained, "refused": refused,
               "rows": [{"run": reading.run, "reading": reading.name, "scores": asdict(result), "cost": asdict(cost)}
               for reading, result, cost in rows], "differences": differences}, indent=1)  # fmt: skip
    write_text_atomically(out / "methods.md", _markdown(rows, conditions, trained, differences))
    print((out / "methods.md").resolve())


def _order(run: Path) -> tuple[bool, bool, str]:
    """Return a sort key: trained backbones first, then frozen ones, then those from random weights."""
    settings = read_recipe(str(run / "config.yaml"))
    return settings["weights"] == "none", bool(settings["freeze_backbone"]), run.name


def _untrained(data: Path, weights: Path, backbone: str, image_size: int, out: Path) -> Path:
    """Return a model folder of the start weights; its class scores are random, its attention is not."""
    folder = out / "no-training" / "model"
    if not folder.exists():
        torch.manual_seed(TrainConfig.seed)
        names = read_dataset(data).class_names
        save_model(create_model(backbone, label_names=names, image_size=image_size, weights=weights), folder)
    return folder


def _readings(
    runs: Iterable[Path], settings: Mapping[str, Mapping[str, object]], untrained: Path
) -> tuple[list[Reading], dict[str, str]]:
    """Return all readings, each run's own method first; and by run and method the reason why it cannot be read."""
    readings, refused = [], dict[str, str]()
    folders = {run.name: run for run in runs} | {NO_TRAINING: untrained}
    for name, folder in folders.items():
        model = load_model(folder)
        trained_with, network = model.spec.method, " ".join([model.spec.backbone, *map(str, model.spec.image_hw)])
        is_frozen = name != NO_TRAINING and bool(settings[name]["freeze_backbone"])
        for method in sorted(tscam.methods.methods, key=lambda name: name != trained_with):
            # A frozen backbone gives the start weights' class-agnostic maps; the start weights give no other maps.
            if (method in CLASS_AGNOSTIC and is_frozen) or (method not in CLASS_AGNOSTIC and name == NO_TRAINING):
                continue
            try:
                model.with_method(method)
            except ConfigError as fault:
                refused[f"{name}, {method}"] = str(fault)
                continue
            for args in _options(method, model) if method in (trained_with, "attention") else [{}]:
                readings.append(Reading(run=name, model=folder, network=network, method=method, args=args))
    return readings, refused


def _options(method: str, model: LocalizationModel) -> list[MethodArgs]:
    """Return no options, and useful ones: the last layers' attention alone; no negative semantic values."""
    options: list[MethodArgs] = [{}]
    if method in ("attention", "ts-cam", "training-free"):
        options.append({"layers": tuple(range(model.backbone.num_blocks))[-4:]})
    if method in ("ts-cam", "training-free"):
        options.append({"relu": True})
    return options


def _scores(reading: Reading, data: Path, out: Path, *, device: str | None) -> Scores:
    """Return the scores from the files of a reading's evaluation; evaluate first if there are none."""
    if not (out / METRICS).exists():
        config = EvaluateConfig(
            data=data, out=out, method=reading.method, method_args=reading.args, protocol=PROTOCOLS, threshold="val",
            device=device, overwrite=True,
        )  # fmt: skip
        tscam.evaluate(reading.model, config)
    results = json.loads((out / METRICS).read_text(encoding="utf-8"))["protocols"]
    pictures = [json.loads(line) for line in (out / PICTURES).read_text(encoding="utf-8").splitlines()]
    curve = results["ts-cam"]["curve"]
    published = np.abs(np.array(curve["thresholds"]) - read_dataset(data).threshold).argmin()
    return Scores(
        values={protocol: result["scores"] for protocol, result in results.items()},
        thresholds={protocol: result["threshold"] for protocol, result in results.items()},
        by_size={
            group["name"]: (group["pictures"], group["scores"][MEASURE]) for group in results["ts-cam"]["by_size"]
        },
        at_published=curve["scores"][MEASURE][published],
        hits=[picture["protocols"]["ts-cam"][MEASURE] for picture in pictures],
    )


def _cost(reading: Reading, data: Path, *, batch_size: int, turns: int, device: str | None) -> Cost:
    """Measure time and memory of a reading beside the plain classifier of its backbone, in a process without others."""
    torch.set_num_threads(1)  # Other load on the machine changes the CPU time of several threads, not that of one.
    cv2.setNumThreads(1)
    target = find_device(device)
    model = load_model(reading.model, method=reading.method, method_args=reading.args)
    predictor, spec = PyTorchPredictor(model, device=device), model.spec
    dataset, input_format = read_dataset(data), predictor.input_format
    views = [preprocess(read_image(dataset.path(index)), to=input_format) for index in range(batch_size)]
    pixels = np.stack([array for array, _ in views])

    def localize() -> None:
        for prediction, (_, view) in zip(predictor.predict(pixels, top_k=1), views, strict=True):
            find_boxes(prediction.maps[0], view, threshold=spec.threshold)

    process_mib, batch_mib = peak_mib(localize, target), _allocated_mib(localize)  # without a second network
    settings: dict[str, Any] = dict(spec.backbone_args)
    if model.backbone.num_blocks:
        settings["img_size"] = spec.image_hw
    plain = timm.create_model(spec.backbone, num_classes=len(spec.label_names), **settings)
    plain = plain.to(target).eval()

    def classify() -> None:
        with torch.inference_mode():
            plain(torch.from_numpy(pixels).to(target)).cpu()

    classify()
    clock = time.process_time if target.type == "cpu" else time.perf_counter
    pairs = [(_seconds(classify, clock), _seconds(localize, clock)) for _ in range(turns)]
    ratios = sorted(localized / classified for classified, localized in pairs)
    classifier_ms, ms = (1000 * statistics.median(times) / batch_size for times in zip(*pairs, strict=True))
    return Cost(
        ms=ms, classifier_ms=classifier_ms, ratio=statistics.median(ratios), ratio_low=ratios[0],
        ratio_high=ratios[-1], batch_mib=batch_mib, classifier_batch_mib=_allocated_mib(classify), peak_mib=process_mib,
    )  # fmt: skip


def _seconds(run: Callable[[], None], clock: Callable[[], float]) -> float:
    started = clock()
    run()
    return clock() - started


def _allocated_mib(run: Callable[[], None]) -> float:
    """Return the peak memory of the tensors that a function allocates, in MiB."""
    with profile(profile_memory=True) as profiled:
        run()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return float(np.cumsum([0, *changes]).max()) / 2**20


def _differences(rows: Iterable[Row]) -> list[dict[str, object]]:
    """Return the difference of GT-known Loc under `ts-cam`, second row minus first, for each pair of rows."""
    differences = []
    for (first, first_scores, _), (second, second_scores, _) in combinations(rows, 2):
        tested = difference(np.array(first_scores.hits), np.array(second_scores.hits), is_hit=True)
        differences.append({"first": [first.run, first.name], "second": [second.run, second.name], **asdict(tested)})
    return differences


def _training(settings: Mapping[str, object]) -> str:
    """Return in words the settings of a run that are not the defaults of `TrainConfig`, and its seed."""
    defaults = asdict(TrainConfig(data=Path(), out=Path()))
    changed = {name: value for name, value in settings.items() if value != defaults[name] and name not in _IRRELEVANT}
    settings_text = [f"{name} {_option(value)}" for name, value in ({**changed, "seed": settings["seed"]}).items()]
    return ", ".join([f"start weights {Path(str(settings['weights'])).name}", *settings_text])


def _option(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _conditions(data: Path, *, batch_size: int, turns: int, device: str | None) -> str:
    """Return in words the data and the hardware of the measurement."""
    dataset, target = read_dataset(data), find_device(device)
    hardware = f"{os.cpu_count()} cores"
    if target.type == "cuda":
        hardware = torch.cuda.get_device_name(target)
    return (
        f"{len(dataset)} pictures of split {dataset.split!r}, {len(dataset.class_names)} classes, published threshold "
        f"{dataset.threshold:g}; {hardware}, torch {torch.__version__}, timm {timm.__version__}; batch {batch_size}, "
        f"{turns} turns"
    )


def _markdown(
    rows: list[Row],
    conditions: str,
    trained: Mapping[str, str],
    differences: Iterable[Mapping[str, Any]],
) -> str:
    first, first_scores, _ = rows[0]
    blocks = [
        [conditions],
        [f"- `{name}`: {settings}" for name, settings in trained.items()],
        list(_table(
            ["run", "method", "top-1 cls", "top-1 loc", "GT-known loc", "τ", "at published τ", "realistic GT-known",
             "MaxBoxAcc", "best τ", "V2", "PxAP", "ms", "× classifier", "batch (classifier) MiB", "peak MiB"],
            (_cells(*row) for row in rows),
        )),
        list(_table(
            ["run", "method", *(f"{name} ({count})" for name, (count, _) in first_scores.by_size.items())],
            ([reading.run, reading.name, *(f"{value:.1f}" for _, value in scores.by_size.values())]
             for reading, scores, _ in rows),
        )),
        list(_table(
            ["run", "method", "difference of GT-known loc to the first row", "p"],
            ([*pair["second"], f"{pair['value']:+.1f} [{pair['low']:+.1f}, {pair['high']:+.1f}]", f"{pair['p']:.2g}"]
             for pair in differences if pair["first"] == [first.run, first.name]),
        )),
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def _cells(reading: Reading, scores: Scores, cost: Cost) -> list[str]:
    ours, realistic = scores.values["ts-cam"], scores.values["realistic"]
    best, best_v2 = scores.values["max-box-acc"], scores.values["max-box-acc-v2"]
    has_classes = reading.run != NO_TRAINING
    return [
        reading.run, reading.name,
        *(f"{ours[name]['value']:.1f}" if has_classes else "–" for name in ("top1_cls", "top1_loc")),
        _with_interval(ours[MEASURE]), f"{scores.threshold('ts-cam'):.2f}", f"{scores.at_published:.1f}",
        _with_interval(realistic[MEASURE]), _with_interval(next(iter(best.values()))),
        f"{scores.threshold('max-box-acc'):.3f}", f"{next(iter(best_v2.values()))['value']:.1f}",
        f"{scores.values['pxap']['px_ap']['value']:.1f}", f"{cost.ms:.0f}",
        f"{cost.ratio:.2f} ({cost.ratio_low:.2f} to {cost.ratio_high:.2f})",
        f"{cost.batch_mib:.1f} ({cost.classifier_batch_mib:.1f})",
        "unknown" if cost.peak_mib is None else f"{cost.peak_mib:.0f}",
    ]  # fmt: skip


def _with_interval(score: Mapping[str, float]) -> str:
    return f"{score['value']:.1f} [{score['low']:.1f}, {score['high']:.1f}]"


def _table(header: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    for number, cells in enumerate([header, *rows]):
        yield "| " + " | ".join(cells) + " |"
        if number == 0:
            yield "|" + "---|" * 2 + "---:|" * (len(cells) - 2)


if __name__ == "__main__":
    app()
