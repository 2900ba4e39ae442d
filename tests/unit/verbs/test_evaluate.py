"""The files of an evaluation contain every number unrounded and every picture; unusable data leave no files."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from data_sets import write_cub, write_folder, write_imagenet
from tiny_models import add_second_boxes, naive_iou, save_ramps, tiny_model
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import save_model
from tscam.config import EvaluateConfig
from tscam.datasets import read_dataset
from tscam.errors import DataError, ImageError, OutputError
from tscam.evaluation.scoring import Evaluation
from tscam.verbs.evaluate import evaluate


def test_the_files_contain_every_number_unrounded_and_every_picture(tmp_path: Path) -> None:
    add_second_boxes(tmp_path / "data", write_folder(tmp_path / "data", splits={"train": 1, "test": 7}))
    model = tiny_model(tmp_path / "model")
    evaluation = evaluate(model, EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", batch_size=4))
    assert evaluation.out == tmp_path / "out"
    assert {path.name for path in evaluation.out.iterdir()} >= {"metrics.json", "per_image.jsonl"}

    lines = [json.loads(line) for line in (evaluation.out / "per_image.jsonl").read_text().splitlines()]
    dataset = read_dataset(tmp_path / "data")
    assert dataset.boxes is not None
    assert [line["image"] for line in lines] == list(dataset.image_ids)
    for line, boxes, path in zip(lines, dataset.boxes, map(dataset.path, range(21)), strict=True):
        assert set(line) == {"image", "picture", "label", "top_classes", "truths", "fault", "map", "protocols"}
        assert dataset.class_names[line["label"]] == path.parent.name
        assert sorted(line["top_classes"]) == [0, 1, 2]
        assert line["truths"] == boxes.tolist()
        judged = line["protocols"]["ts-cam"]
        assert all(0 <= edge <= 32 for edge in judged["box"])
        with Image.open(path) as picture:
            assert line["picture"] == list(picture.size)
            truths = [[int(min(v / s * 32, 31)) for v, s in zip(box, picture.size * 2, strict=True)] for box in boxes]
        assert judged["iou"] == pytest.approx(max(naive_iou(judged["box"], truth) for truth in truths), abs=1e-7)

    metrics = json.loads((evaluation.out / "metrics.json").read_text())
    assert (metrics["pictures"], metrics["split"], metrics["method"]) == (21, "test", "ts-cam")
    assert metrics["model"] == str(model)
    result = metrics["protocols"]["ts-cam"]
    assert result["settings"]["contours"] == "largest"
    assert result["threshold"] == {
        "policy": "model", "explained": "stored with the model", "values": {"gt_known_loc": 0.1},
    }  # fmt: skip
    scores = {name: score["value"] for name, score in result["scores"].items()}
    right = [line["top_classes"][0] == line["label"] for line in lines]
    ious = [line["protocols"]["ts-cam"]["iou"] for line in lines]
    half = [iou > 0.5 for iou in ious]
    assert scores == {
        "top1_cls": 100 * sum(right) / 21,
        "top5_cls": 100,
        "top1_loc": 100 * sum(map(all, zip(right, half, strict=True))) / 21,
        "top5_loc": 100 * sum(half) / 21,
        "gt_known_loc": 100 * sum(iou >= 0.5 for iou in ious) / 21,
    }
    outcomes = [line["protocols"]["ts-cam"]["outcome"] for line in lines]
    assert result["errors"] == {
        name: outcomes.count(name) for name in ("right", "cls_wrong", "multi_instance", "part", "more", "wrong")
    }
    assert sum(result["errors"].values()) == 21
    assert f"GT-known loc {scores['gt_known_loc']:6.2f} %" in evaluation.describe()
    assert "protocol ts-cam, threshold 0.1 (stored with the model), 21 pictures" in evaluation.describe()


def test_the_threshold_is_the_models_own_by_default(tmp_path: Path) -> None:
    write_imagenet(tmp_path / "imagenet", train=1, val=1)
    dataset = read_dataset(tmp_path / "imagenet")
    assert dataset.threshold == 0.12
    trained = load_model(tiny_model(tmp_path / "tiny", label_names=dataset.class_names))
    trained.spec = replace(trained.spec, threshold=0.27)
    model = tmp_path / "model"
    save_model(trained, model)
    for requested, expected in ((None, 0.27), (0.35, 0.35)):
        out = tmp_path / f"out {requested}"
        evaluation = evaluate(model, EvaluateConfig(data=tmp_path / "imagenet", out=out, threshold=requested))
        stored = json.loads((out / "metrics.json").read_text())["protocols"]["ts-cam"]["threshold"]["values"]
        assert evaluation.results["ts-cam"].threshold_values == stored == {"gt_known_loc": expected}


def test_the_maps_can_be_read_by_another_method(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 2})
    model = tiny_model(tmp_path / "model")
    boxes = {}
    for method in ("ts-cam", "attention"):
        config = EvaluateConfig(data=tmp_path / "data", out=tmp_path / method, method=method, threshold=0.6)
        predicted = evaluate(model, config).results["ts-cam"].columns.boxes
        assert predicted is not None
        boxes[method] = predicted.tolist()
        assert json.loads((tmp_path / method / "metrics.json").read_text())["method"] == method
    assert boxes["ts-cam"] != boxes["attention"]


def test_a_model_in_memory_scores_as_its_folder_and_is_named_in_memory(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 2})
    folder = tiny_model(tmp_path / "model")
    lines, sources = {}, {}
    for name, model in (("folder", str(folder)), ("memory", load_model(folder))):
        evaluate(model, EvaluateConfig(data=tmp_path / "data", out=tmp_path / name, device="cpu"))
        lines[name] = (tmp_path / name / "per_image.jsonl").read_text()
        sources[name] = json.loads((tmp_path / name / "metrics.json").read_text())["model"]
    assert lines["memory"] == lines["folder"]
    assert sources == {"folder": str(folder), "memory": "in memory"}


def test_zero_workers_score_every_picture(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    config = EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", workers=0)
    assert len(evaluate(tiny_model(tmp_path / "model"), config).images) == 6


@pytest.fixture(params=["no boxes", "a broken picture", "other classes", "no such split"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A data set that cannot be evaluated, and the message of its refusal."""
    data = tmp_path / "data"
    write_folder(data, splits={"test": 2}, boxes=None if request.param == "no boxes" else "csv")
    if request.param == "a broken picture":
        (data / "test" / "dog" / "dog_0_1.png").write_bytes(b"\x89PNG")
        return data, r"1 of 6 pictures of the split 'test' cannot be read: 'test/dog/dog_0_1\.png'"
    if request.param == "other classes":
        (data / "test" / "emu").rename(data / "test" / "fox")
        (data / "boxes.csv").write_text((data / "boxes.csv").read_text().replace("test/emu/", "test/fox/"))
        return data, "class 2 is 'fox', the model's is 'emu'"
    if request.param == "no such split":
        (data / "test").rename(data / "train")
        return data, "no test split; available: train, expected test or val or all"
    return data, "no boxes for split 'test'"


