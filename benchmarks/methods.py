"""Which method and backbone for pictures of one's own: accuracy, time and memory of each, in one table from one run.

    uv run python benchmarks/methods.py --data DIR --weights dinov2.safetensors --models RUNS --out OUT

Each run folder in RUNS is read by every method that can read its weights, and so are the start weights themselves, from
which class-agnostic maps come without any training. A reading is scored on the test split under all protocols in one
pass; its threshold is the best on held-out training pictures. Then, in a process of its own, it takes turns with the
plain classifier on the first pictures of the test split: network, maps and box of the most likely class, and the peak
memory. OUT gets `methods.md`, `methods.json`, and a folder a reading; what is there already is not measured again.
"""

import json
import multiprocessing
import os
import platform
import statistics
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from cyclopts import App

import tscam
from tscam.benchmark import peak_mib, seconds_of
from tscam.boxes import boxes_above, localization_map
from tscam.checkpoint import load_model, save_model
from tscam.config import EvaluateConfig, MethodArgs, TrainConfig
from tscam.datasets import read_dataset
from tscam.errors import ConfigError
from tscam.image import preprocess, read_image
from tscam.metrics.statistics import difference
from tscam.model import LocalizationModel, create_model
from tscam.recipe import read_recipe
from tscam.torch_predictor import TorchPredictor, find_device
from tscam.writing import write_json, write_text_atomically

PROTOCOLS = ("ts-cam", "max-box-acc", "max-box-acc-v2", "realistic", "pxap")
CLASS_AGNOSTIC = ("attention", "rollout")
NO_TRAINING = "(no training)"
# Settings of a run that do not change what it learns.
_IRRELEVANT = {"data", "out", "workers", "cache", "device", "devices", "processes", "save_minutes", "samples_every",
               "overwrite", "tracker", "weights"}  # fmt: skip

app = App(help=__doc__)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A model read by a method.

    Attributes:
        run: name of the run folder, or `NO_TRAINING`.
        model: its folder.
        method, args: the method and its options.
    """

    run: str
    model: Path
    method: str
    args: MethodArgs

    @property
    def name(self) -> str:
        """Method and options, in words."""
        options = [f"{key} {_option(value)}" for key, value in self.args.items()]
        return ", ".join([self.method, *options])


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of a reading.

    Attributes:
        run, reading: its names.
        scores: by protocol and measure: value and 95 % interval, in percent.
        thresholds: by protocol, of its first measure; the best on the test split for max-box-acc and max-box-acc-v2.
        explained: where they come from, by protocol.
        by_size: GT-known Loc under `realistic`, and how many pictures, by what the object covers.
        at_published: GT-known Loc under `ts-cam` at the data set's published threshold, in percent.
        hits: GT-known Loc under `realistic` of each picture.
        ms, classifier_ms: milliseconds a picture, medians over the turns.
        ratio: of the two, the median over the turns; then the lowest and highest.
        batch_mib, classifier_batch_mib: what a batch takes beyond what is there before it.
        peak_mib: of the process (on a GPU, of its allocator) while it localizes a batch.
    """

    run: str
    reading: str
    scores: dict[str, dict[str, tuple[float, float, float]]]
    thresholds: dict[str, float]
    explained: dict[str, str]
    by_size: dict[str, tuple[int, float]]
    at_published: float
    hits: list[int]
    ms: float
    classifier_ms: float
    ratio: tuple[float, float, float]
    batch_mib: float | None
    classifier_batch_mib: float | None
    peak_mib: float | None


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
    turns: int = 9,
    device: str | None = None,
) -> None:
    """Measures what is not there yet, and writes both tables anew.

    Args:
        weights: start weights of the runs whose backbone is `backbone`.
        image_size: of the view of the start weights themselves; a run has its own.
        turns: of classifier and localization, each a batch.
    """
    out.mkdir(parents=True, exist_ok=True)
    runs = sorted((path for path in models.iterdir() if (path / "config.yaml").is_file()), key=_order)
    settings = {run.name: read_recipe(str(run / "config.yaml")) for run in runs}
    readings, refused = _readings(runs, settings, _untrained(data, weights, backbone, image_size, out))
    rows = []
    for number, reading in enumerate(readings, start=1):
        print(f"{number}/{len(readings)} {reading.run}: {reading.name}", flush=True)
        rows.append(_measured(reading, data, out, batch_size=batch_size, turns=turns, device=device))
    facts = _facts(data, batch_size=batch_size, turns=turns, device=device)
    differences = _differences(rows)
    trained = {name: _training(of_run) for name, of_run in settings.items()}
    write_json(out / "methods.json", {**facts, "runs": trained, "refused": refused,
               "rows": [asdict(row) for row in rows], "differences": differences}, indent=1)  # fmt: skip
    write_text_atomically(out / "methods.md", _markdown(rows, facts, trained, refused, differences))
    print((out / "methods.md").resolve())


