"""Two evaluations of the same pictures, compared picture by picture: the differences, and if they can be chance."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tscam.errors import DataError, one_line
from tscam.evaluation.results import METRICS, PICTURES
from tscam.metrics.statistics import Difference, difference
from tscam.names import nfc

# Measures that give a single picture a share, neither right nor wrong.
_SHARES = ("mean_iou", "max_box_acc_v2")

# Raised by files that no evaluation has written.
_FAULTS = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, kw_only=True)
class MeasureComparison:
    """One measure of both evaluations, in percent, and its difference."""

    protocol: str
    measure: str
    first: float
    second: float
    difference: Difference


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The differences between two evaluations.

    Attributes:
        first, second: their folders.
        about: lines on the first and on the second: method, threshold of each protocol with its origin, how the epoch
            was chosen.
        pictures: number of pictures, the same in both.
        measures: the measures that both have.
    """

    first: Path
    second: Path
    about: tuple[tuple[str, ...], tuple[str, ...]]
    pictures: int
    measures: tuple[MeasureComparison, ...]

    def describe(self) -> str:
        """A table: the measures of both, the difference with its interval, and p of the exact McNemar test."""
        rows = [["protocol", "measure", "first", "second", "second - first", "95 % interval", "p"]]
        for measure in self.measures:
            change = measure.difference
            p = "–" if change.p is None else "< 0.0001" if change.p < 1e-4 else f"{change.p:.4f}"
            rows.append(
                [
                    measure.protocol, measure.measure, f"{measure.first:.2f}", f"{measure.second:.2f}",
                    f"{change.value:+.2f}", f"[{change.low:+.2f}, {change.high:+.2f}]", p,
                ]
            )  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        heading = [f"first:  {self.first}", *(f"        {line}" for line in self.about[0])]
        heading += [f"second: {self.second}", *(f"        {line}" for line in self.about[1])]
        heading += [f"{self.pictures} pictures, in %", ""]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(heading + table)

    def to_json(self) -> dict[str, object]:
        """The comparison as JSON values."""
        return {
            "first": str(self.first),
            "second": str(self.second),
            "about_first": list(self.about[0]),
            "about_second": list(self.about[1]),
            "pictures": self.pictures,
            "measures": [asdict(measure) for measure in self.measures],
        }


def compare_evaluations(first: Path, second: Path) -> Comparison:
    """Compare two evaluations of the same pictures under the protocols that both have.

    Args:
        first, second: folders that `tscam evaluate` has written, or runs, whose test is taken.

    Raises:
        DataError: a folder is no evaluation, or the two judged different pictures, or share no protocol.
    """
    folders = [_folder(first), _folder(second)]
    metrics = [_metrics(folder) for folder in folders]
    shared = [name for name in metrics[0]["protocols"] if name in metrics[1]["protocols"]]
    if not shared:
        names = " and ".join(", ".join(each["protocols"]) for each in metrics)
        raise DataError(f"{first} and {second} share no protocol ({names}); evaluate both under one")
    for name in shared:
        _require_same_rules(name, *(each["protocols"][name]["settings"] for each in metrics))
    columns = [_columns(folder, shared) for folder in folders]
    _require_same_pictures(first, second, *columns)
    return Comparison(
        first=folders[0],
        second=folders[1],
        about=(_about(metrics[0], shared), _about(metrics[1], shared)),
        pictures=len(columns[0].ids),
        measures=tuple(_compared(*columns)),
    )


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """The pictures of an evaluation: ids, class and true boxes of each, values by protocol and measure."""

    ids: Sequence[str]
    truths: Sequence[tuple[int, object]]
    values: Mapping[tuple[str, str], Float[np.ndarray, " n"]]


def _compared(first: _Columns, second: _Columns) -> Iterator[MeasureComparison]:
    for (protocol, measure), ours in first.values.items():
        theirs = second.values.get((protocol, measure))
        if theirs is not None:
            yield MeasureComparison(
                protocol=protocol,
                measure=measure,
                first=100 * float(np.nanmean(ours)),
                second=100 * float(np.nanmean(theirs)),
                difference=difference(ours, theirs, is_hit=measure not in _SHARES),
            )


