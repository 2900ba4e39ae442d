"""A picture without an object (no box, or `0 0 0 0`) counts for classification and not for localization, everywhere."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_sets import write_cub, write_folder, write_imagenet, write_kaggle_imagenet, write_wsol
from judged_pictures import box_protocol, picture, scores
from tiny_runs import splits_of
from tscam.config import EvaluateConfig, TrainConfig
from tscam.datasets import check_dataset, read_dataset
from tscam.errors import DataError
from tscam.evaluation.comparison import compare_evaluations
from tscam.evaluation.report import write_report
from tscam.evaluation.score_maps import map_path, write_map
from tscam.evaluation.scoring import Evaluation
from tscam.metrics.columns import columns_of
from tscam.metrics.curves import curve_of
from tscam.metrics.statistics import mean_scores
from tscam.metrics.summary import summarize
from tscam.metrics.threshold import Threshold, threshold_policy
from tscam.metrics.ts_cam import Outcome
from tscam.verbs.evaluate import evaluate

TS_CAM = box_protocol("ts-cam")
LINE = "split 'test': 4 of 6 pictures have an object; the others count for classification, not for localization"


def rewrite(path: Path, change: Callable[[str], str | None]) -> None:
    """Change each line of a file; None removes it."""
    lines = map(change, path.read_text().splitlines())
    path.write_text("\n".join(line for line in lines if line is not None))


def cub(root: Path, *, zeros: bool) -> None:
    write_cub(root, classes=2, train=1, test=3)
    numbers = ("4", "8")  # The third picture for the test of each class.
    rewrite(root / "bounding_boxes.txt", lambda line: line if line.split()[0] not in numbers
            else f"{line.split()[0]} 0.0 0.0 0.0 0.0" if zeros else None)  # fmt: skip


def imagenet(root: Path, *, zeros: bool) -> None:
    write_imagenet(root, classes=2, train=1, val=3)
    path = root / "ILSVRC2012_list" / "val_folder_new.txt"
    rewrite(path, lambda line: line if "000003" not in line and "000006" not in line
            else " ".join([*line.split()[:2], "0 0 0 0" if zeros else ""]))  # fmt: skip


def kaggle(root: Path, *, zeros: bool) -> None:
    write_kaggle_imagenet(root, classes=2, val=3, boxes="csv")
    rewrite(root / "LOC_val_solution.csv", lambda line: line if "000005" not in line and "000006" not in line
            else f"{line.split()[0]} 0 0 0 0" if zeros else line.partition(" ")[0] + " 0 0 0 0")  # fmt: skip


def official_xml(root: Path, *, zeros: bool) -> None:
    write_kaggle_imagenet(root, classes=2, val=3, boxes="xml")
    for name in ("00000005", "00000006"):
        path = root / "ILSVRC" / "Annotations" / "CLS-LOC" / "val" / f"ILSVRC2012_val_{name}.xml"
        path.write_text(without_box(path.read_text(), zeros=True if zeros else None))


def without_box(xml: str, *, zeros: bool | None) -> str:
    """Replace the edges of an object by zeros; or, without, mark the object as difficult, so that its class stays."""
    head, rest = xml.split("<bndbox>")
    tail = rest.split("</bndbox>")[1]
    if zeros:
        box = "".join(f"<{side}>0</{side}>" for side in ("xmin", "ymin", "xmax", "ymax"))
        return f"{head}<bndbox>{box}</bndbox>{tail}"
    return xml.replace("<bndbox>", "<difficult>1</difficult><bndbox>")


def wsol(root: Path, *, zeros: bool) -> None:
    write_wsol(root, classes=3)
    path = root / "metadata" / "CUB" / "test" / "localization.txt"
    rewrite(path, lambda line: line if not line.startswith(("001.Bird_1/test_3", "002.Bird_2/test_3"))
            else line.split(",")[0] + ",0,0,0,0" if zeros else None)  # fmt: skip


def folder_csv(root: Path, *, zeros: bool) -> None:
    write_folder(root, splits={"test": 3}, class_names=("cat", "dog"), boxes="csv")
    rewrite(root / "boxes.csv", lambda line: line if "_0_2" not in line
            else line.split(",")[0] + ",0,0,0,0" if zeros else None)  # fmt: skip


def folder_coco(root: Path, *, zeros: bool) -> None:
    write_folder(root, splits={"test": 3}, class_names=("cat", "dog"), boxes="coco")
    content = json.loads((root / "annotations.json").read_text())
    if zeros:
        for number in (2, 5):
            content["annotations"][number]["bbox"] = [0, 0, 0, 0]
    else:
        content["annotations"] = [entry for entry in content["annotations"] if entry["id"] not in (2, 5)]
    (root / "annotations.json").write_text(json.dumps(content))


def folder_voc(root: Path, *, zeros: bool) -> None:
    write_folder(root, splits={"test": 3}, class_names=("cat", "dog"), boxes="voc")
    for name in ("cat_0_2", "dog_0_2"):
        path = root / "Annotations" / f"{name}.xml"
        path.write_text(without_box(path.read_text(), zeros=True) if zeros else "<annotation></annotation>")


READERS = {
    "cub": cub, "imagenet": imagenet, "kaggle": kaggle, "xml": official_xml, "wsol": wsol, "csv": folder_csv,
    "coco": folder_coco, "voc": folder_voc,
}  # fmt: skip


@pytest.mark.parametrize("zeros", [True, False], ids=["zeros", "no row"])
@pytest.mark.parametrize("write", READERS.values(), ids=READERS)
def test_every_reader_gives_a_picture_without_object_no_box(
    tmp_path: Path, write: Callable[..., None], *, zeros: bool
) -> None:
    write(tmp_path, zeros=zeros)
    dataset = read_dataset(tmp_path)
    assert dataset.boxes is not None
    assert sum(len(boxes) > 0 for boxes in dataset.boxes) == 4
    line = LINE.replace("'test'", repr(dataset.split))
    assert dataset.describe_gaps()[-1] == line
    checked = check_dataset(tmp_path)
    assert line in checked.describe()
    assert checked.usable


def test_a_box_with_one_side_of_zero_is_still_named_by_check(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"test": 3}, class_names=("cat", "dog"), boxes="csv")
    rewrite(tmp_path / "boxes.csv", lambda line: line if "cat_0_2" not in line else f"{line.split(',')[0]},0,0,7,0")
    assert check_dataset(tmp_path).splits[0].boxes_without_area == ("test/cat/cat_0_2.png",)


def judged(root: Path, *protocols: str, out: str = "out") -> Evaluation:
    """Evaluate maps that show each true box as it is, and the corner where there is none."""
    dataset = read_dataset(root / "data")
    assert dataset.boxes is not None
    for index, image_id in enumerate(dataset.image_ids):
        with Image.open(dataset.path(index)) as opened:
            scale = 224 / np.array(opened.size * 2)
        box = dataset.boxes[index][0] if len(dataset.boxes[index]) else np.array([0, 0, 9, 9])
        x0, y0, x1, y1 = (box * scale).astype(int).tolist()
        map_ = np.zeros((224, 224), dtype=np.float32)
        map_[y0:y1, x0:x1] = 1
        write_map(map_path(root / "maps", image_id), map_)
    config = EvaluateConfig(data=root / "data", maps=root / "maps", out=root / out, protocol=protocols)
    return evaluate(None, config)


def test_localization_is_measured_on_the_pictures_with_an_object(tmp_path: Path) -> None:
    folder_csv(tmp_path / "data", zeros=True)
    evaluation = judged(tmp_path, "ts-cam", "max-box-acc", "max-box-acc-v2")
    assert evaluation.results["ts-cam"].scores["gt_known_loc"].value == 100.0
    assert evaluation.results["ts-cam"].curve.pictures == 4
    assert evaluation.results["max-box-acc"].scores["max_box_acc"].value == 100.0
    assert evaluation.results["max-box-acc-v2"].scores["max_box_acc_v2"].value == 100.0
    assert LINE in evaluation.describe().splitlines()
    assert not evaluation.faults
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["pictures"], metrics["protocols"]["ts-cam"]["pictures"]) == (6, 4)
    assert sum(metrics["protocols"]["ts-cam"]["errors"].values()) == 4
    assert sum(metrics["protocols"]["ts-cam"]["iou_histogram"]) == 4
    assert [group["pictures"] for group in metrics["protocols"]["ts-cam"]["by_class"]] == [3, 3]
    assert metrics["protocols"]["ts-cam"]["by_class"][0]["scores"]["gt_known_loc"] == 100.0
    lines = [json.loads(line) for line in (tmp_path / "out" / "per_image.jsonl").read_text().splitlines()]
    alone = lines[2]["protocols"]["ts-cam"]
    assert (alone["iou"], alone["outcome"], alone["gt_known_loc"]) == (None, None, None)
    assert "NaN" not in (tmp_path / "out" / "metrics.json").read_text()


def test_the_threshold_is_chosen_on_the_held_out_pictures_with_an_object(tmp_path: Path) -> None:
    folder_csv(tmp_path / "data", zeros=True)
    (tmp_path / "data" / "test").rename(tmp_path / "data" / "val")
    rows = (tmp_path / "data" / "boxes.csv").read_text().replace("test/", "val/").splitlines()
    write_folder(tmp_path / "more", splits={"test": 1}, class_names=("cat", "dog"))
    (tmp_path / "more" / "test").rename(tmp_path / "data" / "test")
    rows += (tmp_path / "more" / "boxes.csv").read_text().splitlines()[1:]
    (tmp_path / "data" / "boxes.csv").write_text("\n".join(rows))
    for split in ("val", "test"):
        dataset = read_dataset(tmp_path / "data", split=split)
        for image_id in dataset.image_ids:
            write_map(map_path(tmp_path / "maps", image_id), np.eye(224, dtype=np.float32))
    config = EvaluateConfig(data=tmp_path / "data", maps=tmp_path / "maps", out=tmp_path / "out")
    evaluation = evaluate(None, replace(config, protocol=("realistic",)))
    assert "best on 4 pictures of split 'val' with true boxes" in evaluation.describe()
    assert "split 'val': 4 of 6 pictures have an object" in evaluation.describe()


def test_two_evaluations_with_pictures_without_object_are_compared_on_the_others(tmp_path: Path) -> None:
    folder_csv(tmp_path / "data", zeros=True)
    judged(tmp_path, "ts-cam", out="first")
    judged(tmp_path, "ts-cam", out="second")
    compared = compare_evaluations(tmp_path / "first", tmp_path / "second")
    (measure,) = (each for each in compared.measures if each.measure == "gt_known_loc")
    assert (measure.first, measure.second, measure.difference.value, measure.difference.p) == (100.0, 100.0, 0.0, 1.0)


def test_the_report_shows_pictures_with_an_object_alone(tmp_path: Path) -> None:
    folder_csv(tmp_path / "data", zeros=True)
    judged(tmp_path, "ts-cam", "max-box-acc")
    page = write_report(tmp_path / "out", image_root=tmp_path / "data").read_text()
    assert "test/cat/cat_0_0.png" in page
    assert "test/cat/cat_0_2.png" not in page


def test_a_class_without_any_object_has_no_localization_score_and_the_report_says_so(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 2}, class_names=("cat", "dog"), boxes="csv")
    rewrite(tmp_path / "data" / "boxes.csv", lambda line: None if "cat" in line else line)
    judged(tmp_path, "ts-cam")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    cat, dog = metrics["protocols"]["ts-cam"]["by_class"]
    assert (cat["scores"]["gt_known_loc"], dog["scores"]["gt_known_loc"]) == (None, 100.0)
    write_report(tmp_path / "out", image_root=tmp_path / "data")


def test_a_split_without_any_object_cannot_be_scored_by_boxes(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 2}, class_names=("cat", "dog"), boxes="csv")
    rewrite(tmp_path / "data" / "boxes.csv", lambda line: None if "test/" in line else line)
    with pytest.raises(DataError, match="no boxes for split 'test'; evaluation compares with boxes"):
        judged(tmp_path, "ts-cam")


def test_classification_counts_every_picture() -> None:
    protocol = TS_CAM
    pictures = [
        picture({"ts-cam": scores(0.9, outcome=Outcome.RIGHT)}, top_classes=(0, 1)),
        picture({"ts-cam": scores(0.0, outcome=Outcome.WRONG)}, top_classes=(1, 0)),
        picture({"ts-cam": scores(0.0, outcome=Outcome.WRONG)}, top_classes=(0, 1), truths=()),
        picture({"ts-cam": scores(0.0, outcome=Outcome.WRONG)}, top_classes=(2, 1), truths=()),
    ]
    columns = columns_of(pictures, protocol, thresholds={"gt_known_loc": 0.5})
    by_measure = dict(
        zip(columns.measures, mean_scores(np.stack(list(columns.measures.values()), axis=1)), strict=True)
    )
    assert {name: score.value for name, score in by_measure.items()} == {
        "top1_cls": 50.0, "top5_cls": 75.0, "gt_known_loc": 50.0, "top1_loc": 50.0, "top5_loc": 50.0
    }  # fmt: skip
    assert all(score.low <= score.value <= score.high for score in by_measure.values())
    assert columns.errors() == {name: int(name in ("right", "cls_wrong")) for name in columns.errors() or {}}
    curve = curve_of(pictures, protocol)
    assert (curve.pictures, curve.percent("gt_known_loc")[50]) == (2, 50.0)
    threshold = Threshold(policy=threshold_policy(0.5), value=0.5, explained="x")
    summary = summarize(pictures, protocol, threshold, published=0.5, class_names=("a",)).to_json()
    assert "NaN" not in json.dumps(summary)


def test_training_chooses_and_tests_by_the_pictures_with_an_object_and_says_how_many(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 4, "val": 3, "test": 3}, class_names=("cat", "dog"))
    rewrite(tmp_path / "boxes.csv", lambda line: None if "_2_2" in line or "_1_0" in line else line)
    splits = splits_of(TrainConfig(data=tmp_path, out=tmp_path / "run"))
    assert splits.selection == "val (epoch of best gt_known_loc on split 'val')"
    assert splits.notes() == [LINE.replace("'test'", "'val'"), LINE]
