"""`localize` finds pictures at any depth and writes lines, drawings, annotations and a list of bad pictures."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from data_sets import draw_picture
from picture_files import ENDINGS
from tiny_models import as_lines, draw_pictures, names, tiny_model
from tscam.checkpoints.loader import load_model
from tscam.config import LocalizeConfig
from tscam.errors import ConfigError, DataError, OutputError, WeightsError
from tscam.localization import read_localizations
from tscam.localizer import find_pictures
from tscam.verbs.localize import load, localize


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model", label_names=("cat", "=dog", "эму"))


def test_the_verb_writes_lines_drawings_annotations_and_a_list_of_bad_pictures(tmp_path: Path, model: Path) -> None:
    pictures = tmp_path / "pictures"
    good = draw_pictures(pictures / "deep" / "er", 3)
    (pictures / "deep" / "x.jpg").touch()
    (pictures / "notes.txt").write_text("no picture")
    progress: list[tuple[int, int]] = []
    config = LocalizeConfig(out=tmp_path / "out", top_k=2, to=("coco",), draw=True, batch_size=2, threshold=0.5)
    out = localize([pictures], model=model, config=config, on_progress=lambda *counts: progress.append(counts))
    assert out == tmp_path / "out"
    assert names(out) == ["annotations", "bad_images.csv", "drawings", "localizations.jsonl", "run.json"]
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]

    lines = list(read_localizations(out / "localizations.jsonl"))
    assert [line.image for line in lines] == list(map(str, [*good, pictures / "deep" / "x.jpg"]))
    assert [line.status for line in lines] == ["ok", "ok", "ok", "bad_image"]
    in_memory = load(model)(good, top_k=2, threshold=0.5)
    assert as_lines(lines[:3]) == as_lines(in_memory)
    for line in lines[:3]:
        with Image.open(line.image) as picture:
            assert (line.width, line.height) == picture.size
        assert len(line.objects) == 2
        assert line.objects[0].score >= line.objects[1].score > 0
        for obj in line.objects:
            x0, y0, x1, y1 = obj.box
            assert 0 <= x0 < x1 <= line.width
            assert 0 <= y0 < y1 <= line.height
            levels = line.maps[obj.class_id].levels
            assert levels.shape == (4, 4)
            assert (levels.min(), levels.max()) == (0, 255)

    with (out / "bad_images.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["image", "reason"], [lines[3].image, lines[3].reason]]

    coco = COCO(str(out / "annotations" / "instances_localized.json"))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["cat", "=dog", "эму"]
    written = coco.loadImgs(coco.getImgIds())
    assert [image["file_name"] for image in written] == ["0.png", "1.png", "2.png"]
    for image, line in zip(written, lines, strict=False):
        assert (image["width"], image["height"]) == (line.width, line.height)
        entries = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        assert [entry["category_id"] for entry in entries] == [obj.class_id + 1 for obj in line.objects]
        for entry, obj in zip(entries, line.objects, strict=True):
            x0, y0, x1, y1 = obj.box
            assert entry["bbox"] == [x0, y0, x1 - x0, y1 - y0]

    drawings = sorted((out / "drawings").iterdir())
    assert [path.name for path in drawings] == ["000001-0.jpg", "000002-1.jpg", "000003-2.jpg"]
    for path in drawings:
        with Image.open(path) as drawing:
            assert drawing.format == "JPEG"
            assert drawing.width > 3 * 320 - 1  # The picture and a panel for each object.
            assert np.asarray(drawing).std() > 10


@pytest.mark.parametrize("method", ["ts-cam", "cam", "grad-cam", "attention", "rollout"])
def test_a_requested_class_has_the_box_map_and_score_that_it_has_among_all_classes(
    tmp_path: Path, model: Path, method: str
) -> None:
    (path,) = draw_pictures(tmp_path, 1)
    localizer = load(model, method=method)
    among_all = localizer(path, top_k=3)
    for expected in among_all.objects:
        requested = localizer(path, labels=expected.label)
        (obj,) = requested.objects
        assert (obj.label, obj.class_id) == (expected.label, expected.class_id)
        assert obj.score == pytest.approx(expected.score, rel=1e-5)
        assert obj.box == pytest.approx(expected.box)
        assert requested.maps[obj.class_id].to_raw() == pytest.approx(
            among_all.maps[obj.class_id].to_raw(), rel=0.01, abs=1e-6
        )


def test_a_model_in_memory_localizes_like_its_folder(tmp_path: Path, model: Path) -> None:
    pictures, network = draw_pictures(tmp_path / "pictures", 2), load_model(model)
    assert as_lines(load(network)(pictures)) == as_lines(load(model)(pictures))
    lines = []
    for name, source in (("a", network), ("b", model), ("c", str(model))):
        out = localize(str(tmp_path / "pictures"), model=source, config=LocalizeConfig(out=tmp_path / name))
        lines.append((out / "localizations.jsonl").read_text())
    assert lines[0] == lines[1] == lines[2]


def test_without_options_only_the_lines_of_pictures_are_written(tmp_path: Path, model: Path) -> None:
    out = localize(draw_pictures(tmp_path / "pictures", 2), model=model, config=LocalizeConfig(out=tmp_path / "out"))
    assert names(out) == ["localizations.jsonl", "run.json"]
    assert len((out / "localizations.jsonl").read_text().splitlines()) == 2


def test_a_picture_that_goes_or_changes_before_it_is_drawn_keeps_its_line_and_is_noted(
    tmp_path: Path, model: Path
) -> None:
    paths = draw_pictures(tmp_path / "pictures", 6)

    def change(done: int, _: int) -> None:
        if done == 1:  # The other pictures of the batch are localized and not yet drawn.
            paths[1].unlink()
            Image.new("RGB", (7, 5)).save(paths[3])

    config = LocalizeConfig(out=tmp_path / "out", draw=True, batch_size=6)
    out = localize(paths, model=model, config=config, on_progress=change)
    assert [line.image for line in read_localizations(out / "localizations.jsonl")] == list(map(str, paths))
    assert names(out / "drawings") == [f"00000{number + 1}-{number}.jpg" for number in (0, 2, 4, 5)]
    with (out / "failed_drawings.csv").open(newline="") as file:
        header, gone, changed = csv.reader(file)
    assert header == ["number", "image", "reason"]
    assert gone[:2] == ["2", str(paths[1])]
    assert "No such file" in gone[2]
    assert changed[:2] == ["4", str(paths[3])]
    assert "7×5" in changed[2] or "(7, 5)" in changed[2]
    assert not (out / "bad_images.csv").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[::-1], r"localizations\.jsonl:1: localizes '.*1\.png', '.*0\.png' is due"),
        (lambda lines: [*lines, lines[0]], "3 lines for 2 pictures; choose another folder"),
        (lambda lines: [lines[0][:40] + b"\n", lines[1]], r"localizations\.jsonl:1: not a localization"),
    ],
)
def test_lines_of_other_pictures_are_not_resumed(
    tmp_path: Path, model: Path, change: Callable[[list[bytes]], list[bytes]], message: str
) -> None:
    paths, config = draw_pictures(tmp_path / "pictures", 2), LocalizeConfig(out=tmp_path / "out")
    lines = localize(paths, model=model, config=config) / "localizations.jsonl"
    changed = b"".join(change(lines.read_bytes().splitlines(keepends=True)))
    lines.write_bytes(changed)
    with pytest.raises(DataError, match=message):
        localize(paths, model=model, config=replace(config, resume=True))
    assert lines.read_bytes() == changed


def test_resume_and_overwrite_exclude_one_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--resume beside --overwrite: one continues a run, the other removes it"):
        LocalizeConfig(out=tmp_path, resume=True, overwrite=True)


def test_a_picture_with_the_longest_possible_name_is_drawn(tmp_path: Path, model: Path) -> None:
    path = tmp_path / f"{'🦊' * 62}.png"  # 252 of 255 bytes
    draw_picture(path)
    out = localize([path], model=model, config=LocalizeConfig(out=tmp_path / "out", draw=True))
    [drawing] = (out / "drawings").iterdir()
    assert drawing.name.startswith("000001-🦊🦊🦊")


def test_a_picture_that_is_named_twice_is_localized_once(tmp_path: Path, model: Path) -> None:
    paths = draw_pictures(tmp_path / "pictures", 2)
    again = tmp_path / "pictures" / ".." / "pictures" / "1.png"
    config = LocalizeConfig(out=tmp_path / "out", to=("coco",))
    out = localize([paths[1], tmp_path / "pictures", again], model=model, config=config)
    images = json.loads((out / "annotations" / "instances_localized.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["1.png", "0.png"]


def test_an_unknown_format_is_refused_before_anything_is_read_or_written(tmp_path: Path) -> None:
    config = LocalizeConfig(out=tmp_path / "out", to=("coco", "cocoo"))
    with pytest.raises(ConfigError, match=r"no format named 'cocoo'; did you mean 'coco'\?"):
        localize([tmp_path / "no pictures"], model=tmp_path / "no model", config=config)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_model_leaves_no_folder(tmp_path: Path) -> None:
    paths = draw_pictures(tmp_path / "pictures", 1)
    with pytest.raises(WeightsError, match="no such file or folder; a MODEL is"):
        localize(paths, model=tmp_path / "no model", config=LocalizeConfig(out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_and_kept(tmp_path: Path, model: Path) -> None:
    paths = draw_pictures(tmp_path / "pictures", 1)
    with pytest.raises(OutputError, match="not empty"):
        localize(paths, model=model, config=LocalizeConfig(out=tmp_path / "pictures"))
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["0.png"]


def test_folders_are_searched_at_any_depth_and_sorted(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.PNG", "a/z/1.webp", "c.jpeg", "a/notes.txt", "a/readme", "b/._2.png", "a/table.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    pictures = find_pictures([tmp_path / "c.jpeg", tmp_path / "b", tmp_path / "a"])
    names = [path.relative_to(tmp_path).as_posix() for path in pictures]
    assert names == ["c.jpeg", "b/10.PNG", "b/2.png", "a/z/1.webp"]
    assert find_pictures([tmp_path]) == sorted(pictures)


def test_every_ending_is_found_in_a_folder_in_any_case(tmp_path: Path) -> None:
    for ending in ENDINGS:
        (tmp_path / f"a{ending}").touch()
        (tmp_path / f"b{ending.upper()}").touch()
    assert len(find_pictures([tmp_path])) == 2 * len(ENDINGS)


def test_a_named_file_is_a_picture_whatever_its_ending(tmp_path: Path) -> None:
    (tmp_path / "scan.001").touch()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    paths = [tmp_path / "scan.001", tmp_path / "link.jpg"]
    assert find_pictures(paths) == paths


def test_paths_without_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    for name, message in (
        ("empty", "no pictures in this folder"),
        ("notes", r"\.jpeg"),
        ("gone", "no such file or folder"),
    ):
        with pytest.raises(DataError, match=message) as refused:
            find_pictures([tmp_path / name])
        assert str(refused.value).startswith(str(tmp_path / name))
    with pytest.raises(DataError, match="no pictures given"):
        find_pictures([])


def test_several_parts_and_the_threshold_stand_in_the_record(tmp_path: Path, model: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 4)
    counts = {}
    for objects in ("one", "parts"):
        config = LocalizeConfig(out=tmp_path / objects, objects=objects, threshold=0.6, draw=True, to=("coco",))
        out = localize(pictures, model=model, config=config)
        localizations = list(read_localizations(out / "localizations.jsonl"))
        counts[objects] = [len(localization.objects) for localization in localizations]
        assert {localization.threshold for localization in localizations} == {0.6}
        assert len(list((out / "drawings").iterdir())) == 4
    assert counts["one"] == [1] * 4
    assert max(counts["parts"]) > 1


def test_an_objectness_that_the_model_does_not_tell_is_refused_before_anything_is_written(
    tmp_path: Path, model: Path
) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 1)
    with pytest.raises(ConfigError, match="tells no objectness"):
        localize(pictures, model=model, config=LocalizeConfig(out=tmp_path / "out", min_objectness=0.4))
    assert not (tmp_path / "out").exists()
