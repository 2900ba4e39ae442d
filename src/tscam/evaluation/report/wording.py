"""Names of measures and outcomes, and numbers as text."""

import re
from collections.abc import Mapping

from tscam.metrics.ts_cam import Outcome

_MEASURES = {
    "top1_cls": "Top-1 Cls",
    "top5_cls": "Top-5 Cls",
    "gt_known_loc": "GT-known Loc",
    "top1_loc": "Top-1 Loc",
    "top5_loc": "Top-5 Loc",
    "max_box_acc": "MaxBoxAcc",
    "max_box_acc_v2": "MaxBoxAccV2",
    "px_ap": "PxAP",
    "mean_iou": "Mean IoU of masks",
}

OUTCOME_NAMES: Mapping[str, str] = {
    Outcome.RIGHT: "Correct",
    Outcome.CLS_WRONG: "Wrong class",
    Outcome.MULTI_INSTANCE: "Several objects",
    Outcome.PART: "Part of the object",
    Outcome.MORE: "More than the object",
    Outcome.WRONG: "Wrong location",
}

OUTCOME_MEANINGS: Mapping[str, str] = {
    Outcome.RIGHT: "the class is correct and the IoU is over 0.5",
    Outcome.CLS_WRONG: "the most likely class is another one; the box does not matter",
    Outcome.MULTI_INSTANCE: "the box covers over 0.3 of each of two or more objects",
    Outcome.PART: "over half of the box is on the object, but much of the object is outside",
    Outcome.MORE: "the box covers 0.7 of the object or more, and much around it",
    Outcome.WRONG: "none of these: the box is elsewhere",
}


def measure_name(measure: str) -> str:
    """Return a measure's name as the field writes it; an unknown measure keeps its name."""
    at_iou = re.fullmatch(r"max_box_acc_(\d\d)", measure)
    if at_iou:
        return f"MaxBoxAcc @ 0.{at_iou[1].removesuffix('0')}"
    return _MEASURES.get(measure, measure)


def outcome_name(outcome: str) -> str:
    return OUTCOME_NAMES.get(outcome, outcome)


def outcome_meaning(outcome: str) -> str:
    return OUTCOME_MEANINGS.get(outcome, "")


def format_tau(threshold: float) -> str:
    """Return a threshold with at most four decimals."""
    return f"{round(threshold, 4):g}"


def format_count(number: int) -> str:
    """Return a number with a narrow, non-breaking space between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def quantity(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 picture`, `1 234 pictures`."""
    return f"{format_count(number)} {singular if number == 1 else plural or singular + 's'}"


def format_share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"
