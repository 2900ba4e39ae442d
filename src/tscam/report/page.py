"""The page itself: `report.html`, one file that needs no other and loads nothing."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from tscam.report import charts, tables
from tscam.report.evaluation_files import EvaluationFiles, ProtocolPart, read_evaluation, read_pictures
from tscam.report.gallery import Gallery, choose, gallery_protocol, list_not_judged, show
from tscam.report.markup import Markup, element, joined, named, void
from tscam.report.wording import OUTCOME_NAMES, count, measure_name, tau
from tscam.writing import write_text_atomically

REPORT = "report.html"
_THEME = "Light or dark"


def write_report(out: Path, *, image_root: Path) -> Path:
    """Writes `report.html` beside the files of an evaluation, and returns its path.

    The same files and pictures give the same bytes.

    Args:
        out: folder of the evaluation: `metrics.json` and `per_image.jsonl`.
        image_root: folder that the ids of pictures are relative to. A picture that is gone or broken is a plate that
            says so.

    Raises:
        DataError: these are not the files of an evaluation.
        OutputError: the disk refuses.
    """
    found = read_evaluation(out)
    shown = gallery_protocol(found.protocols)
    gallery = choose(read_pictures(out, protocol=shown), protocol=shown)
    write_text_atomically(out / REPORT, _page(found, gallery, image_root))
    return out / REPORT


def _page(found: EvaluationFiles, gallery: Gallery, image_root: Path) -> str:
    style, script = _beside("report.css"), _beside("report.js")
    title = f"{found.subject} on {found.dataset} {found.split}"
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=policy),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · tscam"),
        element("style", Markup(style)),
    )
    body = element("body", *_body(found, gallery, image_root), element("script", Markup(script)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _body(found: EvaluationFiles, gallery: Gallery, image_root: Path) -> list[Markup]:
    is_many = len(found.protocols) > 1
    tabs = [element("a", named(part.name), href=f"#protocol-{n}") for n, part in enumerate(found.protocols)]
    legend = (
        f"By IoU under protocol {gallery.protocol.name}. The glow is the map of the picture's class; the coloured "
        "frame is the found box, cyan where it is right and orange where not; dashed in white are the true boxes."
    )
    if gallery.protocol.ious and gallery.protocol.view_wh is None:
        legend += " The found boxes are left out: each map has a view of its own, which the files do not tell."
    sections = [
        _section("scores", "Scores", tables.headline(found.protocols)),
        _section(
            "protocols", "Protocol by protocol" if is_many else "In detail",
            element("nav", *tabs, class_="tabs", aria_label="Protocols") if is_many else Markup(),
            *(_protocol(part, number) for number, part in enumerate(found.protocols)),
        ),
        _section(
            "pictures", "Best and worst pictures", element("p", legend, class_="note"),
            show(gallery, image_root=image_root, class_names=found.class_names),
        ),
        _section("not-judged", "Not judged", list_not_judged(gallery, pictures=found.not_judged))
        if found.not_judged else Markup(),
        _section(
            "settings", "Settings",
            element("details", element("summary", "Settings of the protocols"), tables.settings(found.protocols)),
        ),
    ]  # fmt: skip
    links = [("scores", "Scores"), ("protocols", "Protocols" if is_many else "Details"), ("pictures", "Pictures")]
    links += [("not-judged", "Not judged")] if found.not_judged else []
    nav = element(
        "nav", *(element("a", text, href=f"#{target}") for target, text in (*links, ("settings", "Settings"))),
        element("button", "◐", type="button", id="theme", hidden=True, aria_label=_THEME, title=_THEME),
        class_="page", aria_label="Page",
    )  # fmt: skip
    return [_header(found), nav, element("main", *sections)]


def _header(found: EvaluationFiles) -> Markup:
    rows = [element("div", element("dt", name), element("dd", named(text))) for name, text in found.facts.items()]
    classes = count(len(found.class_names), "class", "classes")
    size = f"{count(found.pictures, 'picture')} of {classes}, split {found.split}"
    return element(
        "header",
        element("p", "tscam evaluation", class_="kicker"),
        element("h1", named(found.subject), " on ", named(found.dataset)),
        element("p", size, class_="size"),
        element("dl", *rows),
    )


def _protocol(part: ProtocolPart, number: int) -> Markup:
    lead = next(iter(part.curve))
    highest = f"{max(part.curve[lead]):.1f} % at best, at τ {tau(part.best_threshold)}"
    curve = charts.threshold_curves(
        part.thresholds,
        part.curve,
        chosen=part.threshold.values,
        best=part.best_threshold,
        label=f"{measure_name(lead)} over the threshold: {highest}",
    )
    bars = charts.histogram(part.iou_histogram, limits=part.ious, label=f"IoU of {count(part.pictures, 'picture')}")
    numbers = tables.histogram_numbers(part.iou_histogram)
    figures = [
        _figure("Scores over the threshold", curve, _curve_legend(part), _readout(part),
                _folded("The curve in numbers", tables.curve_numbers(part))),
        _figure(f"IoU at {_where(part)}", bars, _folded("IoU in numbers", numbers)),
    ]  # fmt: skip
    errors = _errors(part) if part.errors is not None else []
    rest = [
        element("div", tables.groups("By size of the largest object", part.by_size, first="It covers"), class_="card"),
        element("div", tables.groups("By number of objects", part.by_count, first="Picture with"), class_="card"),
    ]
    return element(
        "section",
        element("h3", named(part.name), tables.badge(part.threshold)),
        element("p", named(part.source), ". ", tables.threshold_words(part), ".", class_="note"),
        element("div", *figures, class_="charts"),
        *errors,
        element("div", *rest, class_="charts"),
        element("h4", "By class"),
        tables.classes(part, number=number),
        id=f"protocol-{number}",
        class_="protocol",
        **_curve_attributes(part),
    )


def _where(part: ProtocolPart) -> str:
    """The threshold of a picture's IoU and outcome: that of the first measure, where there are several."""
    values = part.threshold.values.values()
    return f"the chosen τ {tau(next(iter(values)))}" if values else "the threshold of each map"


