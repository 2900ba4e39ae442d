"""The tables of the page."""

from collections.abc import Iterable, Mapping, Sequence

from tscam.metrics.summary import Group
from tscam.report.charts import interval_mark
from tscam.report.evaluation_files import ProtocolPart, ThresholdPart
from tscam.report.markup import Markup, element, joined, named, void
from tscam.report.wording import OUTCOME_MEANINGS, OUTCOME_NAMES, count, measure_name, percent, spaced, tau

_STEPS = tuple(step / 20 for step in range(20))  # thresholds of the curve that are also given as numbers


def headline(protocols: Sequence[ProtocolPart]) -> Markup:
    """Every protocol's measures with their intervals, under where its threshold comes from."""
    head = element(
        "tr",
        *(element("th", text, scope="col", class_=kind) for text, kind in (
            ("Measure", ""), ("%", "number"), ("95 % interval", "number"), ("0 to 100 %", "wide"),
        )),
    )  # fmt: skip
    bodies = []
    for part in protocols:
        title = element(
            "th", named(part.name), badge(part.threshold), element("span", threshold_words(part), class_="origin"),
            scope="rowgroup", colspan=4,
        )  # fmt: skip
        rows = [
            element(
                "tr",
                element("th", measure_name(measure), scope="row"),
                element("td", f"{score.value:.2f}", class_="number strong"),
                element("td", f"{score.low:.2f} – {score.high:.2f}", class_="number"),
                element("td", interval_mark(score), class_="wide"),
            )
            for measure, score in part.scores.items()
        ]
        bodies.append(element("tbody", element("tr", title, class_="group"), *rows))
    return element(
        "table",
        element("caption", "Percent of all pictures, with 95 % bootstrap intervals over pictures", class_="unseen"),
        element("thead", head),
        *bodies,
        class_="headline",
    )


def badge(threshold: ThresholdPart) -> Markup:
    """A mark where the threshold saw the pictures that it is scored on."""
    if threshold.policy == "oracle":
        return element("strong", "ORACLE", class_="badge oracle", title=threshold.explained)
    if threshold.policy == "best":
        return element(
            "strong", "τ chosen on the scored pictures", class_="badge best-badge", title=threshold.explained
        )
    return Markup()


def threshold_words(part: ProtocolPart) -> Markup:
    """τ and where it comes from."""
    values = ", ".join(tau(value) for value in dict.fromkeys(part.threshold.values.values()))
    return joined("Threshold ", f"τ {values}, " if values else "", named(part.threshold.explained))


def outcomes(part: ProtocolPart, errors: Mapping[str, int]) -> Markup:
    """How many pictures had each outcome at the chosen threshold, and how many would at the best one."""
    moved = part.moved or {}
    at_best = {name: sum(row.get(name, 0) for row in moved.values()) for name in errors}
    rows = [
        element(
            "tr",
            element(
                "th", element("span", "", class_=f"swatch outcome-{name}"), _outcome_name(name),
                element("small", OUTCOME_MEANINGS.get(name, "")), scope="row",
            ),
            element("td", spaced(number), class_="number strong"),
            element("td", percent(number, part.pictures), class_="number"),
            element("td", spaced(at_best[name]), class_="number"),
        )
        for name, number in errors.items()
    ]  # fmt: skip
    head = ("Outcome", "Pictures", "Share", f"At best τ {tau(part.best_threshold)}")
    return _table("What became of each picture", _head(head), rows, class_="outcomes")


def moves(part: ProtocolPart) -> Markup:
    """Which pictures change their outcome from the chosen threshold to the best one."""
    moved = {name: row for name, row in (part.moved or {}).items() if any(row.values())}
    if all(number == 0 for name, row in moved.items() for other, number in row.items() if other != name):
        return element("p", "At the best threshold every picture has the same outcome.", class_="note")
    kept = [name for name in (part.moved or {}) if any(row.get(name, 0) for row in moved.values())]
    rows = [
        element(
            "tr",
            element("th", _outcome_name(name), scope="row"),
            *(
                element("td", spaced(row[other]) if row[other] else "·",
                        class_="number" + (" same" if other == name else " moved" if row[other] else " none"))
                for other in kept
            ),
        )
        for name, row in moved.items()
    ]  # fmt: skip
    return _table(
        f"From the chosen threshold (rows) to τ {tau(part.best_threshold)}, best on these pictures (columns)",
        _head(["", *(_outcome_name(name) for name in kept)]),
        rows,
        class_="moves",
    )


