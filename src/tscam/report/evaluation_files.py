"""`metrics.json` and `per_image.jsonl` → what the page shows, typed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tscam.errors import DataError
from tscam.geometry import Box, to_box
from tscam.localization import decode_levels
from tscam.metrics.statistics import Score
from tscam.metrics.summary import Group
from tscam.results import METRICS, PICTURES

Series = Mapping[str, list[float]]

_FACTS = {
    "model": "Model", "maps": "Maps", "backbone": "Backbone", "method": "Method", "method_args": "Its options",
    "selection": "Epoch chosen by", "data": "Data",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ThresholdPart:
    """A protocol's threshold: name of its policy, origin in words, τ by measure (none where every map has its own)."""

    policy: str
    explained: str
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class ProtocolPart:
    """What `metrics.json` says under a protocol's name.

    Attributes:
        settings: of the protocol, each as text.
        view_wh: side lengths in pixels of the view that boxes are in; None where each map has its own.
        ious: smallest IoU of a right box; none for masks.
        errors: pictures by outcome at the threshold; None where the protocol has no outcomes.
        moved: pictures by outcome at the threshold, then by outcome at the best one.
        thresholds: of the curve, rising.
        curve: by measure, in percent.
        curve_errors: by outcome, pictures.
        iou_histogram: pictures in bins of equal width from 0 to 1.
    """

    name: str
    settings: Mapping[str, str]
    source: str
    view_wh: tuple[int, int] | None
    ious: tuple[float, ...]
    pictures: int
    threshold: ThresholdPart
    scores: Mapping[str, Score]
    errors: Mapping[str, int] | None
    best_threshold: float
    moved: Mapping[str, Mapping[str, int]] | None
    thresholds: list[float]
    curve: Series
    curve_errors: Mapping[str, list[int]] | None
    iou_histogram: list[int]
    by_size: list[Group]
    by_count: list[Group]
    by_class: list[Group]


@dataclass(frozen=True, kw_only=True)
class EvaluationFiles:
    """What was evaluated, and what each protocol says of it.

    Attributes:
        subject: the model, or the maps, in a word.
        facts: of model and data, by name, as people read them.
        not_judged: how many pictures count as wrong without being judged.
    """

    subject: str
    facts: Mapping[str, str]
    dataset: str
    split: str
    pictures: int
    class_names: tuple[str, ...]
    not_judged: int
    protocols: tuple[ProtocolPart, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureLine:
    """A line of `per_image.jsonl`, under one protocol.

    Attributes:
        picture_wh: width and height of the picture, in pixels.
        truths: half-open, in picture pixels.
        box: in view pixels; None where the protocol compares masks.
        outcome: None where the protocol has none.
        lead: the protocol's first measure of this picture that is not of classes, 0 to 1.
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


def read_evaluation(folder: Path) -> EvaluationFiles:
    """What `metrics.json` of an evaluation says.

    Raises:
        DataError: there is none, or it is not of an evaluation.
    """
    path = folder / METRICS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return EvaluationFiles(
            subject=_subject(found),
            facts=_facts(found),
            dataset=found["dataset"],
            split=found["split"],
            pictures=found["pictures"],
            class_names=tuple(found["class_names"]),
            not_judged=found["not_judged"],
            protocols=tuple(_protocol(name, part, found.get("view")) for name, part in found["protocols"].items()),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as fault:
        raise DataError(
            f"{path}: not the numbers of an evaluation ({type(fault).__name__}: {fault}); run `tscam evaluate`"
        ) from fault


def read_pictures(folder: Path, *, protocol: ProtocolPart) -> Iterator[PictureLine]:
    """The pictures of `per_image.jsonl`, in their order, under a protocol.

    Raises:
        DataError: there is none, or a line is broken.
    """
    path = folder / PICTURES
    lead = next(iter(protocol.curve))
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                yield _picture(json.loads(line), protocol.name, lead)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as fault:
        raise DataError(
            f"{path}:{number}: not a picture of an evaluation ({type(fault).__name__}: {fault}); run `tscam evaluate`"
        ) from fault


def _facts(found: dict[str, Any]) -> dict[str, str]:
    shown = {name: _text(found[key]) for key, name in _FACTS.items() if found.get(key)}
    if "view" in found:
        shown["View"] = " × ".join(map(str, found["view"]))
    return shown


def _subject(found: dict[str, Any]) -> str:
    if "maps" in found:
        return f"Maps of {Path(found['maps']).name}"
    return f"{found['method']}, {found['backbone']}"


def _protocol(name: str, part: dict[str, Any], view: list[int] | None) -> ProtocolPart:
    settings, curve = part["settings"], part["curve"]
    side = settings["view"]
    width_height = (side, side) if side is not None else view
    return ProtocolPart(
        name=name,
        settings={key: _text(value) for key, value in settings.items() if key != "name"}
        | ({"view": "the model's own"} if side is None else {}),
        source=settings["source"],
        view_wh=None if width_height is None else (width_height[0], width_height[1]),
        ious=tuple(settings.get("ious", ())),
        pictures=part["pictures"],
        threshold=ThresholdPart(**part["threshold"]),
        scores={measure: Score(**score) for measure, score in part["scores"].items()},
        errors=part["errors"],
        best_threshold=part["best_threshold"],
        moved=part["errors_moved"],
        thresholds=curve["thresholds"],
        curve=curve["scores"],
        curve_errors=curve["errors"],
        iou_histogram=part["iou_histogram"],
        by_size=[Group(**group) for group in part["by_size"]],
        by_count=[Group(**group) for group in part["by_count"]],
        by_class=[Group(**group) for group in part["by_class"]],
    )


def _picture(line: dict[str, Any], protocol: str, lead: str) -> PictureLine:
    judged = line["protocols"][protocol]
    return PictureLine(
        image=line["image"],
        picture_wh=(line["picture"][0], line["picture"][1]),
        label=line["label"],
        top_class=line["top_classes"][0] if line["top_classes"] else None,
        truths=tuple(map(to_box, line["truths"])),
        fault=line["fault"],
        map=decode_levels(line["map"]),
        iou=float(judged["iou"]),
        box=to_box(judged["box"]) if "box" in judged else None,
        outcome=judged.get("outcome"),
        lead=float(judged[lead]),
    )


def _text(value: object) -> str:
    """A setting as people read it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items()) or "–"
    return str(value)