def _errors(part: ProtocolPart) -> list[Markup]:
    assert part.errors is not None
    chosen = next(iter(part.threshold.values.values()), None)
    breakdown = element(
        "div", element("h4", f"Errors at {_where(part)}"), charts.share_bar(part.errors, OUTCOME_NAMES),
        tables.outcomes(part, part.errors), class_="card",
    )  # fmt: skip
    areas = charts.outcome_areas(
        part.thresholds, part.curve_errors or {}, chosen=chosen, label="Share of each outcome over the threshold"
    )
    moving = _figure(
        "Errors as the threshold moves", areas, element("output", class_="readout errors", hidden=True),
        element("h5", "What the best threshold would change"), tables.moves(part),
    )  # fmt: skip
    return [element("div", breakdown, moving, class_="charts")]


def _curve_legend(part: ProtocolPart) -> Markup:
    items = [
        element("li", element("span", "", class_=f"key series-{place % 6}"), measure_name(name))
        for place, name in enumerate(part.curve)
    ]
    values = ", ".join(tau(value) for value in dict.fromkeys(part.threshold.values.values()))
    if values:
        items.append(element("li", element("span", "", class_="key chosen-key"), f"chosen τ {values}"))
    best = f"best τ {tau(part.best_threshold)} for {measure_name(next(iter(part.curve)))}, chosen on these pictures"
    return element("ul", *items, element("li", element("span", "", class_="key best-key"), best), class_="legend")


def _readout(part: ProtocolPart) -> Markup:
    """The slider that moves along the curve, and what it reads there; `report.js` shows both."""
    start = next(iter(part.threshold.values.values()), part.best_threshold)
    place = min(range(len(part.thresholds)), key=lambda at: abs(part.thresholds[at] - start))
    slider = void("input", type="range", min=0, max=len(part.thresholds) - 1, value=place)
    label = element("label", element("span", "Threshold"), slider, class_="slider", hidden=True)
    return joined(label, element("output", class_="readout scores", hidden=True))


def _curve_attributes(part: ProtocolPart) -> dict[str, str]:
    scores = {measure_name(name): [round(value, 2) for value in values] for name, values in part.curve.items()}
    errors = {OUTCOME_NAMES.get(name, name): values for name, values in (part.curve_errors or {}).items()}
    held = {
        "data_thresholds": [round(value, 4) for value in part.thresholds],
        "data_scores": scores,
        "data_errors": errors,
        "data_plot": [charts.LEFT, charts.WIDTH - charts.RIGHT, charts.WIDTH],
    }
    return {name: json.dumps(value, separators=(",", ":"), ensure_ascii=False) for name, value in held.items()}


def _figure(title: str, *content: Markup) -> Markup:
    return element("div", element("h4", title), *content, class_="card")


def _folded(title: str, content: Markup) -> Markup:
    return element("details", element("summary", title), content)


def _section(name: str, title: str, *content: Markup) -> Markup:
    return element("section", element("h2", title), *content, id=name, class_="part")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _beside(name: str) -> str:
    return (files("tscam.report") / name).read_text(encoding="utf-8")
