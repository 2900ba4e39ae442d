"""Two evaluations of the same pictures, compared picture by picture: what differs, and whether that can be chance."""

import json
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
        pictures: that both judged.
        measures: that both have.
    """

    first: Path
    second: Path
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
        heading = [f"first:  {self.first}", f"second: {self.second}", f"{self.pictures} pictures, in %", ""]
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
    ids = [tuple(each.ids) for each in columns]
    if ids[0] != ids[1]:
        raise DataError(
            f"{first} has {len(ids[0])} pictures, {second} {len(ids[1])}, not the same in the same order; "
            "evaluate both on one split"
        )
    found = Comparison(
        first=folders[0],
        second=folders[1],
        pictures=len(ids[0]),
        measures=tuple(_compared(*columns)),
    )
    if out is not None:
        write_json(out, _as_json(found), indent=1)
    return found


@dataclass(frozen=True, kw_only=True)
class _Columns:
    ids: Sequence[str]
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
        _ = [each["settings"].keys() for each in metrics["protocols"].values()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as fault:
        raise DataError(
            f"{folder}: not the result of an evaluation ({one_line(fault)}); expected a folder of `tscam evaluate`"
        ) from fault
    return metrics


def _columns(folder: Path, protocols: Sequence[str]) -> _Columns:
    ids: list[str] = []
    values: dict[tuple[str, str], list[float]] = {}
    path = folder / PICTURES
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                picture = json.loads(line)
                found = {
                    (name, measure): float(value)
                    for name in protocols
                    for measure, value in picture["protocols"][name].items()
                    if measure not in ("iou", "box", "outcome")
                }
                if values and found.keys() != values.keys():
                    raise ValueError("other measures than the lines before")
                for key, value in found.items():
                    values.setdefault(key, []).append(value)
                ids.append(str(picture["image"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as fault:
        raise DataError(f"{path}:{len(ids) + 1}: not a judged picture ({one_line(fault)}); evaluate again") from fault
    if not ids:
        raise DataError(f"{path}: holds no picture; evaluate again")
    return _Columns(ids=ids, values={key: np.array(column) for key, column in values.items()})


def _require_same_rules(name: str, ours: Mapping[str, object], theirs: Mapping[str, object]) -> None:
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            raise DataError(
                f"protocol {name!r}: {key} is {ours.get(key)!r} in one and {theirs.get(key)!r} in the other; "
                "evaluate both with one version"
            )


def _as_json(found: Comparison) -> dict[str, object]:
    measures = [asdict(row) for row in found.measures]
    return {"first": str(found.first), "second": str(found.second), "pictures": found.pictures, "measures": measures}
