"""Coordinates of charts: the edges of the plot are 0 and 1, 0 and 100 %."""

import re

import pytest
from jinja2 import UndefinedError

from tscam.evaluation.report import charts
from tscam.evaluation.report.page import environment
from tscam.metrics.statistics import Score

LEFT, RIGHT, TOP, BOTTOM = charts.LEFT, charts.RIGHT, charts.TOP, charts.BOTTOM


def draw(chart: str, *numbers: object, **options: object) -> str:
    """Call a macro of `charts.html`."""
    return str(getattr(environment().get_template("charts.html").module, chart)(*numbers, **options))


def attributes(svg: str, tag: str, class_: str) -> list[dict[str, str]]:
    elements = [dict(re.findall(r'([\w-]+)="([^"]*)"', text)) for text in re.findall(rf"<{tag} [^>]*>", svg)]
    return [element for element in elements if class_ in element.get("class", "").split()]


def points(svg: str, tag: str, class_: str) -> list[tuple[float, float]]:
    (element,) = attributes(svg, tag, class_)
    pairs = [pair.split(",") for pair in element["points"].split()]
    return [(float(x), float(y)) for x, y in pairs]


def test_a_curve_goes_through_its_values_and_its_marks() -> None:
    series = {"gt_known_loc": [0.0, 100.0, 50.0], "top1_loc": [0.0, 75.0, 25.0]}
    svg = draw("threshold_curves", [0.0, 0.5, 1.0], series, chosen={"gt_known_loc": 1.0}, best=0.5, label="x")
    middle = (LEFT + RIGHT) / 2
    assert points(svg, "polyline", "series-0") == [(LEFT, BOTTOM), (middle, TOP), (RIGHT, (TOP + BOTTOM) / 2)]
    dots = [(float(dot["cx"]), float(dot["cy"])) for dot in attributes(svg, "circle", "dot")]
    assert dots == [(RIGHT, (TOP + BOTTOM) / 2), (RIGHT, BOTTOM - (BOTTOM - TOP) / 4)]
    assert [float(rule["x1"]) for rule in attributes(svg, "line", "chosen")] == [RIGHT]
    assert attributes(svg, "path", "best")[0]["d"].startswith(f"M{middle:.1f} {TOP - 9:.1f}l")


def test_each_measure_has_a_dot_at_its_chosen_threshold() -> None:
    series = {"max_box_acc_30": [40.0, 100.0], "max_box_acc_50": [80.0, 20.0]}
    chosen = {"max_box_acc_30": 0.5, "max_box_acc_50": 0.0}
    svg = draw("threshold_curves", [0.0, 0.5], series, chosen=chosen, best=0.5, label="x")
    dots = [(float(dot["cx"]), float(dot["cy"])) for dot in attributes(svg, "circle", "dot")]
    assert dots == [((LEFT + RIGHT) / 2, TOP), (LEFT, pytest.approx(BOTTOM - 0.8 * (BOTTOM - TOP)))]


def test_outcomes_are_stacked_to_100_percent() -> None:
    svg = draw("outcome_areas", [0.0, 1.0], {"right": [1, 2], "part": [3, 2]}, chosen=None, label="x")
    high, half, quarter = TOP, (TOP + BOTTOM) / 2, BOTTOM - (BOTTOM - TOP) / 4
    assert points(svg, "polygon", "outcome-right") == [(LEFT, quarter), (RIGHT, half), (RIGHT, BOTTOM), (LEFT, BOTTOM)]
    assert points(svg, "polygon", "outcome-part") == [(LEFT, high), (RIGHT, high), (RIGHT, half), (LEFT, quarter)]


def test_bars_have_heights_of_their_counts_and_are_pale_below_the_limit() -> None:
    svg = draw("histogram", [5, 0, 20, 10], limits=[0.5], label="x")
    bars = attributes(svg, "rect", "bar")
    assert ["pale" in bar["class"] for bar in bars] == [True, True, False, False]
    assert [float(bar["height"]) / (BOTTOM - TOP) for bar in bars] == [0.25, 0, 1, 0.5]
    assert float(bars[2]["x"]) == (LEFT + RIGHT) / 2 + 1
    assert not attributes(draw("histogram", [1, 2], limits=[], label="x"), "rect", "pale")
    assert "NaN" not in draw("histogram", [0, 0], limits=[0.5], label="x")


def test_an_interval_is_drawn_on_a_scale_of_percents() -> None:
    svg = draw("interval_mark", Score(value=50.0, low=0.0, high=100.0))
    (middle,), (whole,) = attributes(svg, "circle", "value"), attributes(svg, "line", "range")
    assert float(middle["cx"]) == (float(whole["x1"]) + float(whole["x2"])) / 2


def test_text_is_escaped_and_a_missing_name_is_an_error() -> None:
    template = environment().from_string('<b title="{{ text }}">{{ text }}</b>')
    escaped = "&#34;&gt;&lt;script&gt; &amp; &#39;c&#39;"
    assert template.render(text="\"><script> & 'c'") == f'<b title="{escaped}">{escaped}</b>'
    with pytest.raises(UndefinedError, match="'text' is undefined"):
        template.render()
