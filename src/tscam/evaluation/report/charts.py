"""Coordinates of the charts that `templates/charts.html` draws as SVG: pure functions of numbers.

The user unit is about one pixel of a wide screen. Letters grow on narrow screens, so the margins leave room for them.
"""

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 546, 14, 246  # edges of the plot


def x(share: float) -> float:
    """Return the coordinate of a share in [0, 1], from left to right."""
    return round(LEFT + (RIGHT - LEFT) * share, 1)


def y(percent: float) -> float:
    """Return the coordinate of a percentage, from bottom to top."""
    return round(BOTTOM - (BOTTOM - TOP) * percent / 100, 1)


def points(shares: Sequence[float], percents: Sequence[float]) -> str:
    """Return the `points` of a polyline."""
    return " ".join(f"{x(share)},{y(percent)}" for share, percent in zip(shares, percents, strict=True))


def bands(shares: Sequence[float], counts: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Return the `points` of a polygon for each outcome, stacked from the bottom to 100 %."""
    totals = [sum(column) or 1 for column in zip(*counts.values(), strict=True)]
    polygons, lower = {}, [0.0] * len(totals)
    for outcome, series in counts.items():
        upper = [edge + 100 * count / total for edge, count, total in zip(lower, series, totals, strict=True)]
        polygons[outcome] = f"{points(shares, upper)} {points(shares[::-1], lower[::-1])}"
        lower = upper
    return polygons


def axis_end(counts: Sequence[int]) -> int:
    """Return the end of an axis of counts: the first of 4, 8, 20, 40, 80, 200 … that no count exceeds."""
    size = 1
    while True:
        for step in (4, 8, 20):
            if max(counts, default=0) <= step * size:
                return step * size
        size *= 10


def nearest(thresholds: Sequence[float], tau: float) -> int:
    """Return the index of the nearest threshold."""
    return min(range(len(thresholds)), key=lambda index: abs(thresholds[index] - tau))
