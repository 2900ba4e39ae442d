"""Readers of `metrics.json` and `per_image.jsonl`, as far as the page shows them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tscam.decoding import PixelRange
from tscam.errors import DataError
from tscam.evaluation.results import METRICS, PICTURES
from tscam.geometry import Box, to_box
from tscam.localization import decode_levels
from tscam.metrics.statistics import Score
from tscam.metrics.summary import Group

_FACTS = {
    "model": "Model", "maps": "Maps", "backbone": "Backbone", "method": "Method", "method_args": "Method options",
    "selection": "Epoch chosen by", "data": "Data",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ThresholdSummary:
    """A protocol's threshold: name of its policy, origin in words, τ by measure (empty if every map gets its own)."""

    policy: str
    explained: str
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class ProtocolSummary:
    """The result of one protocol, as `metrics.json` stores it.

    Attributes:
        settings: of the protocol, each as text.
        view_wh: width and height in pixels of the view that boxes are in; None if every map has its own view.
        ious: smallest IoUs of a correct box; empty for masks.
        errors: pictures by outcome at the threshold; None if the protocol has no outcomes.
        moved: pictures by outcome at the threshold, then by outcome at the best threshold.
        thresholds: of the curve, ascending.
        curve: percent by measure.
        curve_errors: pictures by outcome.
        iou_histogram: pictures in bins of equal width from 0 to 1.
    """

    name: str
    settings: Mapping[str, str]
    source: str
    view_wh: tuple[int, int] | None
    ious: tuple[float, ...]
    pictures: int
    threshold: ThresholdSummary
    scores: Mapping[str, Score]
    errors: Mapping[str, int] | None
    best_threshold: float
    moved: Mapping[str, Mapping[str, int]] | None
    thresholds: list[float]
    curve: Mapping[str, list[float]]
    curve_errors: Mapping[str, list[int]] | None
    iou_histogram: list[int]
    by_size: list[Group]
    by_count: list[Group]
    by_class: list[Group]

    @property
    def lead(self) -> str:
        """The measure that thresholds are chosen by."""
        return next(iter(self.curve))

    @property
    def chosen(self) -> tuple[float, ...]:
        """The distinct thresholds, in the order of their measures; empty if every map gets its own."""
        return tuple(dict.fromkeys(self.threshold.values.values()))


@dataclass(frozen=True, kw_only=True)
class EvaluationSummary:
    """The evaluated model or maps, and the result of each protocol.

    Attributes:
        subject: short name of the model, or of the maps.
        facts: about model and data, as shown to readers.
        not_judged: number of pictures that count as wrong without being judged.
        pixel_range: the range that the values of pictures of more than eight bits were scaled by; None without it.
    """

    subject: str
    facts: Mapping[str, str]
    dataset: str
    split: str
    pictures: int
    class_names: tuple[str, ...]
    not_judged: int
    protocols: tuple[ProtocolSummary, ...]
    pixel_range: PixelRange | None


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureRecord:
    """One line of `per_image.jsonl` under one protocol.

    Attributes:
        picture_wh: width and height of the picture, in pixels.
        truths: ground-truth boxes, half-open, in picture pixels.
        box: predicted box in view pixels; None if the protocol compares masks.
        outcome: None if the protocol has no outcomes.
        lead: value in [0, 1] of the protocol's lead measure.
    """

    image: str
    picture_wh: tuple[int, int]
    label: int
    top_class: int | None
    truths: tuple[Box, ...]
    fault: str
    map: UInt8[np.ndarray, "h w"]
    iou: float
    box: Box | None
    outcome: str | None
    lead: float