def _order(run: Path) -> tuple[bool, bool, str]:
    """Trained backbones first, then frozen ones, then those from random weights."""
    settings = read_recipe(str(run / "config.yaml"))
    return settings["weights"] == "none", bool(settings["freeze_backbone"]), run.name


def _untrained(data: Path, weights: Path, backbone: str, image_size: int, out: Path) -> Path:
    """A model folder of the start weights; its class scores are random, its attention is not."""
    folder = out / "no-training" / "model"
    if not folder.exists():
        torch.manual_seed(TrainConfig.seed)
        names = read_dataset(data).class_names
        save_model(create_model(backbone, label_names=names, image_size=image_size, weights=weights), folder)
    return folder


def _readings(
    runs: Iterable[Path], settings: Mapping[str, Mapping[str, object]], untrained: Path
) -> tuple[list[Reading], dict[str, str]]:
    """All readings, each run's own method first; and why methods cannot read a run, by both names."""
    found, refused = [], dict[str, str]()
    for run in runs:
        model = load_model(run)
        own = model.spec.method
        for method in (own, *(name for name in tscam.methods.methods if name != own)):
            if settings[run.name]["freeze_backbone"] and method in CLASS_AGNOSTIC:
                continue  # the maps of the start weights, which are measured by themselves
            try:
                model.with_method(method)
            except ConfigError as fault:
                refused[f"{run.name}, {method}"] = str(fault)
                continue
            options = _options(method, model) if method in (own, "attention") else [{}]
            found += [Reading(run=run.name, model=run, method=method, args=args) for args in options]
    model = load_model(untrained)
    for method in CLASS_AGNOSTIC:
        for args in _options(method, model):
            found.append(Reading(run=NO_TRAINING, model=untrained, method=method, args=args))
    return found, refused


def _options(method: str, model: LocalizationModel) -> list[MethodArgs]:
    """No options, and those worth knowing: the last layers' attention alone; no negative semantic values."""
    options: list[MethodArgs] = [{}]
    if method in ("attention", "ts-cam", "training-free"):
        options.append({"layers": tuple(range(model.backbone.num_blocks))[-4:]})
    if method in ("ts-cam", "training-free"):
        options.append({"relu": True})
    return options