def curve_numbers(part: ProtocolPart) -> Markup:
    """The curve at every twentieth, at the chosen thresholds and at the best one."""
    wanted = {*_STEPS, part.best_threshold, *part.threshold.values.values()}
    far = {at: min(part.thresholds, key=lambda each: abs(each - at)) for at in wanted}
    places = [place for place, each in enumerate(part.thresholds) if each in set(far.values())]
    errors = part.curve_errors or {}
    rows = [
        element(
            "tr",
            element("th", tau(part.thresholds[place]), scope="row"),
            *(element("td", f"{values[place]:.1f}", class_="number") for values in part.curve.values()),
            *(element("td", spaced(values[place]), class_="number") for values in errors.values()),
        )
        for place in places
    ]
    head = ["τ", *(f"{measure_name(name)}, %" for name in part.curve), *(_outcome_name(name) for name in errors)]
    return _scrolling("Numbers of the curve", _table("The curve in numbers", _head(head), rows))


def histogram_numbers(counts: Sequence[int]) -> Markup:
    """The histogram as numbers."""
    bins = len(counts)
    rows = [
        element(
            "tr",
            element("th", f"{place / bins:.2f} to {(place + 1) / bins:.2f}", scope="row"),
            element("td", spaced(number), class_="number"),
        )
        for place, number in enumerate(counts)
    ]
    return _scrolling("Numbers of the histogram", _table("Pictures by IoU", _head(["IoU", "Pictures"]), rows))


def groups(title: str, found: Iterable[Group], *, first: str) -> Markup:
    """Scores of groups of pictures, the cells tinted by their value."""
    rows = list(found)
    measures = list(rows[0].scores) if rows else []
    head = _head([first, "Pictures", *map(measure_name, measures)])
    return _scrolling(title, _table(title, head, [_group_row(group) for group in rows]))


def classes(part: ProtocolPart, *, number: int) -> Markup:
    """Scores of each class; `report.js` sorts it by its heads and filters it by its box."""
    rows = part.by_class
    measures = list(rows[0].scores) if rows else []
    names = [("Class", "text"), ("Pictures", "number"), *((measure_name(name), "number") for name in measures)]
    heads = [
        element("th", element("button", text, type="button"), scope="col", class_=kind, aria_sort="none",
                data_kind=kind)
        for text, kind in names
    ]  # fmt: skip
    table = _table(
        "Scores by class", element("tr", *heads), [_group_row(group) for group in rows], class_="sortable",
        id=f"classes-{number}",
    )  # fmt: skip
    field = element(
        "label", "Find a class ",
        void("input", type="search", autocomplete="off", spellcheck="false", aria_controls=f"classes-{number}"),
        class_="filter",
    )  # fmt: skip
    seen = element("output", count(len(rows), "class", "classes"))
    return element("div", element("p", field, seen, class_="tools"), _scrolling("Scores by class", table), class_="by")


def settings(protocols: Sequence[ProtocolPart]) -> Markup:
    """All that the protocols differ in."""
    keys = list(dict.fromkeys(key for part in protocols for key in part.settings))
    rows = [
        element(
            "tr",
            element("th", key.replace("_", " "), scope="row"),
            *(element("td", named(part.settings.get(key, ""))) for part in protocols),
        )
        for key in keys
    ]
    head = element("tr", element("th", "Setting", scope="col"),
                   *(element("th", named(part.name), scope="col") for part in protocols))  # fmt: skip
    return _scrolling("Settings of the protocols", _table("Settings of the protocols", head, rows))


def _group_row(group: Group) -> Markup:
    return element(
        "tr",
        element("th", named(group.name), scope="row"),
        element("td", spaced(group.pictures), class_="number"),
        *(element("td", f"{value:.1f}", class_=f"number tint-{int(value // 10)}") for value in group.scores.values()),
    )


def _outcome_name(name: str) -> str:
    return OUTCOME_NAMES.get(name, name)


def _head(names: Iterable[str]) -> Markup:
    return element("tr", *(element("th", name, scope="col", class_="number" if place else None)
                           for place, name in enumerate(names)))  # fmt: skip


def _table(
    caption: str, head: Markup, rows: Iterable[Markup], *, class_: str | None = None, id: str | None = None
) -> Markup:
    return element(
        "table", element("caption", caption), element("thead", head), element("tbody", *rows), class_=class_, id=id
    )


def _scrolling(label: str, table: Markup) -> Markup:
    """What may be wider or longer than its place, reachable by keyboard."""
    return element("div", table, class_="scroll", role="region", aria_label=label, tabindex=0)
