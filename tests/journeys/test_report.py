"""The report in Chromium, opened from disk: wide and narrow, light and dark, with every control in use."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page

from browser import PageRecord, open_file
from evaluated import metrics_of, rewrite_metrics, tiny_evaluation, with_nasty_names
from tscam.evaluation.report import write_report

TOP1_CLS = "thead th:nth-child(3)"
ELSEWHERE = "http://127.0.0.1:9/a.png"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation whose classes differ in their scores."""
    folder = tiny_evaluation(tmp_path_factory.mktemp("evaluated"))

    def change(metrics: dict[str, dict[str, dict[str, list[dict[str, dict[str, float]]]]]]) -> None:
        for group, value in zip(metrics["protocols"]["ts-cam"]["by_class"], (50.0, 100.0, 9.5), strict=True):
            group["scores"]["top1_cls"] = value

    rewrite_metrics(folder, change)
    write_report(folder, image_root=folder.parent / "data" / "images")
    return folder


def classes(page: Page, protocol: int = 0) -> list[str]:
    """Return the visible names in the table of classes."""
    rows = f"[...document.querySelectorAll('#classes-{protocol} tbody tr')].filter(row => row.offsetParent)"
    return [str(name) for name in page.evaluate(f"{rows}.map(row => row.cells[0].textContent)")]


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_opens_from_disk_without_errors_or_requests_and_fits_the_screen(
    page: Page, record: PageRecord, out: Path, width: int, dark: bool
) -> None:
    open_file(page, out / "report.html", width=width, dark=dark)
    assert record.requests == [(out / "report.html").resolve().as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    too_wide = "e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth"
    assert page.evaluate(f"[...document.querySelectorAll('body *')].filter({too_wide}).length") == 0
    assert page.evaluate("[...document.images].every(image => image.naturalWidth >= 200)")
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(red, green, blue) < 60 if dark else min(red, green, blue) > 200
    page.click("#theme")
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert min(red, green, blue) > 200 if dark else max(red, green, blue) < 60
    assert record.faults == []


def test_the_table_of_classes_sorts_by_mouse_and_keyboard_and_filters(
    page: Page, record: PageRecord, out: Path
) -> None:
    open_file(page, out / "report.html")
    names = [group["name"] for group in metrics_of(out)["protocols"]["ts-cam"]["by_class"]]
    first, second, third = names
    assert classes(page) == names
    assert page.evaluate(f"document.querySelector('#classes-0 {TOP1_CLS}').textContent") == "Top-1 Cls"
    page.click(f"#classes-0 {TOP1_CLS} button")
    assert classes(page) == [second, first, third]  # As numbers; as text, 9.5 would be above 50.0.
    assert page.evaluate(f"document.querySelector('#classes-0 {TOP1_CLS}').ariaSort") == "descending"
    page.keyboard.press("Enter")  # The button has the focus.
    assert classes(page) == [third, first, second]
    assert page.evaluate(f"document.querySelector('#classes-0 {TOP1_CLS}').ariaSort") == "ascending"
    page.click("#classes-0 thead th:first-child button")
    assert classes(page) == names
    assert page.evaluate("document.querySelectorAll('#classes-0 [aria-sort=none]').length") == 6
    page.click("input[aria-controls=classes-0]")
    for letter in "BIRD_2":
        page.keyboard.press(letter)
    assert classes(page) == [second]
    assert page.evaluate("document.querySelector('#protocol-0 .tools output').textContent") == "1 of 3 classes"
    assert record.faults == []


def test_a_class_without_a_score_sorts_below_all_scores(
    page: Page, record: PageRecord, out: Path, tmp_path: Path
) -> None:
    shutil.copytree(out, tmp_path / "out")

    def change(metrics: dict[str, dict[str, dict[str, list[dict[str, dict[str, float | None]]]]]]) -> None:
        for group, value in zip(metrics["protocols"]["ts-cam"]["by_class"], (50.0, None, 100.0), strict=True):
            group["scores"]["top1_cls"] = value

    rewrite_metrics(tmp_path / "out", change)
    open_file(page, write_report(tmp_path / "out", image_root=out.parent / "data" / "images"))
    first, second, third = classes(page)
    page.click(f"#classes-0 {TOP1_CLS} button")
    assert classes(page) == [third, first, second]
    page.click(f"#classes-0 {TOP1_CLS} button")
    assert classes(page) == [second, first, third]
    assert record.faults == []


def test_tabs_show_one_protocol_and_print_shows_all(page: Page, record: PageRecord, out: Path) -> None:
    open_file(page, out / "report.html")
    visible = "[...document.querySelectorAll('section.protocol')].map(each => !!each.offsetParent)"
    assert page.evaluate(visible) == [True, False, False]
    page.click(".tabs a:nth-child(2)")
    assert page.evaluate(visible) == [False, True, False]
    page.keyboard.press("ArrowRight")
    assert page.evaluate(visible) == [False, False, True]
    assert page.evaluate("document.activeElement.textContent") == "pxap"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(visible) == [True, False, False]
    page.emulate_media(media="print")
    assert page.evaluate(visible) == [True, True, True]
    assert record.faults == []


def test_the_slider_shows_scores_and_errors_at_its_threshold(page: Page, record: PageRecord, out: Path) -> None:
    open_file(page, out / "report.html")
    result = metrics_of(out)["protocols"]["ts-cam"]
    chosen = result["threshold"]["values"]["gt_known_loc"]
    curve = result["curve"]
    start = min(range(100), key=lambda index: abs(curve["thresholds"][index] - chosen))
    page.evaluate("document.querySelector('#protocol-0 input[type=range]').focus()")
    for step in (0, 1):
        if step:
            page.keyboard.press("ArrowRight")
        tau, score = curve["thresholds"][start + step], curve["scores"]["gt_known_loc"][start + step]
        scores = page.evaluate("document.querySelector('#protocol-0 .readout.scores').textContent")
        assert scores.startswith(f"τ {round(tau, 4):g}GT-known Loc {score:.1f} %")
        correct = curve["errors"]["right"][start + step]
        errors = page.evaluate("document.querySelector('#protocol-0 .readout.errors').textContent")
        assert errors.startswith(f"τ {round(tau, 4):g}Correct {correct}Wrong class ")
    assert record.faults == []


def test_names_with_markup_are_text(page: Page, record: PageRecord, out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    with_nasty_names(tmp_path / "out")
    open_file(page, write_report(tmp_path / "out", image_root=out.parent / "data" / "images"))
    assert page.evaluate("window.broken === undefined")
    assert page.evaluate("document.querySelectorAll('script, h1').length") == 2
    assert page.evaluate("document.querySelectorAll('#classes-0 tbody tr').length") == 3
    assert record.faults == []


def test_a_script_that_is_added_to_the_page_does_not_run(
    page: Page, record: PageRecord, out: Path, tmp_path: Path
) -> None:
    """The content security policy protects the reader even if text were not escaped."""
    source = (out / "report.html").read_text()
    added = f"<script>window.broken = 1</script><img src='{ELSEWHERE}' onerror='window.broken = 2'>"
    (tmp_path / "changed.html").write_text(source.replace("<main>", f"<main>{added}"))
    open_file(page, tmp_path / "changed.html")
    assert page.evaluate("window.broken === undefined")
    assert any("Content Security Policy" in fault for fault in record.faults)
    assert [address for address in record.requests if address.startswith("http")] == [ELSEWHERE]
    assert record.failures == {ELSEWHERE: "csp"}