def _measured(reading: Reading, data: Path, out: Path, *, batch_size: int, turns: int, device: str | None) -> Row:
    """The row of a reading; from its file where it was measured before."""
    folder = out / (reading.run.strip("()").replace(" ", "-")) / reading.name.replace(", ", "-").replace(" ", "-")
    file = folder / "row.json"
    if file.exists():
        return Row(**json.loads(file.read_text(encoding="utf-8")))
    config = EvaluateConfig(
        data=data, out=folder / "evaluation", method=reading.method, method_args=reading.args, protocol=PROTOCOLS,
        threshold="val", device=device, overwrite=True,
    )  # fmt: skip
    results = tscam.evaluate(reading.model, config).results
    realistic, ours = results["realistic"], results["ts-cam"]
    at = int(np.abs(ours.curve.thresholds - read_dataset(data).threshold).argmin())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        cost = process.submit(_cost, reading, data, batch_size=batch_size, turns=turns, device=device).result()
    row = Row(
        run=reading.run,
        reading=reading.name,
        scores={
            protocol: {name: (score.value, score.low, score.high) for name, score in result.scores.items()}
            for protocol, result in results.items()
        },
        thresholds={name: next(iter(result.threshold.values.values())) for name, result in results.items()},
        explained={name: result.threshold.explained for name, result in results.items()},
        by_size={group.name: (group.pictures, group.scores["gt_known_loc"]) for group in realistic.by_size},
        at_published=float(ours.curve.percent("gt_known_loc")[at]),
        hits=realistic.columns.measures["gt_known_loc"].astype(int).tolist(),
        **cost,
    )
    write_json(file, asdict(row), indent=1)
    return row


def _cost(reading: Reading, data: Path, *, batch_size: int, turns: int, device: str | None) -> dict[str, Any]:
    """Time and memory of a reading beside the plain classifier of the same backbone; for a process of its own."""
    where = find_device(device)
    predictor = TorchPredictor(
        load_model(reading.model, method=reading.method, method_args=reading.args), device=device
    )
    spec = predictor.model.spec
    settings: dict[str, Any] = dict(spec.backbone_args)
    if predictor.model.backbone.num_blocks:
        settings["img_size"] = spec.image_hw
    plain = timm.create_model(spec.backbone, num_classes=len(spec.label_names), **settings)
    plain = plain.to(where).eval()
    dataset, form = read_dataset(data), predictor.input_format
    views = [preprocess(read_image(dataset.path(index)), to=form) for index in range(batch_size)]
    pixels = np.stack([of_view for of_view, _ in views])

    def classify() -> None:
        with torch.inference_mode():
            plain(torch.from_numpy(pixels).to(where)).cpu()

    def localize() -> None:
        for found in predictor.predict(pixels, top_k=1):
            boxes_above(localization_map(found.maps[0], size_wh=form.size_wh), threshold=spec.threshold)

    memory: dict[str, float | None] = {}
    peak = None
    for name, run in (("classifier_", classify), ("", localize)):
        run()
        before, peak = peak_mib(lambda: None, where), peak_mib(run, where)
        memory[f"{name}batch_mib"] = None if peak is None or before is None else peak - before
    pairs = [(seconds_of(classify, where), seconds_of(localize, where)) for _ in range(turns)]
    ratios = sorted(localized / classified for classified, localized in pairs)
    classifier_ms, ms = (1000 * statistics.median(times) / batch_size for times in zip(*pairs, strict=True))
    return {
        "ms": ms, "classifier_ms": classifier_ms, "ratio": (statistics.median(ratios), ratios[0], ratios[-1]),
        **memory, "peak_mib": peak,
    }  # fmt: skip


def _differences(rows: Iterable[Row]) -> list[dict[str, object]]:
    """GT-known Loc under `realistic`: the second row less the first, for each pair of rows, on the same pictures."""
    found = []
    for first, second in combinations(rows, 2):
        tested = difference(np.array(first.hits, dtype=float), np.array(second.hits, dtype=float), is_hit=True)
        found.append({"first": [first.run, first.reading], "second": [second.run, second.reading], **asdict(tested)})
    return found


def _training(settings: Mapping[str, object]) -> str:
    """How a run was trained: its settings that are not the defaults of `TrainConfig`, and its seed."""
    defaults = asdict(TrainConfig(data=Path(), out=Path()))
    changed = {name: value for name, value in settings.items() if value != defaults[name] and name not in _IRRELEVANT}
    said = [f"{name} {_option(value)}" for name, value in ({**changed, "seed": settings["seed"]}).items()]
    return ", ".join([f"start weights {Path(str(settings['weights'])).name}", *said])