def _folder(path: Path) -> Path:
    return path / "test" if not (path / METRICS).is_file() and (path / "test" / METRICS).is_file() else path


def _metrics(folder: Path) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        if "protocol" in metrics and "protocols" not in metrics:
            raise DataError(f"{folder}: written by an earlier version, with one protocol; evaluate again")
        _ = [(each["settings"].keys(), each["threshold"]["explained"]) for each in metrics["protocols"].values()]
    except _FAULTS as fault:
        raise DataError(
            f"{folder}: not the result of an evaluation ({one_line(fault)}); expected a folder of `tscam evaluate`"
        ) from fault
    return metrics


def _about(metrics: Mapping[str, Any], protocols: Sequence[str]) -> tuple[str, ...]:
    lines = [f"maps of {metrics['maps']}" if "maps" in metrics else f"method {metrics.get('method', 'unknown')}"]
    for name in protocols:
        threshold = metrics["protocols"][name]["threshold"]
        values = ", ".join(f"{value:g}" for value in dict.fromkeys(threshold.get("values", {}).values()))
        lines.append(f"{name}: threshold {values} ({threshold['explained']})")
    if "selection" in metrics:
        lines.append(f"epoch: {metrics['selection']}")
    return tuple(lines)


def _columns(folder: Path, protocols: Sequence[str]) -> _Columns:
    ids: list[str] = []
    truths: list[tuple[int, object]] = []
    columns: dict[tuple[str, str], list[float]] = {}
    path = folder / PICTURES
    if not path.is_file():
        raise DataError(f"{path}: no such file; evaluate again")
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                picture = json.loads(line)
                values = {
                    (name, measure): _share(measure, value)
                    for name in protocols
                    for measure, value in picture["protocols"][name].items()
                    if measure not in ("iou", "box", "outcome")
                }
                if columns and values.keys() != columns.keys():
                    raise ValueError("other measures than the lines before")
                for key, value in values.items():
                    columns.setdefault(key, []).append(value)
                truths.append((int(picture["label"]), picture["truths"]))
                ids.append(nfc(str(picture["image"])))
    except _FAULTS as fault:
        raise DataError(f"{path}:{len(ids) + 1}: not a judged picture ({one_line(fault)}); evaluate again") from fault
    if not ids:
        raise DataError(f"{path}: no pictures in this file; evaluate again")
    return _Columns(ids=ids, truths=truths, values={key: np.array(column) for key, column in columns.items()})


def _share(measure: str, value: object) -> float:
    """The value of a measure; NaN for null, the localization of a picture without an object."""
    if value is None:
        return math.nan
    share = float(value) if isinstance(value, int | float) else math.nan
    if not (0 <= share <= 1 and (measure in _SHARES or share in (0, 1))):
        raise ValueError(f"{measure} is {value!r:.40}; expected {'0 to 1' if measure in _SHARES else '0 or 1'}")
    return share


def _require_same_pictures(first: Path, second: Path, ours: _Columns, theirs: _Columns) -> None:
    if ours.ids != theirs.ids:
        raise DataError(
            f"{first} has {len(ours.ids)} pictures, {second} {len(theirs.ids)}, not the same in the same order; "
            "evaluate both on one split"
        )
    for image, one, other in zip(ours.ids, ours.truths, theirs.truths, strict=True):
        if one != other:
            raise DataError(
                f"{image}: class or true boxes differ between {first} and {second}; evaluate both on one data set"
            )


def _require_same_rules(name: str, ours: Mapping[str, object], theirs: Mapping[str, object]) -> None:
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            raise DataError(
                f"protocol {name!r}: {key} is {ours.get(key)!r} in one and {theirs.get(key)!r} in the other; "
                "evaluate both with one version"
            )
