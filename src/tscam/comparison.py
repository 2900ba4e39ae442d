"""Two evaluations of the same pictures, compared picture by picture: what differs, and whether that can be chance."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tscam.errors import DataError, OutputError, one_line
from tscam.metrics.statistics import Difference, difference
from tscam.results import METRICS, PICTURES
from tscam.writing import write_json

# Of one picture neither right nor wrong.
_SHARES = ("mean_iou", "max_box_acc_v2")

# What files raise that were not written by an evaluation.
_FAULTS = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One measure of both, in percent, and its difference."""

    protocol: str
    measure: str
    first: float
    second: float
    difference: Difference


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two evaluations differ in.

    Attributes:
        first, second: their folders.
        about: of the first and the second, what was evaluated: method, threshold of each protocol and where it comes
            from, how the epoch was chosen.
        pictures: that both judged.
        measures: that both have.
    """

    first: Path
    second: Path
    about: tuple[tuple[str, ...], tuple[str, ...]]
    pictures: int
    measures: tuple[Compared, ...]

    def describe(self) -> str:
        """A table: the measures of both, the difference with its interval, and p of the exact McNemar test."""
        rows = [["protocol", "measure", "first", "second", "second - first", "95 % interval", "p"]]
        for row in self.measures:
            found = row.difference
            p = "–" if found.p is None else "< 0.0001" if found.p < 1e-4 else f"{found.p:.4f}"
            bounds = f"[{found.low:+.2f}, {found.high:+.2f}]"
            rows.append([row.protocol, row.measure, f"{row.first:.2f}", f"{row.second:.2f}", f"{found.value:+.2f}",
                         bounds, p])  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        heading = [f"first:  {self.first}", *(f"        {line}" for line in self.about[0])]
        heading += [f"second: {self.second}", *(f"        {line}" for line in self.about[1])]
        heading += [f"{self.pictures} pictures, in %", ""]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(heading + table)


def compare(first: Path, second: Path, *, out: Path | None = None) -> Comparison:
    """Compares two evaluations of the same pictures under the protocols that both have.

    Args:
        first, second: folders that `tscam evaluate` has written, or runs, whose test is taken.
        out: a JSON file for the result.

    Raises:
        DataError: a folder is no evaluation, or they judged other pictures, or share no protocol.
        OutputError: the file is there already, or cannot be written.
    """
    if out is not None and out.exists():
        raise OutputError(f"{out}: there is something of this name already; choose another one for the result")
    folders = [_folder(first), _folder(second)]
    metrics = [_metrics(folder) for folder in folders]
    shared = [name for name in metrics[0]["protocols"] if name in metrics[1]["protocols"]]
    if not shared:
        held = " and ".join(", ".join(each["protocols"]) for each in metrics)
        raise DataError(f"{first} and {second} share no protocol ({held}); evaluate both under one")
    for name in shared:
        _require_same_rules(name, *(each["protocols"][name]["settings"] for each in metrics))
    columns = [_columns(folder, shared) for folder in folders]
    _require_same_pictures(first, second, *columns)
    found = Comparison(
        first=folders[0],
        second=folders[1],
        about=(_about(metrics[0], shared), _about(metrics[1], shared)),
        pictures=len(columns[0].ids),
        measures=tuple(_compared(*columns)),
    )
    if out is not None:
        write_json(out, _as_json(found), indent=1)
    return found


@dataclass(frozen=True, kw_only=True)
class _Columns:
    ids: Sequence[str]
    truths: Sequence[tuple[int, object]]  # class and true boxes of each
    values: Mapping[tuple[str, str], Float[np.ndarray, " n"]]


def _compared(first: _Columns, second: _Columns) -> Iterator[Compared]:
    for (protocol, measure), ours in first.values.items():
        theirs = second.values.get((protocol, measure))
        if theirs is not None:
            yield Compared(
                protocol=protocol,
                measure=measure,
                first=100 * float(ours.mean()),
                second=100 * float(theirs.mean()),
                difference=difference(ours, theirs, is_hit=measure not in _SHARES),
            )


def _folder(given: Path) -> Path:
    return given / "test" if not (given / METRICS).is_file() and (given / "test" / METRICS).is_file() else given


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
    """What was evaluated, a line each: by what maps, at which thresholds, and how the epoch was chosen."""
    maps = f"maps of {metrics['maps']}" if "maps" in metrics else f"method {metrics.get('method', 'unknown')}"
    lines = [maps]
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
    values: dict[tuple[str, str], list[float]] = {}
    path = folder / PICTURES
    if not path.is_file():
        raise DataError(f"{path}: no such file; evaluate again")
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                picture = json.loads(line)
                found = {
                    (name, measure): _share(measure, value)
                    for name in protocols
                    for measure, value in picture["protocols"][name].items()
                    if measure not in ("iou", "box", "outcome")
                }
                if values and found.keys() != values.keys():
                    raise ValueError("other measures than the lines before")
                for key, value in found.items():
                    values.setdefault(key, []).append(value)
                truths.append((int(picture["label"]), picture["truths"]))
                ids.append(str(picture["image"]))
    except _FAULTS as fault:
        raise DataError(f"{path}:{len(ids) + 1}: not a judged picture ({one_line(fault)}); evaluate again") from fault
    if not ids:
        raise DataError(f"{path}: holds no picture; evaluate again")
    return _Columns(ids=ids, truths=truths, values={key: np.array(column) for key, column in values.items()})


def _share(measure: str, value: object) -> float:
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
                f"{image}: {first} and {second} judged it by other classes or true boxes; evaluate both on one data set"
            )


def _require_same_rules(name: str, ours: Mapping[str, object], theirs: Mapping[str, object]) -> None:
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            raise DataError(
                f"protocol {name!r}: {key} is {ours.get(key)!r} in one and {theirs.get(key)!r} in the other; "
                "evaluate both with one version"
            )


def _as_json(found: Comparison) -> dict[str, object]:
    measures = [asdict(row) for row in found.measures]
    about = {"about_first": list(found.about[0]), "about_second": list(found.about[1])}
    places = {"first": str(found.first), "second": str(found.second)}
    return {**places, **about, "pictures": found.pictures, "measures": measures}