def _option(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _facts(data: Path, *, batch_size: int, turns: int, device: str | None) -> dict[str, Any]:
    where = find_device(device)
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        cpu = next((line.partition(": ")[2] for line in info.read_text().splitlines() if "model name" in line), cpu)
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {cpu}"
    dataset = read_dataset(data)
    return {
        "hardware": torch.cuda.get_device_name(where) if where.type == "cuda" else threads,
        "versions": f"torch {torch.__version__}, timm {timm.__version__}",
        "pictures": len(dataset),
        "split": dataset.split,
        "classes": len(dataset.class_names),
        "published_threshold": dataset.threshold,
        "batch_size": batch_size,
        "turns": turns,
    }


def _markdown(
    rows: list[Row],
    facts: Mapping[str, Any],
    trained: Mapping[str, str],
    refused: Mapping[str, str],
    differences: Iterable[Mapping[str, Any]],
) -> str:
    sizes = list(rows[0].by_size)
    blocks = [
        [f"{facts['pictures']} pictures of split {facts['split']!r}, {facts['classes']} classes. {facts['hardware']}; "
         f"{facts['versions']}; batch {facts['batch_size']}, {facts['turns']} turns."],
        [f"- `{name}`: {said}" for name, said in trained.items()],
        list(_table(
            ["run", "read by", "top-1 cls", "top-1 loc", "GT-known loc", "τ", f"at {facts['published_threshold']:g}",
             "realistic GT-known", "MaxBoxAcc", "best τ", "V2", "PxAP", "ms", "× classifier", "batch MiB", "peak MiB"],
            map(_cells, rows),
        )),
        list(_table(
            ["run", "read by", *(f"{name} ({rows[0].by_size[name][0]})" for name in sizes)],
            ([row.run, row.reading, *(f"{row.by_size[name][1]:.1f}" for name in sizes)] for row in rows),
        )),
        list(_table(
            ["run", "read by", "GT-known loc less that of the first row", "p"],
            ([*pair["second"], f"{pair['value']:+.1f} [{pair['low']:+.1f}, {pair['high']:+.1f}]", f"{pair['p']:.2g}"]
             for pair in differences if pair["first"] == [rows[0].run, rows[0].reading]),
        )),
        [f"- cannot be read: {what}: {why}" for what, why in refused.items()],
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def _cells(row: Row) -> list[str]:
    ours, realistic = row.scores["ts-cam"], row.scores["realistic"]
    return [
        row.run, row.reading,
        "–" if row.run == NO_TRAINING else f"{ours['top1_cls'][0]:.1f}",
        "–" if row.run == NO_TRAINING else f"{ours['top1_loc'][0]:.1f}",
        _with_interval(ours["gt_known_loc"]), f"{row.thresholds['ts-cam']:.2f}", f"{row.at_published:.1f}",
        _with_interval(realistic["gt_known_loc"]),
        _with_interval(next(iter(row.scores["max-box-acc"].values()))), f"{row.thresholds['max-box-acc']:.3f}",
        f"{row.scores['max-box-acc-v2']['max_box_acc_v2'][0]:.1f}", f"{row.scores['pxap']['px_ap'][0]:.1f}",
        f"{row.ms:.0f}", f"{row.ratio[0]:.2f} ({row.ratio[1]:.2f} to {row.ratio[2]:.2f})",
        _mib(row.batch_mib), _mib(row.peak_mib),
    ]  # fmt: skip


def _with_interval(score: tuple[float, float, float]) -> str:
    return f"{score[0]:.1f} [{score[1]:.1f}, {score[2]:.1f}]"


def _mib(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"


def _table(header: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    for number, cells in enumerate([header, *rows]):
        yield "| " + " | ".join(cells) + " |"
        if number == 0:
            yield "|" + "---|" * 2 + "---:|" * (len(cells) - 2)


if __name__ == "__main__":
    app()
