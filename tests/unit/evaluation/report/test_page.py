"""The report contains every number, is one file that loads nothing, and escapes all text from data."""

import base64
import io
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluated import NASTY, metrics_of, rewrite_metrics, rewrite_pictures, tiny_evaluation, with_nasty_names
from tscam.errors import DataError
from tscam.evaluation.report import write_report

VOID = {"meta", "img", "input"}


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text in elements of each tag."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.source = path.read_text()
        self.feed(self.source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts.setdefault(tag, []).append(data)

    def text(self, tag: str) -> str:
        return "".join(self.texts.get(tag, []))

    def all(self, tag: str, class_: str = "") -> list[dict[str, str]]:
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and class_ in attributes.get("class", "").split(" ")
        ]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_evaluation(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture
def out(evaluated: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(evaluated, tmp_path / "out")
    return tmp_path / "out"


def images(out: Path) -> Path:
    return out.parent / "data" / "images"


@pytest.fixture
def page(out: Path, evaluated: Path) -> Page:
    return Page(write_report(out, image_root=images(evaluated)))


def test_an_evaluation_leaves_its_report(evaluated: Path) -> None:
    assert (evaluated / "report.html").read_text().startswith("<!doctype html>")


def test_every_score_is_on_the_page_with_its_interval_and_the_origin_of_its_threshold(page: Page, out: Path) -> None:
    cells = page.texts["td"]
    for result in metrics_of(out)["protocols"].values():
        for score in result["scores"].values():
            index = cells.index(f"{score['value']:.2f}")
            assert cells[index + 1] in [
                f"{other['low']:.2f} – {other['high']:.2f}"
                for other in result["scores"].values()
                if f"{other['value']:.2f}" == cells[index]
            ]
            cells = cells[index + 2 :]
        assert result["threshold"]["explained"] in page.text("bdi")
    for group in result["by_class"]:
        assert group["name"] in page.text("th")
    for name, number in metrics_of(out)["protocols"]["ts-cam"]["errors"].items():
        assert f'outcome-{name}"' in page.source
        assert str(number) in page.texts["td"]


def test_a_threshold_that_was_chosen_on_the_scored_pictures_is_marked(out: Path, evaluated: Path, page: Page) -> None:
    # In the table of scores, and in the protocol's section.
    assert page.text("strong").count("τ chosen on the scored pictures") == 2
    assert "ORACLE" not in page.text("strong")

    def oracle(metrics: dict[str, Any]) -> None:
        metrics["protocols"]["ts-cam"]["threshold"]["policy"] = "oracle"

    rewrite_metrics(out, oracle)
    marked = Page(write_report(out, image_root=images(evaluated)))
    assert marked.text("strong").count("ORACLE") == 2


def test_the_page_is_one_file_that_loads_nothing(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("src", "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
        assert attributes.get("href", "#").startswith("#")
    assert "@import" not in page.text("style")
    assert "url(" not in page.text("style")
    for word in ("fetch(", "XMLHttpRequest", "import(", "eval(", "innerHTML"):
        assert word not in page.text("script")
    policy = next(meta["content"] for meta in page.all("meta") if "Content-Security-Policy" in meta.values())
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_same_files_give_the_same_bytes(out: Path, evaluated: Path, page: Page) -> None:
    assert write_report(out, image_root=images(evaluated)).read_text() == page.source


def test_thumbnails_show_the_true_boxes_and_say_the_iou(page: Page, out: Path) -> None:
    lines = {line["image"]: line for line in map(json.loads, (out / "per_image.jsonl").read_text().splitlines())}
    thumbnails = page.all("img")
    assert len(thumbnails) >= 8
    for thumbnail in thumbnails:
        line = lines[thumbnail["alt"].partition(":")[0]]
        assert f"IoU {line['protocols']['ts-cam']['iou']:.2f}" in thumbnail["alt"]
        with Image.open(io.BytesIO(base64.b64decode(thumbnail["src"].partition(",")[2]))) as picture:
            assert picture.size == (int(thumbnail["width"]), int(thumbnail["height"]))
            assert max(picture.size) == 320
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        x0, y0, x1 = (edge * 320 / max(line["picture"]) for edge in line["truths"][0][:3])
        top = pixels[round(y0) : round(y0) + 2, round(x0) : round(x1)]
        assert (top.min(axis=-1) > 200).any(), "the true box is dashed in white"


def test_the_gallery_shows_the_best_and_the_worst_pictures_of_each_outcome(out: Path, evaluated: Path) -> None:
    """All 18 pictures have the same outcome: the four of highest and the four of lowest IoU are shown."""
    ious = iter(np.random.default_rng(3).permutation(18) / 20)

    def change(line: dict[str, Any]) -> None:
        line["protocols"]["ts-cam"] |= {"iou": float(next(ious)), "outcome": "part"}

    rewrite_pictures(out, change)
    page = Page(write_report(out, image_root=images(evaluated)))
    assert page.texts["b"] == [f"IoU {value / 20:.2f}" for value in (17, 16, 15, 14, 0, 1, 2, 3)]
    assert [text for text in page.texts["h4"] if text in ("Best", "Worst")] == ["Best", "Worst"]


def test_a_picture_that_cannot_be_read_is_a_plate_with_the_reason(out: Path, evaluated: Path, tmp_path: Path) -> None:
    shutil.copytree(images(evaluated), tmp_path / "images")
    first, second = "Bird_1_0001.jpg", "Bird_2_0003.jpg"

    def change(line: dict[str, Any]) -> None:
        is_either = line["image"].endswith((first, second))
        line["protocols"]["ts-cam"] |= {"iou": 0.9 if is_either else 0.1, "outcome": "part"}

    rewrite_pictures(out, change)
    (tmp_path / "images" / "001.Bird_1" / first).unlink()
    (tmp_path / "images" / "002.Bird_2" / second).write_bytes(b"no picture")
    page = Page(write_report(out, image_root=tmp_path / "images"))
    assert (len(page.all("div", "plate")), len(page.all("img"))) == (2, 6)
    reasons = [text for text in page.texts["bdi"] if "Error" in text]
    assert reasons[0].startswith("cannot be opened (FileNotFoundError")
    assert reasons[1].startswith("not a readable picture (UnidentifiedImageError")
    page = Page(write_report(out, image_root=tmp_path / "gone"))
    assert not page.all("img")
    assert len(page.all("div", "plate")) == len(page.all("figure"))
    assert "cannot be opened" in page.text("bdi")


def test_pictures_that_were_not_judged_are_listed_but_not_shown(out: Path, evaluated: Path) -> None:
    count = iter(range(18))

    def change(line: dict[str, Any]) -> None:
        if next(count) < 2:
            line["fault"] = "no box"

    rewrite_pictures(out, change)
    rewrite_metrics(out, lambda metrics: metrics.update(not_judged=2))
    page = Page(write_report(out, image_root=images(evaluated)))
    assert "Not judged, and counted as wrong: 2 pictures." in page.texts["p"]
    assert page.texts["td"].count("no box") == 2
    assert "Bird_1_0001.jpg" in page.text("th")
    assert not [img for img in page.all("img") if "Bird_1_0001.jpg" in img["alt"]]


def test_a_table_shows_which_outcomes_change_at_the_best_threshold(out: Path, evaluated: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        moved = metrics["protocols"]["ts-cam"]["errors_moved"]
        for row in moved.values():
            row.update(dict.fromkeys(row, 0))
        moved["part"] |= {"part": 5, "right": 1234}

    rewrite_metrics(out, change)
    page = Page(write_report(out, image_root=images(evaluated)))
    assert "1\u202f234" in page.texts["td"]
    assert len(page.all("td", "moved")) == 1

    def keep_outcomes(metrics: dict[str, Any]) -> None:
        metrics["protocols"]["ts-cam"]["errors_moved"]["part"]["right"] = 0

    rewrite_metrics(out, keep_outcomes)
    page = Page(write_report(out, image_root=images(evaluated)))
    assert "At the best threshold, every picture keeps its outcome." in page.texts["p"]


def test_no_name_from_data_becomes_markup(out: Path, evaluated: Path, page: Page) -> None:
    with_nasty_names(out)
    nasty = Page(write_report(out, image_root=images(evaluated)))
    assert {tag for tag, _ in nasty.elements} <= {tag for tag, _ in page.elements} | {"figure", "div"}
    assert len(nasty.all("script")) == 1
    assert len(nasty.all("h1")) == 1
    assert nasty.text("script") == page.text("script")
    for name in NASTY:
        assert name in nasty.text("th")
        assert name in nasty.text("bdi")
    assert "<script>window" not in nasty.source


def test_text_that_is_not_valid_utf_8_is_written_escaped(out: Path, evaluated: Path) -> None:
    rewrite_metrics(out, lambda metrics: metrics.update(data="bytes \udce9 and \x00"))
    assert "bytes \\udce9" in write_report(out, image_root=images(evaluated)).read_text()


def test_an_evaluation_of_maps_names_them_and_draws_no_boxes_without_a_view(out: Path, evaluated: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        for key in ("model", "backbone", "method", "method_args", "view"):
            del metrics[key]
        metrics["maps"] = "/somewhere/scoremaps"

    rewrite_metrics(out, change)
    rewrite_pictures(out, lambda line: line.update(top_classes=[]))
    page = Page(write_report(out, image_root=images(evaluated)))
    assert page.text("h1") == "Maps of scoremaps on cub"
    assert "Predicted boxes are not drawn" in page.text("p")


def test_thresholds_of_each_map_give_no_chosen_threshold(out: Path, evaluated: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        explained = "of each map by itself (Otsu)"
        metrics["protocols"]["ts-cam"]["threshold"] = {"policy": "otsu", "explained": explained, "values": {}}
        del metrics["protocols"]["max-box-acc-v2"], metrics["protocols"]["pxap"]

    rewrite_metrics(out, change)
    page = Page(write_report(out, image_root=images(evaluated)))
    assert not page.all("line", "chosen")
    assert not page.all("nav", "tabs")
    assert "Threshold of each map by itself (Otsu)" in page.text("span")


@pytest.mark.parametrize("content", [None, "{}", "no json", '{"class_names": 3}'])
def test_a_folder_without_an_evaluation_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(DataError, match=r"metrics\.json: not the result of an evaluation"):
        write_report(tmp_path, image_root=tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_broken_line_of_a_picture_is_refused_with_its_number(out: Path, evaluated: Path) -> None:
    lines = (out / "per_image.jsonl").read_text().splitlines()
    (out / "per_image.jsonl").write_text("\n".join([lines[0], lines[1][:50]]))
    with pytest.raises(DataError, match=r"per_image\.jsonl:2: not a picture of an evaluation"):
        write_report(out, image_root=images(evaluated))
