"""The notebooks of docs/ run on tiny data, and show what the package computes and the files contain."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tscam
from command_line import TINY
from data_sets import Box, write_cub, write_folder, write_imagenet
from notebooks import FOLDER, Session, code_of, read_notebook, run_notebook
from tiny_models import tiny_model
from tscam.drawing import sheet
from tscam.explainer import Explanation

NAMES = ("cub", "imagenet", "your_own_pictures")


def metrics(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


def score(folder: Path, measure: str, *, protocol: str = "ts-cam") -> dict[str, float]:
    interval: dict[str, float] = metrics(folder)["protocols"][protocol]["scores"][measure]
    return interval


def with_interval(score: dict[str, float]) -> str:
    return f"{score['value']:.2f} %  [{score['low']:.2f}, {score['high']:.2f}]"


def per_image(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "per_image.jsonl").read_text().splitlines()]


def is_shown(session: Session, page: Image.Image) -> bool:
    return any(isinstance(shown, Image.Image) and shown.tobytes() == page.tobytes() for shown in session.shown)


def large_boxes(count: int) -> list[tuple[int, int, int, int]]:
    """Return boxes x, y, width, height of unequal sizes that fit into the smallest drawn picture, 48×36."""
    random = np.random.default_rng(5)
    return [(int(x), int(y), 46 - int(x), 34 - int(y)) for x, y in random.integers(0, (26, 18), size=(count, 2))]


def line_after(session: Session, beginning: str) -> str:
    """Return the rest of the only printed line with this beginning."""
    lines = [line.strip() for line in session.printed.splitlines()]
    (line,) = [line for line in lines if line.startswith(beginning)]
    return line.removeprefix(beginning).strip()


@pytest.fixture(scope="module")
def cub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cub")
    root = write_cub(folder / "data", classes=8, train=1, test=4)
    # The drawn objects are small and the model is random, so it finds only large boxes, and not with every method.
    rows = [f"{number} {x} {y} {width} {height}" for number, (x, y, width, height) in enumerate(large_boxes(40), 1)]
    (root / "bounding_boxes.txt").write_text("\n".join(rows))
    tiny_model(folder / "model", label_names=tscam.datasets.read_dataset(root).class_names)
    return folder


@pytest.fixture(scope="module")
def cub(cub_folder: Path) -> Session:
    return run_notebook(
        read_notebook("cub", DATA=cub_folder / "data", MODEL=cub_folder / "model", OUT=cub_folder / "out")
    )


def test_the_test_split_is_read(cub: Session) -> None:
    assert cub.printed.startswith("32 test pictures of 8 classes; threshold 0.1\n")


def test_the_picture_is_explained_for_its_class_with_its_ground_truth_box(cub: Session, cub_folder: Path) -> None:
    test = tscam.datasets.read_dataset(cub_folder / "data", split="test")
    explanation = tscam.Explainer(cub_folder / "model")(test.path(16), label=4)
    assert (explanation.label, test.labels[16]) == ("005.Bird_5", 4)
    assert explanation.classes[0].class_id != 4  # otherwise the label would be the most likely class
    assert test.boxes is not None
    for page in ("layers", "classes", "methods"):
        assert is_shown(cub, explanation.draw(page, true_boxes=test.boxes[16])), page
        assert not is_shown(cub, explanation.draw(page)), page
    assert is_shown(cub, cub.names["draw_couplings"]([4, 12, 20, 28]))


def test_shares_of_attention_count_patches_whose_centre_is_in_the_box(cub: Session, cub_folder: Path) -> None:
    test = tscam.datasets.read_dataset(cub_folder / "data", split="test")
    assert test.boxes is not None
    explainer = tscam.Explainer(cub_folder / "model")
    shares, uniform = [], []
    for index in range(32):
        explanation = explainer(test.path(index))
        ((x0, y0, x1, y1),) = test.boxes[index].tolist()
        width, height = explanation.picture.size
        in_picture = []
        for layer in explanation.layers:
            inside = count = 0.0
            for row in range(4):
                for column in range(4):
                    if x0 <= (column + 0.5) * width / 4 < x1 and y0 <= (row + 0.5) * height / 4 < y1:
                        inside += float(layer.map[row, column])
                        count += 1
            in_picture.append(inside / float(layer.map.sum()))
        shares.append(in_picture)
        uniform.append(count / 16)
    np.testing.assert_allclose(cub.names["shares"], np.mean(shares, axis=0), rtol=1e-5)
    np.testing.assert_allclose(cub.names["uniform"], np.mean(uniform))
    assert cub.names["names"] == ["layer 1", "layer 2", "sum of 2 layers", "rollout"]
    bars = [bar.get_width() for bar in cub.names["axes"].patches]
    np.testing.assert_allclose(bars, cub.names["shares"])


def test_the_printed_box_is_that_of_the_localizer(cub: Session, cub_folder: Path) -> None:
    test = tscam.datasets.read_dataset(cub_folder / "data", split="test")
    assert test.boxes is not None
    localization = tscam.load(cub_folder / "model")(test.path(16), top_k=8)
    (box,) = [detection.box for detection in localization.objects if detection.class_id == 4]
    assert line_after(cub, "ts-cam of") == "005.Bird_5: map of 4×4 patches"
    assert line_after(cub, "box ") == str([round(edge) for edge in box])
    assert line_after(cub, "ground-truth box ") == str([round(edge) for edge in test.boxes[16][0].tolist()])


def test_the_scores_are_those_of_the_test_split(cub: Session, cub_folder: Path) -> None:
    out = cub_folder / "out" / "scores"
    evaluation = metrics(out)
    assert (evaluation["split"], evaluation["method"], evaluation["pictures"]) == ("test", "ts-cam", 32)
    assert line_after(cub, "top-1 loc") == with_interval(score(out, "top1_loc"))
    counted = [int(bar.get_width()) for bar in cub.names["right"].patches]
    assert counted == list(evaluation["protocols"]["ts-cam"]["errors"].values())
    ious = [line["protocols"]["ts-cam"]["iou"] for line in per_image(out)]
    heights, _ = np.histogram(ious, bins=np.linspace(0, 1, 21))
    assert [bar.get_height() for bar in cub.names["left"].patches] == heights.tolist()


def test_the_worst_boxes_of_correct_classes_are_shown(cub: Session, cub_folder: Path) -> None:
    lines = per_image(cub_folder / "out" / "scores")
    correct = [
        (line["protocols"]["ts-cam"]["iou"], index)
        for index, line in enumerate(lines)
        if line["top_classes"][0] == line["label"]
    ]
    assert len(correct) > 3
    worst = [index for _, index in sorted(correct)[:3]]
    assert is_shown(cub, cub.names["draw_couplings"](worst))
    assert not is_shown(cub, cub.names["draw_couplings"](worst[::-1]))


def test_every_method_is_scored_at_every_threshold(cub: Session, cub_folder: Path, tmp_path: Path) -> None:
    table = {}
    for method, line in zip(("ts-cam", "attention", "cam"), cub.names["curves"].lines, strict=False):
        evaluation = metrics(cub_folder / "out" / method)
        assert (line.get_label(), evaluation["method"], evaluation["split"]) == (method, method, "test")
        np.testing.assert_allclose(line.get_xdata(), np.arange(100) / 100)
        row = []
        for threshold in (0.1, 0.3, 0.5):
            out = tmp_path / f"{method}-{threshold}"
            config = tscam.EvaluateConfig(
                data=cub_folder / "data", split="test", out=out, method=method, threshold=threshold
            )
            tscam.evaluate(cub_folder / "model", config)
            row.append(score(out, "gt_known_loc")["value"])
        np.testing.assert_allclose(line.get_ydata()[[10, 30, 50]], row)
        table[method] = row
    assert len({tuple(row) for row in table.values()}) > 1, "the methods must differ, or the test compares nothing"


def test_every_method_has_its_best_threshold_beside_that_of_the_model(cub: Session, cub_folder: Path) -> None:
    for method in ("ts-cam", "attention", "cam"):
        out = cub_folder / "out" / method
        evaluation = metrics(out)["protocols"]["ts-cam"]
        assert evaluation["threshold"]["values"] == {"gt_known_loc": 0.1}
        percents = evaluation["curve"]["scores"]["gt_known_loc"]
        best = evaluation["best_threshold"]
        assert percents[round(100 * best)] == max(percents)
        stored = with_interval(score(out, "gt_known_loc"))
        assert line_after(cub, f"{method:<14}").split() == [
            *stored.split(),
            f"{max(percents):.2f}",
            "%",
            "at",
            f"{best:g}",
        ]


@pytest.fixture(scope="module")
def imagenet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagenet")
    root = write_imagenet(folder / "data", classes=6, train=1, val=5)
    listed = root / "ILSVRC2012_list" / "val_folder_new.txt"
    rows = [line.split() for line in listed.read_text().splitlines()]
    for row, (x, y, width, height) in zip(rows, large_boxes(30), strict=True):  # as in `cub_folder`
        row[2:6] = map(str, (x, y, x + width, y + height))
    listed.write_text("\n".join(" ".join(row) for row in rows))
    tiny_model(folder / "model", label_names=tscam.datasets.read_dataset(root).class_names)
    return folder


@pytest.fixture(scope="module")
def imagenet(imagenet_folder: Path) -> Session:
    return run_notebook(
        read_notebook(
            "imagenet", DATA=imagenet_folder / "data", MODEL=imagenet_folder / "model", OUT=imagenet_folder / "out"
        )
    )


def test_pictures_with_more_than_one_box_are_counted(imagenet: Session) -> None:
    assert imagenet.printed.startswith("30 pictures of 6 classes, 12 with more than one box\n")
    assert imagenet.names["several"] == [index for index in range(30) if index % 5 in (1, 3)]


def test_a_picture_of_one_box_is_explained_and_some_of_two(imagenet: Session, imagenet_folder: Path) -> None:
    val = tscam.datasets.read_dataset(imagenet_folder / "data", split="val")
    assert val.boxes is not None
    explainer = tscam.Explainer(imagenet_folder / "model")
    explanation = explainer(val.path(15), label=3)  # the tenth of the eighteen with one box
    for page in ("layers", "coupling", "classes", "methods"):
        assert is_shown(imagenet, explanation.draw(page, true_boxes=val.boxes[15])), page
    pages = []
    for index in (6, 16, 26):  # the third, seventh and eleventh of the twelve
        assert len(val.boxes[index]) == 2
        coupled = explainer(val.path(index), label=index // 5)
        pages.append(coupled.draw("coupling", true_boxes=val.boxes[index]))
    assert is_shown(imagenet, sheet(pages, columns=1))


def test_the_second_class_of_the_least_certain_picture_has_a_different_map(
    imagenet: Session, imagenet_folder: Path
) -> None:
    val = tscam.datasets.read_dataset(imagenet_folder / "data", split="val")
    explainer = tscam.Explainer(imagenet_folder / "model")
    localizations = tscam.load(imagenet_folder / "model")([val.path(index) for index in range(30)])
    scores = [localization.objects[0].score for localization in localizations]
    least = scores.index(min(scores))
    first, second = explainer(val.path(least)).classes[:2]
    assert line_after(imagenet, f"{val.path(least).name}: ") == f"{first.caption}, then {second.caption}"
    pages = [explainer(val.path(least), label=likely.class_id) for likely in (first, second)]
    assert np.array_equal(pages[0].coupling[1].map, pages[1].coupling[1].map)  # attention
    assert not np.array_equal(pages[0].coupling[0].map, pages[1].coupling[0].map)  # semantic map
    assert is_shown(imagenet, sheet([page.draw("coupling") for page in pages], columns=1))


def test_pictures_of_one_and_of_several_boxes_have_separate_scores(imagenet: Session, imagenet_folder: Path) -> None:
    out = imagenet_folder / "out" / "scores"
    hits: dict[str, list[bool]] = {"1 object": [], "2 objects": []}
    for index, line in enumerate(per_image(out)):
        is_hit = line["protocols"]["ts-cam"]["iou"] >= 0.5
        hits["2 objects" if index % 5 in (1, 3) else "1 object"].append(is_hit)
    expected = {name: 100 * sum(group) / len(group) for name, group in hits.items()}
    assert {name: len(group) for name, group in hits.items()} == {"1 object": 18, "2 objects": 12}
    assert imagenet.names["gt_known"] == pytest.approx(expected)
    together = (18 * expected["1 object"] + 12 * expected["2 objects"]) / 30
    assert score(out, "gt_known_loc")["value"] == pytest.approx(together)
    assert [bar.get_height() for bar in imagenet.names["right"].patches] == pytest.approx(list(expected.values()))


def test_methods_are_compared_on_the_same_pictures(imagenet: Session, imagenet_folder: Path) -> None:
    for method in ("ts-cam", "attention", "cam"):
        out = imagenet_folder / "out" / method
        evaluation = metrics(out)
        assert (evaluation["method"], evaluation["split"], evaluation["pictures"]) == (method, "val", 30)
        numbers = [score(out, name) for name in ("top1_loc", "top5_loc", "gt_known_loc")]
        numbers.append(score(out, "max_box_acc_v2", protocol="max-box-acc-v2"))
        assert line_after(imagenet, f"{method:<14}").split() == [f"{number['value']:.1f}" for number in numbers]


def test_one_pass_gives_the_numbers_of_each_protocol_alone(
    imagenet: Session, imagenet_folder: Path, tmp_path: Path
) -> None:
    folder = imagenet_folder
    together = metrics(folder / "out" / "scores")["protocols"]
    assert list(together) == ["ts-cam", "max-box-acc", "max-box-acc-v2"]
    for name in together:
        config = tscam.EvaluateConfig(data=folder / "data", split="val", protocol=(name,), out=tmp_path / name)
        alone = tscam.evaluate(folder / "model", config)
        assert alone.describe() in imagenet.printed
        assert metrics(tmp_path / name)["protocols"][name] == together[name]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Box]]:
    folder = tmp_path_factory.mktemp("own")
    boxes = write_folder(folder / "pictures", splits={"train": 6, "test": 2})
    write_folder(folder / "new", splits={"": 2}, boxes=None)
    recipe = TINY.replace("select: oracle", "select: val\nval_fraction: 0.34\nsamples_every: 0")
    (folder / "tiny.yaml").write_text(recipe)
    return folder, boxes


@pytest.fixture(scope="module")
def own(drawn: tuple[Path, dict[str, Box]]) -> Session:
    folder, _ = drawn
    notebook = read_notebook(
        "your_own_pictures",
        DATA=folder / "pictures", NEW=folder / "new", RECIPE=str(folder / "tiny.yaml"), OUT=folder / "out",
    )  # fmt: skip
    return run_notebook(notebook)


def test_the_notebook_checks_trains_and_scores(own: Session, drawn: tuple[Path, dict[str, Box]]) -> None:
    folder, _ = drawn
    assert "train" in own.printed
    assert "18" in own.printed
    epochs = [line for line in own.printed.splitlines() if line.startswith("epoch ")]
    rows = (folder / "out" / "run" / "metrics.csv").read_text().splitlines()
    assert len(epochs) == len(rows) - 1 == 2
    out = folder / "out" / "scores"
    evaluation = metrics(out)
    assert (evaluation["model"], evaluation["pictures"]) == (str(folder / "out" / "run"), 6)
    assert line_after(own, "GT-known loc") == with_interval(score(out, "gt_known_loc"))


def test_boxes_of_new_pictures_are_printed_drawn_and_written(own: Session, drawn: tuple[Path, dict[str, Box]]) -> None:
    folder, _ = drawn
    pictures = sorted((folder / "new").rglob("*.png"))
    localizations = tscam.load(folder / "out" / "run")(pictures)
    assert len(localizations) == 6
    content = json.loads((folder / "out" / "coco" / "annotations" / "instances_localized.json").read_text())
    for localization, annotation in zip(localizations, content["annotations"], strict=True):
        (detection,) = localization.objects
        x0, y0, x1, y1 = detection.box
        assert line_after(own, f"{Path(localization.image).name}: ") == (
            f"{detection.label} {100 * detection.score:.0f} %, box {[round(edge) for edge in detection.box]}"
        )
        assert annotation["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=1e-3)
    assert is_shown(own, sheet([tscam.draw(localization) for localization in localizations[:4]], columns=2))


def test_a_higher_threshold_gives_no_larger_box(own: Session) -> None:
    areas = []
    for localization in own.names["at_thresholds"]:
        x0, y0, x1, y1 = localization.objects[0].box
        areas.append((x1 - x0) * (y1 - y0))
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > areas[-1]


def test_many_pictures_are_written_to_a_folder(own: Session, drawn: tuple[Path, dict[str, Box]]) -> None:
    folder, _ = drawn
    lines = (folder / "out" / "found" / "localizations.jsonl").read_text().splitlines()
    assert lines == [localization.to_json() for localization in own.names["localizations"]]
    assert len(list((folder / "out" / "found" / "drawings").iterdir())) == 6
    assert "\nlocalizations.jsonl" in own.printed


def test_the_picture_in_the_middle_is_explained(own: Session) -> None:
    explanation = own.names["explanation"]
    assert isinstance(explanation, Explanation)
    detection = own.names["localizations"][3].objects[0]
    assert explanation.label == detection.label
    assert explanation.coupling[-1].box == detection.box


@pytest.mark.parametrize("name", NAMES)
def test_the_rendered_page_shows_the_code_of_the_notebook(name: str) -> None:
    page = (FOLDER / f"{name}.md").read_text()
    rendered = [block.split("\n```", 1)[0] for block in page.split("```python\n")[1:]]
    sources = code_of(read_notebook(name))
    for shown, source in zip(rendered[1:], sources[1:], strict=True):
        assert shown == source, "run scripts/notebooks"
    assert [line.split(" = ")[0] for line in rendered[0].splitlines()] == [
        line.split(" = ")[0] for line in sources[0].splitlines()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_rendered_page_has_its_pictures_and_no_others(name: str) -> None:
    page = (FOLDER / f"{name}.md").read_text()
    shown = {part.split(")", 1)[0] for part in page.split("](")[1:] if part.startswith(f"{name}_files/")}
    files = {f"{name}_files/{path.name}" for path in (FOLDER / f"{name}_files").iterdir()}
    assert shown == files


def test_an_unknown_parameter_of_a_notebook_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1"):
        read_notebook("cub", DATUM="x")
