"""The page holds every number, is one file that loads nothing, and escapes whatever stands in the data."""

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
from tscam.report import write_report

VOID = {"meta", "img", "input"}


class Page(HTMLParser):
    """What a browser makes of the page: its elements with their attributes, and the text in each kind of element."""

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
        return [held for name, held in self.elements if name == tag and class_ in held.get("class", "").split(" ")]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_evaluation(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture
def out(evaluated: Path, tmp_path: Path) -> Path:
    """A copy, which may be changed."""
    shutil.copytree(evaluated, tmp_path / "out")
    return tmp_path / "out"


def images(out: Path) -> Path:
    return out.parent / "data" / "images"


@pytest.fixture
def written(out: Path, evaluated: Path) -> Page:
    return Page(write_report(out, image_root=images(evaluated)))


def test_an_evaluation_leaves_its_report(evaluated: Path) -> None:
    assert (evaluated / "report.html").read_text().startswith("<!doctype html>")


def test_every_score_stands_there_with_its_interval_and_where_its_threshold_comes_from(
    written: Page, out: Path
) -> None:
    cells = written.texts["td"]
    for part in metrics_of(out)["protocols"].values():
        for score in part["scores"].values():
            at = cells.index(f"{score['value']:.2f}")
            assert cells[at + 1] in [
                f"{each['low']:.2f} – {each['high']:.2f}"
                for each in part["scores"].values()
                if f"{each['value']:.2f}" == cells[at]
            ]
            cells = cells[at + 2 :]
        assert part["threshold"]["explained"] in written.text("bdi")
    for group in part["by_class"]:
        assert group["name"] in written.text("th")
    for name, number in metrics_of(out)["protocols"]["ts-cam"]["errors"].items():
        assert f'outcome-{name}"' in written.source
        assert str(number) in written.texts["td"]


def test_a_threshold_that_saw_the_scored_pictures_is_marked(out: Path, evaluated: Path, written: Page) -> None:
    assert written.text("strong").count("τ chosen on the scored pictures") == 2  # in the headline, and in its own part
    assert "ORACLE" not in written.text("strong")

    def oracle(found: dict[str, Any]) -> None:
        found["protocols"]["ts-cam"]["threshold"]["policy"] = "oracle"

    rewrite_metrics(out, oracle)
    marked = Page(write_report(out, image_root=images(evaluated)))
    assert marked.text("strong").count("ORACLE") == 2


def test_the_page_is_one_file_that_loads_nothing(written: Page) -> None:
    for tag, held in written.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not [name for name in held if name.startswith("on") or name == "style"]
        assert held.get("src", "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
        assert held.get("href", "#").startswith("#")
    assert "@import" not in written.text("style")
    assert "url(" not in written.text("style")
    for word in ("fetch(", "XMLHttpRequest", "import(", "eval(", "innerHTML"):
        assert word not in written.text("script")
    policy = next(held["content"] for held in written.all("meta") if "Content-Security-Policy" in held.values())
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_same_files_give_the_same_bytes(out: Path, evaluated: Path, written: Page) -> None:
    assert write_report(out, image_root=images(evaluated)).read_text() == written.source


def test_pictures_have_their_map_their_boxes_and_their_words(written: Page, out: Path) -> None:
    lines = {line["image"]: line for line in map(json.loads, (out / "per_image.jsonl").read_text().splitlines())}
    shown = written.all("img")
    assert len(shown) >= 8
    for held in shown:
        line = lines[held["alt"].partition(":")[0]]
        assert f"IoU {line['protocols']['ts-cam']['iou']:.2f}" in held["alt"]
        with Image.open(io.BytesIO(base64.b64decode(held["src"].partition(",")[2]))) as picture:
            assert picture.size == (int(held["width"]), int(held["height"]))
            assert max(picture.size) == 320
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        x0, y0, x1 = (edge * 320 / max(line["picture"]) for edge in line["truths"][0][:3])
        top = pixels[round(y0) : round(y0) + 2, round(x0) : round(x1)]
        assert (top.min(axis=-1) > 200).any(), "the true box is dashed in white"


def test_of_each_kind_the_best_and_the_worst_are_shown(out: Path, evaluated: Path) -> None:
    """All outcomes the same: of 18 pictures the four of highest and the four of lowest IoU."""
    ious = iter(np.random.default_rng(3).permutation(18) / 20)

    def change(line: dict[str, Any]) -> None:
        line["protocols"]["ts-cam"] |= {"iou": float(next(ious)), "outcome": "part"}

    rewrite_pictures(out, change)
    page = Page(write_report(out, image_root=images(evaluated)))
    assert page.texts["b"] == [f"IoU {value / 20:.2f}" for value in (17, 16, 15, 14, 0, 1, 2, 3)]
    assert [text for text in page.texts["h4"] if text in ("Best", "Worst")] == ["Best", "Worst"]


def test_a_picture_that_cannot_be_read_is_a_plate_that_says_so(out: Path, evaluated: Path, tmp_path: Path) -> None:
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
    nothing = Page(write_report(out, image_root=tmp_path / "gone"))
    assert not nothing.all("img")
    assert len(nothing.all("div", "plate")) == len(nothing.all("figure"))
    assert "cannot be opened" in nothing.text("bdi")


def test_pictures_that_were_not_judged_are_listed_not_shown(out: Path, evaluated: Path) -> None:
    count = iter(range(18))

    def change(line: dict[str, Any]) -> None:
        if next(count) < 2:
            line["fault"] = "no box"

    rewrite_pictures(out, change)
    rewrite_metrics(out, lambda found: found.update(not_judged=2))
    page = Page(write_report(out, image_root=images(evaluated)))
    assert "2 pictures count as wrong without being judged." in page.texts["p"]
    assert page.texts["td"].count("no box") == 2
    assert "Bird_1_0001.jpg" in page.text("th")
    assert not [held for held in page.all("img") if "Bird_1_0001.jpg" in held["alt"]]


def test_what_changes_at_the_best_threshold_is_a_table(out: Path, evaluated: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        moved = found["protocols"]["ts-cam"]["errors_moved"]
        for row in moved.values():
            row.update(dict.fromkeys(row, 0))
        moved["part"] |= {"part": 5, "right": 1234}

    rewrite_metrics(out, change)
    page = Page(write_report(out, image_root=images(evaluated)))
    assert "1\u202f234" in page.texts["td"]
    assert len(page.all("td", "moved")) == 1

    def unmoved(found: dict[str, Any]) -> None:
        found["protocols"]["ts-cam"]["errors_moved"]["part"]["right"] = 0

    rewrite_metrics(out, unmoved)
    page = Page(write_report(out, image_root=images(evaluated)))
    assert "At the best threshold every picture has the same outcome." in page.texts["p"]


def test_no_name_from_data_becomes_markup(out: Path, evaluated: Path, written: Page) -> None:
    tags = {tag for tag, _ in written.elements}
    with_nasty_names(out)
    page = Page(write_report(out, image_root=images(evaluated)))
    assert {tag for tag, _ in page.elements} <= tags | {"figure", "div"}
    assert len(page.all("script")) == 1
    assert len(page.all("h1")) == 1
    assert page.text("script") == written.text("script")
    for name in NASTY:
        assert name in page.text("th")
        assert name in page.text("bdi")
    assert "<script>window" not in page.source


def test_letters_that_utf_8_cannot_hold_do_not_stop_the_page(out: Path, evaluated: Path) -> None:
    rewrite_metrics(out, lambda found: found.update(data="bytes \udce9 and \x00"))
    assert "bytes \\udce9" in write_report(out, image_root=images(evaluated)).read_text()


def test_maps_that_came_without_a_model_are_named_and_their_boxes_need_a_view(out: Path, evaluated: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        for key in ("model", "backbone", "method", "method_args", "view"):
            del found[key]
        found["maps"] = "/somewhere/scoremaps"

    rewrite_metrics(out, change)
    rewrite_pictures(out, lambda line: line.update(top_classes=[]))
    page = Page(write_report(out, image_root=images(evaluated)))
    assert page.text("h1") == "Maps of scoremaps on cub"
    assert "The found boxes are left out" in page.text("p")


def test_each_map_with_a_level_of_its_own_has_no_chosen_threshold(out: Path, evaluated: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        explained = "of each map by itself (Otsu)"
        found["protocols"]["ts-cam"]["threshold"] = {"policy": "otsu", "explained": explained, "values": {}}
        del found["protocols"]["max-box-acc-v2"], found["protocols"]["pxap"]

    rewrite_metrics(out, change)
    page = Page(write_report(out, image_root=images(evaluated)))
    assert not page.all("line", "chosen")
    assert not page.all("nav", "tabs")
    assert "Threshold of each map by itself (Otsu)" in page.text("span")


@pytest.mark.parametrize("content", [None, "{}", "no json", '{"class_names": 3}'])
def test_a_folder_that_is_no_evaluation_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(DataError, match=r"metrics\.json: not the numbers of an evaluation"):
        write_report(tmp_path, image_root=tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_broken_line_of_a_picture_is_named(out: Path, evaluated: Path) -> None:
    lines = (out / "per_image.jsonl").read_text().splitlines()
    (out / "per_image.jsonl").write_text("\n".join([lines[0], lines[1][:50]]))
    with pytest.raises(DataError, match=r"per_image\.jsonl:2: not a picture of an evaluation"):
        write_report(out, image_root=images(evaluated))