def test_unusable_data_are_refused_before_anything_is_written(unusable: tuple[Path, str], tmp_path: Path) -> None:
    data, message = unusable
    model = tiny_model(tmp_path / "model")
    with pytest.raises(DataError, match=message) as refused:
        evaluate(model, EvaluateConfig(data=data, out=tmp_path / "out"))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_and_kept_unless_it_may_be_overwritten(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    model = tiny_model(tmp_path / "model")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not empty; choose another one, or empty it with --overwrite"):
        evaluate(model, EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    evaluation = evaluate(model, EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", overwrite=True))
    assert evaluation.results["ts-cam"].curve.pictures == 6
    assert not (tmp_path / "out" / "thesis.txt").exists()


def test_unusable_data_do_not_empty_a_folder_that_may_be_overwritten(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", boxes=None)
    model = tiny_model(tmp_path / "model")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.json").write_text("{}")
    with pytest.raises(DataError, match="no boxes"):
        evaluate(model, EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", overwrite=True))
    assert (tmp_path / "out" / "metrics.json").read_text() == "{}"


def scores_of(evaluation: Evaluation) -> dict[str, float]:
    return {name: score.value for name, score in evaluation.results["ts-cam"].scores.items()}


def reasons_of(out: Path) -> dict[str, str]:
    with (out / "missing.csv").open(newline="") as file:
        return {row["image"]: row["reason"] for row in csv.DictReader(file)}


def test_pictures_that_cannot_be_read_count_as_wrong_where_that_is_allowed(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 4})
    model = tiny_model(tmp_path / "model")
    config = EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", batch_size=2)
    whole = evaluate(model, config)
    cut, gone = "test/cat/cat_0_0.png", "test/emu/emu_0_2.png"
    (tmp_path / "data" / cut).write_bytes((tmp_path / "data" / cut).read_bytes()[:-99])
    (tmp_path / "data" / gone).unlink()
    (tmp_path / "data" / gone).symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"2 of 12 pictures of the split 'test' cannot be read: 'test/cat/"):
        evaluate(model, replace(config, out=tmp_path / "refused"))
    allowed = evaluate(model, replace(config, out=tmp_path / "allowed", allow_missing=True))
    reasons = reasons_of(allowed.out)
    assert list(reasons) == [cut, gone]
    assert reasons[cut].startswith("the picture cannot be read: not a readable picture (OSError: image file is trunc")
    assert reasons[gone] == "the picture cannot be read: no such file"
    assert json.loads((allowed.out / "metrics.json").read_text())["not_judged"] == 2
    lines = {}
    for evaluation in (whole, allowed):
        content = (evaluation.out / "per_image.jsonl").read_text().splitlines()
        lines[evaluation.out.name] = {line["image"]: line for line in map(json.loads, content)}
    same = [image for image in whole.images if lines["out"][image] == lines["allowed"][image]]
    assert set(whole.images) - set(same) == {cut, gone}
    wrong = sum(lines["out"][image]["protocols"]["ts-cam"]["iou"] > 0.5 for image in (cut, gone))
    assert scores_of(allowed)["gt_known_loc"] == pytest.approx(scores_of(whole)["gt_known_loc"] - 100 * wrong / 12)


@pytest.mark.parametrize("allow_missing", [True, False])
def test_a_picture_that_vanishes_during_the_evaluation_is_named(tmp_path: Path, *, allow_missing: bool) -> None:
    write_folder(tmp_path / "data", splits={"test": 4})
    last = tmp_path / "data" / "test" / "emu" / "emu_0_3.png"
    config = EvaluateConfig(
        data=tmp_path / "data", out=tmp_path / "out", batch_size=1, workers=1, allow_missing=allow_missing
    )

    def remove(done: int, _count: int) -> None:
        if done == 1:
            last.unlink()

    if not allow_missing:
        with pytest.raises(ImageError, match=r"emu_0_3\.png: cannot be opened \(FileNotFoundError"):
            evaluate(tiny_model(tmp_path / "model"), config, on_progress=remove)
        return
    evaluation = evaluate(tiny_model(tmp_path / "model"), config, on_progress=remove)
    assert evaluation.faults == {"test/emu/emu_0_3.png": "the picture cannot be read: no such file"}
    assert reasons_of(tmp_path / "out") == evaluation.faults


@pytest.mark.parametrize("protocol", ["pxap", "max-box-acc"])
def test_saved_maps_of_a_picture_that_cannot_be_read_count_as_wrong(tmp_path: Path, protocol: str) -> None:
    root = write_cub(tmp_path / "data", masks=True)
    dataset = read_dataset(root)
    save_ramps(root, tmp_path / "maps", dataset.split)
    (root / "images" / dataset.image_ids[1]).unlink()
    config = EvaluateConfig(data=root, out=tmp_path / "out", maps=tmp_path / "maps", protocol=(protocol,))
    with pytest.raises(DataError):
        evaluate(None, config)
    evaluation = evaluate(None, replace(config, allow_missing=True))
    assert evaluation.faults == {dataset.image_ids[1]: "the picture cannot be read: no such file"}