def read_evaluation(folder: Path) -> EvaluationSummary:
    """Read `metrics.json` of an evaluation.

    Raises:
        DataError: the file is missing, or is not the result of an evaluation.
    """
    path = folder / METRICS
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        return EvaluationSummary(
            subject=_subject(metrics),
            facts=_facts(metrics),
            dataset=metrics["dataset"],
            split=metrics["split"],
            pictures=metrics["pictures"],
            class_names=tuple(metrics["class_names"]),
            not_judged=metrics["not_judged"],
            pixel_range=PixelRange.from_json(metrics.get("pixel_range")),
            protocols=tuple(
                _protocol(name, result, metrics.get("view")) for name, result in metrics["protocols"].items()
            ),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as fault:
        raise DataError(
            f"{path}: not the result of an evaluation ({type(fault).__name__}: {fault}); run `tscam evaluate`"
        ) from fault


def read_pictures(folder: Path, *, protocol: ProtocolSummary) -> Iterator[PictureRecord]:
    """Yield the pictures of `per_image.jsonl` that a protocol counts, in the order of the file.

    Raises:
        DataError: the file is missing, or a line is broken.
    """
    path = folder / PICTURES
    line_number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                line_number += 1
                picture = json.loads(line)
                if picture["protocols"][protocol.name]["iou"] is not None:  # Else it has no object.
                    yield _picture(picture, protocol.name, protocol.lead)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as fault:
        raise DataError(
            f"{path}:{line_number}: not a picture of an evaluation ({type(fault).__name__}: {fault}); "
            "run `tscam evaluate`"
        ) from fault


def _facts(metrics: dict[str, Any]) -> dict[str, str]:
    facts = {title: _text(metrics[key]) for key, title in _FACTS.items() if metrics.get(key)}
    if "view" in metrics:
        facts["View"] = " × ".join(map(str, metrics["view"]))
    if (pixel_range := PixelRange.from_json(metrics.get("pixel_range"))) is not None:
        facts["Range of values"] = str(pixel_range)
    return facts


def _subject(metrics: dict[str, Any]) -> str:
    if "maps" in metrics:
        return f"Maps of {Path(metrics['maps']).name}"
    return f"{metrics['method']}, {metrics['backbone']}"


def _protocol(name: str, result: dict[str, Any], view: list[int] | None) -> ProtocolSummary:
    settings, curve = result["settings"], result["curve"]
    side = settings["view"]
    view_wh = (side, side) if side is not None else view
    return ProtocolSummary(
        name=name,
        settings={key: _text(value) for key, value in settings.items() if key != "name"}
        | ({"view": "the view of the model"} if side is None else {}),
        source=settings["source"],
        view_wh=None if view_wh is None else (view_wh[0], view_wh[1]),
        ious=tuple(settings.get("ious", ())),
        pictures=result["pictures"],
        threshold=ThresholdSummary(**result["threshold"]),
        scores={measure: Score(**score) for measure, score in result["scores"].items()},
        errors=result["errors"],
        best_threshold=result["best_threshold"],
        moved=result["errors_moved"],
        thresholds=curve["thresholds"],
        curve=curve["scores"],
        curve_errors=curve["errors"],
        iou_histogram=result["iou_histogram"],
        by_size=[Group(**group) for group in result["by_size"]],
        by_count=[Group(**group) for group in result["by_count"]],
        by_class=[Group(**group) for group in result["by_class"]],
    )


def _picture(line: dict[str, Any], protocol: str, lead: str) -> PictureRecord:
    judgement = line["protocols"][protocol]
    return PictureRecord(
        image=line["image"],
        picture_wh=(line["picture"][0], line["picture"][1]),
        label=line["label"],
        top_class=line["top_classes"][0] if line["top_classes"] else None,
        truths=tuple(map(to_box, line["truths"])),
        fault=line["fault"],
        map=decode_levels(line["map"]),
        iou=float(judgement["iou"]),
        box=to_box(judgement["box"]) if "box" in judgement else None,
        outcome=judgement.get("outcome"),
        lead=float(judgement[lead]),
    )


def _text(value: object) -> str:
    """Return the text that readers see for a value of JSON."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items()) or "–"
    return str(value)
