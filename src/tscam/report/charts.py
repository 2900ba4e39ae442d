"""Charts as SVG: pure functions of numbers. Colours are classes of `report.css`, for light and dark.

The user unit is about a pixel of a wide screen; letters grow on narrow ones, so margins leave them room.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from tscam.metrics.statistics import Score
from tscam.report.markup import Markup, element, joined

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 54  # margins of the plot
_FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_QUARTERS = (0.0, 25.0, 50.0, 75.0, 100.0)
_INTERVAL_WIDTH, _INTERVAL_HEIGHT = 220, 18


def threshold_curves(
    thresholds: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    chosen: Mapping[str, float],
    best: float,
    label: str,
) -> Markup:
    """Measures, in percent, over τ from 0 to 1; the chosen τ as a line and dots, the best one as a diamond.

    Args:
        chosen: τ by measure. One that names a single measure holds for all.
        best: τ for the first measure.
        label: what it shows, in words.
    """
    one_for_all = next(iter(chosen.values())) if len(chosen) == 1 else None
    lines, dots = [], []
    for number, (name, values) in enumerate(series.items()):
        points = " ".join(f"{_x(t):.1f},{_y(v):.1f}" for t, v in zip(thresholds, values, strict=True))
        lines.append(element("polyline", points=points, class_=f"line series-{number % 6}"))
        at = one_for_all if one_for_all is not None else chosen.get(name)
        if at is not None:
            y = _y(values[_nearest(thresholds, at)])
            dots.append(element("circle", cx=_x(at), cy=y, r=4.5, class_=f"dot series-{number % 6}"))
    rules = [_upright(at, "chosen") for at in dict.fromkeys(chosen.values())]
    first = next(iter(series.values()))
    x, y = _x(best), _y(first[_nearest(thresholds, best)])
    diamond = element("path", d=f"M{x:.1f} {y - 9:.1f}l9 9l-9 9l-9 -9z", class_="best")
    return _plot(_percent_axis(), _tau_axis(), *rules, *lines, *dots, diamond, _cursor(), label=label)


def outcome_areas(
    thresholds: Sequence[float], outcomes: Mapping[str, Sequence[int]], *, chosen: float | None, label: str
) -> Markup:
    """The share of each outcome over τ, stacked from below in their order."""
    columns = list(zip(*outcomes.values(), strict=True))
    stacked = [[0.0, *accumulate(100 * part / (sum(column) or 1) for part in column)] for column in columns]
    areas = []
    for place, name in enumerate(outcomes):
        upper = [f"{_x(t):.1f},{_y(column[place + 1]):.1f}" for t, column in zip(thresholds, stacked, strict=True)]
        lower = [f"{_x(t):.1f},{_y(column[place]):.1f}" for t, column in zip(thresholds, stacked, strict=True)]
        areas.append(element("polygon", points=" ".join(upper + lower[::-1]), class_=f"area outcome-{name}"))
    rules = [] if chosen is None else [_upright(chosen, "chosen")]
    return _plot(*areas, _percent_axis(), _tau_axis(), *rules, _cursor(), label=label)


def histogram(counts: Sequence[int], *, limits: Sequence[float], label: str) -> Markup:
    """Pictures by IoU in bins of equal width from 0 to 1; bars below the lowest limit are pale.

    Args:
        limits: IoUs from which on a box is right.
    """
    top = _round_up(max(counts, default=0))
    bars = []
    for place, (low, high) in enumerate(pairwise(bin_ / len(counts) for bin_ in range(len(counts) + 1))):
        height = (HEIGHT - TOP - BOTTOM) * counts[place] / top
        pale = bool(limits) and high <= min(limits) + 1e-9
        bars.append(
            element(
                "rect", element("title", f"IoU {low:.2f} to {high:.2f}: {counts[place]}"), x=_x(low) + 1,
                y=HEIGHT - BOTTOM - height, width=_x(high) - _x(low) - 2, height=height,
                class_="bar pale" if pale else "bar",
            )
        )  # fmt: skip
    ticks = [top * step // 4 for step in range(5)] if top % 4 == 0 else [0, top]
    grid = [joined(*_level(100 * tick / top, str(tick))) for tick in ticks]
    axis = joined(*(_tick(at, f"{at:g}") for at in _FIFTHS), _title_below("IoU"))
    return _plot(*grid, axis, *bars, *(_upright(limit, "limit") for limit in limits), label=label)


def share_bar(parts: Mapping[str, int], names: Mapping[str, str]) -> Markup:
    """One bar of all outcomes, as long as they are many; read out by the table below it."""
    whole, left, pieces = sum(parts.values()) or 1, 0.0, []
    for name, number in parts.items():
        width = 1000 * number / whole
        title = element("title", f"{names.get(name, name)}: {number}")
        pieces.append(element("rect", title, x=left, y=0, width=width, height=30, class_=f"area outcome-{name}"))
        left += width
    return element(
        "svg", *pieces, viewBox="0 0 1000 30", preserveAspectRatio="none", class_="sharebar", aria_hidden="true"
    )


def interval_mark(score: Score) -> Markup:
    """A dot for the value and a line for its interval, on a scale from 0 to 100; the numbers stand beside it."""
    middle = _INTERVAL_HEIGHT / 2

    def along(value: float) -> float:
        return 5 + (_INTERVAL_WIDTH - 10) * value / 100

    return element(
        "svg",
        element("line", x1=along(0.0), x2=along(100.0), y1=middle, y2=middle, class_="scale"),
        *(
            element("line", x1=along(at), x2=along(at), y1=middle - 3, y2=middle + 3, class_="scale")
            for at in _QUARTERS
        ),
        element("line", x1=along(score.low), x2=along(score.high), y1=middle, y2=middle, class_="range"),
        element("circle", cx=along(score.value), cy=middle, r=4.5, class_="value"),
        viewBox=f"0 0 {_INTERVAL_WIDTH} {_INTERVAL_HEIGHT}",
        class_="interval",
        aria_hidden="true",
    )


def _plot(*content: Markup, label: str) -> Markup:
    return element("svg", *content, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="plot", role="img", aria_label=label)


def _x(share: float) -> float:
    """Where 0 to 1 is, from left to right."""
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _y(percent: float) -> float:
    """Where 0 to 100 is, from below."""
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * percent / 100


def _percent_axis() -> Markup:
    return joined(*(part for at in _QUARTERS for part in _level(at, f"{at:g}")))


def _level(percent: float, label: str) -> tuple[Markup, Markup]:
    y = _y(percent)
    return (
        element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"),
        element("text", label, x=LEFT - 8, y=y, class_="tick left"),
    )


def _tau_axis() -> Markup:
    return joined(*(_tick(at, f"{at:g}") for at in _FIFTHS), _title_below("threshold τ"))


def _tick(share: float, label: str) -> Markup:
    return element("text", label, x=_x(share), y=HEIGHT - BOTTOM + 20, class_="tick")


def _title_below(text: str) -> Markup:
    return element("text", text, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 6, class_="tick title")


def _upright(share: float, kind: str) -> Markup:
    x = _x(share)
    return element("line", x1=x, x2=x, y1=TOP - 6, y2=HEIGHT - BOTTOM, class_=kind)


def _cursor() -> Markup:
    return element("line", x1=LEFT, x2=LEFT, y1=TOP, y2=HEIGHT - BOTTOM, class_="cursor")


def _nearest(thresholds: Sequence[float], value: float) -> int:
    return min(range(len(thresholds)), key=lambda place: abs(thresholds[place] - value))


def _round_up(count: int) -> int:
    """The end of an axis that holds a count: 4, 8, 20, 40, 80, 200 …"""
    size = 1
    while True:
        for step in (4, 8, 20):
            if count <= step * size:
                return step * size
        size *= 10
