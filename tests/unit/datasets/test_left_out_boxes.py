"""Boxes that are not the object's (crowd, ignore, difficult, another category) are no ground truth, and are counted."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny_runs import splits_of
from tscam.config import EvaluateConfig, TrainConfig
from tscam.datasets import check_dataset, read_dataset
from tscam.errors import DataError
from tscam.evaluation.score_maps import map_path, write_map
from tscam.evaluation.scoring import Evaluation
from tscam.verbs.evaluate import evaluate

Box = tuple[int, int, int, int]

SIZE_WH = (64, 48)
LARGE: Box = (16, 12, 48, 36)  # Every map shows exactly this.
SMALL: Box = (24, 18, 40, 30)  # In the middle of it, where maps are highest.
SPECK: Box = (1, 1, 4, 3)  # Nobody finds this one.


def write_pictures(root: Path, *, splits: Mapping[str, int]) -> list[str]:
    """Write grey pictures of two classes with their maps, and return their ids."""
    image_ids = [f"{split}/{name}/{n}.png" for split, count in splits.items() for name in ("cat", "dog")
                 for n in range(count)]  # fmt: skip
    map_ = np.zeros((224, 224), dtype=np.float32)
    for (x0, y0, x1, y1), level in ((LARGE, 0.5), (SMALL, 1.0)):
        map_[y0 * 224 // 48 : y1 * 224 // 48, x0 * 224 // 64 : x1 * 224 // 64] = level
    for number, image_id in enumerate(image_ids):
        (root / "data" / image_id).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", SIZE_WH, 60 + number).save(root / "data" / image_id)
        write_map(map_path(root / "maps", image_id), map_)
    return image_ids


def class_of(image_id: str) -> str:
    return image_id.split("/")[1]


def write_coco(
    root: Path, image_ids: list[str], *, true: Box, flag: str | None = None, category: str | None = None
) -> None:
    """Write the true box of each picture, and the large one with a flag or another category."""
    names = ["cat", "dog", "person"]
    annotations: list[dict[str, object]] = []
    for number, image_id in enumerate(image_ids):
        for (x0, y0, x1, y1), is_true in ((LARGE, False), (true, True)):
            name = category if category is not None and not is_true else class_of(image_id)
            entry = {"id": len(annotations), "image_id": number, "category_id": names.index(name) + 1,
                     "bbox": [x0, y0, x1 - x0, y1 - y0]}  # fmt: skip
            annotations.append(entry if flag is None or is_true else {**entry, flag: 1})
    content = {
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "images": [{"id": number, "file_name": image_id} for number, image_id in enumerate(image_ids)],
        "annotations": annotations,
    }
    (root / "annotations.json").write_text(json.dumps(content))


def write_voc(root: Path, image_ids: list[str], *, true: Box, is_difficult: bool = False, category: str = "") -> None:
    for image_id in image_ids:
        objects = [(LARGE, category or class_of(image_id), int(is_difficult)), (true, class_of(image_id), 0)]
        entries = "".join(
            f"<object><name>{name}</name><difficult>{flag}</difficult><bndbox><xmin>{x0 + 1}</xmin>"
            f"<ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for (x0, y0, x1, y1), name, flag in objects
        )
        path = (root / "Annotations" / image_id).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<annotation>{entries}</annotation>")


def write_csv(root: Path, image_ids: list[str], *, true: Box) -> None:
    rows = [
        f"{image_id},{name},{','.join(map(str, box))}"
        for image_id in image_ids
        for box, name in ((LARGE, "person"), (true, class_of(image_id)))
    ]
    (root / "boxes.csv").write_text("\n".join(["image,class,x0,y0,x1,y1", *rows]))


# Each writes the true box of every picture and, beside it, the large one as something else; and how that is counted.
Writer = Callable[..., None]
CASES: dict[str, tuple[Writer, str]] = {
    "coco iscrowd": (lambda *args, **true: write_coco(*args, flag="iscrowd", **true), "24 crowd"),
    "coco ignore": (lambda *args, **true: write_coco(*args, flag="ignore", **true), "24 ignore"),
    "coco category": (
        lambda *args, **true: write_coco(*args, category="person", **true), "24 of another category ('person' 24)"
    ),
    "coco class": (
        lambda *args, **true: write_coco(*args, category="dog", **true), "12 of another category ('dog' 12)"
    ),
    "voc difficult": (lambda *args, **true: write_voc(*args, is_difficult=True, **true), "24 difficult"),
    "voc category": (
        lambda *args, **true: write_voc(*args, category="person", **true), "24 of another category ('person' 24)"
    ),
    "csv category": (write_csv, "24 of another category ('person' 24)"),
}  # fmt: skip
cases = pytest.mark.parametrize(("write", "counted"), CASES.values(), ids=CASES)


def evaluated(root: Path, *protocols: str, out: str = "out") -> Evaluation:
    config = EvaluateConfig(data=root / "data", maps=root / "maps", out=root / out, protocol=protocols)
    return evaluate(None, config)


@cases
def test_a_speck_that_nobody_finds_scores_nothing_beside_a_large_box_of_something_else(
    tmp_path: Path, write: Writer, counted: str
) -> None:
    ids = write_pictures(tmp_path, splits={"test": 12})
    write(tmp_path / "data", ids, true=SPECK)
    evaluation = evaluated(tmp_path, "ts-cam", "max-box-acc")
    expected = 50.0 if "'dog' 12" in counted else 0.0  # The large box of a dog is that of the dogs' own class.
    assert evaluation.results["ts-cam"].scores["gt_known_loc"].value == expected
    assert evaluation.results["max-box-acc"].scores["max_box_acc"].value == expected


@cases
def test_a_threshold_is_chosen_without_boxes_of_something_else(tmp_path: Path, write: Writer, counted: str) -> None:
    ids = write_pictures(tmp_path, splits={"val": 12, "test": 1})
    write(tmp_path / "data", ids, true=SMALL)
    tau = evaluated(tmp_path, "realistic").results["realistic"].threshold_values["gt_known_loc"]
    assert tau > 0.49 or "'dog' 12" in counted, "the large box was found, which is not the object's"


@cases
def test_boxes_that_are_left_out_are_counted_by_check_train_and_evaluate(
    tmp_path: Path, write: Writer, counted: str
) -> None:
    ids = write_pictures(tmp_path, splits={"train": 12, "test": 12})
    write(tmp_path / "data", ids, true=SMALL)
    line = f"split 'test': boxes left out, which are no ground truth: {counted}"
    assert line in check_dataset(tmp_path / "data").describe()
    assert line in splits_of(TrainConfig(data=tmp_path / "data", out=tmp_path / "run")).notes()
    assert line in evaluated(tmp_path, "ts-cam").describe().splitlines()


@cases
def test_left_out_boxes_of_held_out_pictures_are_counted_too(tmp_path: Path, write: Writer, counted: str) -> None:
    ids = write_pictures(tmp_path, splits={"val": 12, "test": 1})
    write(tmp_path / "data", ids, true=SMALL)
    text = evaluated(tmp_path, "realistic").describe()
    assert f"split 'val': boxes left out, which are no ground truth: {counted}" in text


def test_a_picture_with_boxes_of_something_else_alone_has_no_object(tmp_path: Path) -> None:
    ids = write_pictures(tmp_path, splits={"test": 2})
    write_coco(tmp_path / "data", ids, true=SMALL, flag="iscrowd")
    content = json.loads((tmp_path / "data" / "annotations.json").read_text())
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] or each.get("iscrowd")]
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(content))
    boxes = read_dataset(tmp_path / "data").boxes
    assert boxes is not None
    assert [len(each) for each in boxes] == [0, 1, 1, 1]


def write_categories(root: Path, *categories: str) -> None:
    """Write one box a picture, of each category in turn."""
    ids = write_pictures(root, splits={"test": 2})
    rows = [f"{image_id},{categories[n % len(categories)]},1,2,30,40" for n, image_id in enumerate(ids)]
    (root / "data" / "boxes.csv").write_text("\n".join(["image,class,x0,y0,x1,y1", *rows]))


def box_counts(root: Path) -> list[int]:
    boxes = read_dataset(root / "data").boxes
    assert boxes is not None
    return [len(each) for each in boxes]


@pytest.mark.parametrize("category", ["object", "Object", "objects", "foreground", ""])
def test_a_category_that_means_any_object_is_the_pictures_own(tmp_path: Path, category: str) -> None:
    write_categories(tmp_path, category)
    assert box_counts(tmp_path) == [1, 1, 1, 1]


def test_categories_of_which_none_is_a_class_are_refused_by_name(tmp_path: Path) -> None:
    write_categories(tmp_path, "person", "car")
    refusal = (
        r"boxes\.csv: no box of a class: its categories are 'car', 'person', the classes 'cat', 'dog'; name each box "
        "by its class, or 'object' where it is the picture's own"
    )
    with pytest.raises(DataError, match=refusal):
        read_dataset(tmp_path / "data")


def test_categories_are_classes_whatever_their_case(tmp_path: Path) -> None:
    write_categories(tmp_path, "Cat", "CAT", "Dog", "dog")
    assert box_counts(tmp_path) == [1, 1, 1, 1]
    assert not read_dataset(tmp_path / "data").notes


def test_a_category_that_fits_two_classes_but_for_case_is_neither(tmp_path: Path) -> None:
    write_categories(tmp_path, "cat", "CAT", "dog", "dog")
    (tmp_path / "data" / "test" / "cAT").mkdir()
    Image.new("L", SIZE_WH).save(tmp_path / "data" / "test" / "cAT" / "0.png")
    assert "of another category ('CAT' 1)" in "".join(read_dataset(tmp_path / "data").notes)


def test_an_annotation_of_a_category_that_its_file_does_not_list_is_refused(tmp_path: Path) -> None:
    ids = write_pictures(tmp_path, splits={"test": 1})
    write_coco(tmp_path / "data", ids, true=SMALL)
    content = json.loads((tmp_path / "data" / "annotations.json").read_text())
    content["annotations"][1]["category_id"] = 7
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"annotations\[1\]: category 7 is not in 'categories'"):
        read_dataset(tmp_path / "data")


def test_difficult_boxes_of_imagenets_xml_are_left_out(tmp_path: Path) -> None:
    for wnid, number in (("n01440764", 1), ("n01443537", 2)):
        for folder in ("train", "val"):
            path = tmp_path / folder / wnid / f"ILSVRC2012_val_{number:08d}.JPEG"
            path.parent.mkdir(parents=True)
            Image.new("RGB", SIZE_WH).save(path)
        entries = "".join(
            f"<object><name>{wnid}</name><difficult>{flag}</difficult><bndbox><xmin>{flag}</xmin><ymin>2</ymin>"
            "<xmax>30</xmax><ymax>40</ymax></bndbox></object>"
            for flag in (0, 1)
        )
        (tmp_path / "Annotations" / "val").mkdir(parents=True, exist_ok=True)
        (tmp_path / "Annotations" / "val" / f"ILSVRC2012_val_{number:08d}.xml").write_text(
            f"<annotation>{entries}</annotation>"
        )
    dataset = read_dataset(tmp_path, split="val")
    assert dataset.boxes is not None
    assert [boxes.tolist() for boxes in dataset.boxes] == [[[0, 2, 30, 40]]] * 2
    assert dataset.notes == ("split 'val': boxes left out, which are no ground truth: 2 difficult",)
