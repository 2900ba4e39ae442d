"""Charts and tables of the page for one protocol, computed from the numbers of `metrics.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tscam.evaluation.report import charts
from tscam.evaluation.report.evaluation_files import ProtocolSummary
from tscam.evaluation.report.wording import format_count, format_tau, measure_name, outcome_name

_LISTED_TAUS = tuple(step / 20 for step in range(20))


@dataclass(frozen=True, kw_only=True)
class ProtocolSection:
    """A protocol's section of the page.

    Attributes:
        tau_words: the threshold of a picture's IoU and outcome, in words.
        start: index of the threshold where the slider starts.
        curve_rows: the curve at every twentieth, at the chosen thresholds and at the best one.
        moves: pictures by outcome at the chosen threshold, then at the best one; empty if no outcome changes.
        series: numbers that `report.js` reads: JSON by name of a `data-` attribute.
    """

    protocol: ProtocolSummary
    tau_words: str
    start: int
    curve_heads: tuple[str, ...]
    curve_rows: tuple[tuple[str, ...], ...]
    histogram_rows: tuple[tuple[str, ...], ...]
    moves: Mapping[str, Mapping[str, int]]
    series: Mapping[str, str]


def protocol_section(protocol: ProtocolSummary) -> ProtocolSection:
    """Return the section of a protocol."""
    tau = protocol.chosen[0] if protocol.chosen else None
    errors, bins = protocol.curve_errors or {}, len(protocol.iou_histogram)
    listed = {
        charts.nearest(protocol.thresholds, t) for t in (*_LISTED_TAUS, protocol.best_threshold, *protocol.chosen)
    }
    return ProtocolSection(
        protocol=protocol,
        tau_words="the threshold of each map" if tau is None else f"the chosen τ {format_tau(tau)}",
        start=charts.nearest(protocol.thresholds, protocol.best_threshold if tau is None else tau),
        curve_heads=("τ", *(f"{measure_name(name)}, %" for name in protocol.curve), *map(outcome_name, errors)),
        curve_rows=tuple(
            (
                format_tau(protocol.thresholds[index]),
                *(f"{percents[index]:.1f}" for percents in protocol.curve.values()),
                *(format_count(counts[index]) for counts in errors.values()),
            )
            for index in sorted(listed)
        ),
        histogram_rows=tuple(
            (f"{index / bins:.2f} to {(index + 1) / bins:.2f}", format_count(count))
            for index, count in enumerate(protocol.iou_histogram)
        ),
        moves=_moves(protocol.moved or {}),
        series=_series(protocol),
    )


def _moves(moved: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Return the rows and columns that have pictures; nothing if every picture keeps its outcome."""
    if all(row[outcome] == sum(row.values()) for outcome, row in moved.items()):
        return {}
    columns = [outcome for outcome in moved if any(row[outcome] for row in moved.values())]
    return {outcome: {column: row[column] for column in columns} for outcome, row in moved.items() if any(row.values())}


def _series(protocol: ProtocolSummary) -> dict[str, str]:
    series = {
        "thresholds": [round(tau, 4) for tau in protocol.thresholds],
        "scores": {measure_name(name): [round(p, 2) for p in percents] for name, percents in protocol.curve.items()},
        "errors": {outcome_name(outcome): counts for outcome, counts in (protocol.curve_errors or {}).items()},
        "plot": [charts.LEFT, charts.RIGHT, charts.WIDTH],
    }
    return {name: json.dumps(values, separators=(",", ":"), ensure_ascii=False) for name, values in series.items()}
