"""The report as a person meets it: opened from disk in Chromium, wide and narrow, light and dark, each control used."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page

from browser import PageRecord, open_file
from evaluated import metrics_of, rewrite_metrics, tiny_evaluation, with_nasty_names
from tscam.report import write_report

TOP1_CLS = "thead th:nth-child(3)"
ELSEWHERE = "http://127.0.0.1:9/a.png"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation whose classes have scores of their own."""
    folder = tiny_evaluation(tmp_path_factory.mktemp("evaluated"))

    def change(found: dict[str, dict[str, dict[str, list[dict[str, dict[str, float]]]]]]) -> None:
        for group, value in zip(found["protocols"]["ts-cam"]["by_class"], (50.0, 100.0, 9.5), strict=True):
            group["scores"]["top1_cls"] = value

    rewrite_metrics(folder, change)
    write_report(folder, image_root=folder.parent / "data" / "images")
    return folder


def classes(page: Page, protocol: int = 0) -> list[str]:
    """Names in the table of classes, as far as they are seen."""
    rows = f"[...document.querySelectorAll('#classes-{protocol} tbody tr')].filter(row => row.offsetParent)"
    return [str(name) for name in page.evaluate(f"{rows}.map(row => row.cells[0].textContent)")]


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_opens_from_disk_without_a_fault_or_a_request_and_fits(
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


def test_the_classes_sort_by_mouse_and_keyboard_and_can_be_found(page: Page, record: PageRecord, out: Path) -> None:
    open_file(page, out / "report.html")
    in_order = [group["name"] for group in metrics_of(out)["protocols"]["ts-cam"]["by_class"]]
    first, second, third = in_order
    assert classes(page) == in_order
    assert page.evaluate(f"document.querySelector('#classes-0 {TOP1_CLS}').textContent") == "Top-1 Cls"
    page.click(f"#classes-0 {TOP1_CLS} button")
    assert classes(page) == [second, first, third]  # By number: as text 9.5 would come before 50.0.
    assert page.evaluate(f"document.querySelector('#classes-0 {TOP1_CLS}').ariaSort") == "descending"
    page.keyboard.press("Enter")  # The button has the focus.
    assert classes(page) == [third, first, second]
    assert page.evaluate(f"document.querySelector('#classes-0 {TOP1_CLS}').ariaSort") == "ascending"
    page.click("#classes-0 thead th:first-child button")
    assert classes(page) == in_order
    assert page.evaluate("document.querySelectorAll('#classes-0 [aria-sort=none]').length") == 6
    page.click("input[aria-controls=classes-0]")
    for letter in "BIRD_2":
        page.keyboard.press(letter)
    assert classes(page) == [second]
    assert page.evaluate("document.querySelector('#protocol-0 .tools output').textContent") == "1 of 3 classes"
    assert record.faults == []


def test_tabs_show_one_protocol_at_a_time_and_print_shows_all(page: Page, record: PageRecord, out: Path) -> None:
    open_file(page, out / "report.html")
    seen = "[...document.querySelectorAll('section.protocol')].map(each => !!each.offsetParent)"
    assert page.evaluate(seen) == [True, False, False]
    page.click(".tabs a:nth-child(2)")
    assert page.evaluate(seen) == [False, True, False]
    page.keyboard.press("ArrowRight")
    assert page.evaluate(seen) == [False, False, True]
    assert page.evaluate("document.activeElement.textContent") == "pxap"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(seen) == [True, False, False]
    page.emulate_media(media="print")
    assert page.evaluate(seen) == [True, True, True]
    assert record.faults == []


def test_the_slider_reads_the_curve_and_the_errors_at_its_threshold(page: Page, record: PageRecord, out: Path) -> None:
    open_file(page, out / "report.html")
    part = metrics_of(out)["protocols"]["ts-cam"]
    chosen = part["threshold"]["values"]["gt_known_loc"]
    place = min(range(100), key=lambda at: abs(part["curve"]["thresholds"][at] - chosen))
    page.evaluate("document.querySelector('#protocol-0 input[type=range]').focus()")
    for step in (0, 1):
        if step:
            page.keyboard.press("ArrowRight")
        curve = part["curve"]
        tau, score = curve["thresholds"][place + step], curve["scores"]["gt_known_loc"][place + step]
        said = page.evaluate("document.querySelector('#protocol-0 .readout.scores').textContent")
        assert said.startswith(f"τ {round(tau, 4):g}GT-known Loc {score:.1f} %")
        right = curve["errors"]["right"][place + step]
        said = page.evaluate("document.querySelector('#protocol-0 .readout.errors').textContent")
        assert said.startswith(f"τ {round(tau, 4):g}Right {right}Class wrong ")
    assert record.faults == []


def test_names_that_would_run_a_script_are_text(page: Page, record: PageRecord, out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    with_nasty_names(tmp_path / "out")
    open_file(page, write_report(tmp_path / "out", image_root=out.parent / "data" / "images"))
    assert page.evaluate("window.broken === undefined")
    assert page.evaluate("document.querySelectorAll('script, h1').length") == 2
    assert page.evaluate("document.querySelectorAll('#classes-0 tbody tr').length") == 3
    assert record.faults == []


def test_what_someone_adds_to_the_page_cannot_run(page: Page, record: PageRecord, out: Path, tmp_path: Path) -> None:
    """The policy holds, should an escape ever be forgotten."""
    source = (out / "report.html").read_text()
    added = f"<script>window.broken = 1</script><img src='{ELSEWHERE}' onerror='window.broken = 2'>"
    (tmp_path / "changed.html").write_text(source.replace("<main>", f"<main>{added}"))
    open_file(page, tmp_path / "changed.html")
    assert page.evaluate("window.broken === undefined")
    assert any("Content Security Policy" in fault for fault in record.faults)
    assert [address for address in record.requests if address.startswith("http")] == [ELSEWHERE]
    assert record.failures == {ELSEWHERE: "csp"}
