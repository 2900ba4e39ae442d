"""Classes, or categories of a file of boxes, that share a name are named; boxes of the name count for both classes."""

import json
from pathlib import Path

import pytest

from data_sets import coco_content, draw_picture, write_cub, write_folder
from tiny_runs import splits_of
from tscam.config import TrainConfig
from tscam.datasets import check_dataset, read_dataset
from tscam.datasets.box_matching import OwnBoxes
from tscam.errors import ConfigError
from tscam.formats import AnnotatedObject
from tscam.localizer import find_class

LINE = "classes 0 and 2 have one name, 'Crane'; call them by their numbers"


def test_two_classes_of_one_name_are_named_by_check_and_train(tmp_path: Path) -> None:
    write_cub(tmp_path, classes=3, train=4)
    (tmp_path / "classes.txt").write_text("1 Crane\n2 Owl\n3 Crane\n")
    assert LINE in check_dataset(tmp_path).describe().splitlines()
    assert LINE in read_dataset(tmp_path).notes
    assert LINE in splits_of(TrainConfig(data=tmp_path, out=tmp_path / "run")).notes()


def test_names_in_two_forms_of_unicode_are_one_name(tmp_path: Path) -> None:
    write_cub(tmp_path, classes=2)
    (tmp_path / "classes.txt").write_text("1 b\u00e4r\n2 ba\u0308r\n", encoding="utf-8")
    assert "classes 0 and 1 have one name, 'b\u00e4r'; call them by their numbers" in read_dataset(tmp_path).notes


def test_more_than_two_are_all_counted(tmp_path: Path) -> None:
    write_cub(tmp_path, classes=8, train=1)
    (tmp_path / "classes.txt").write_text("".join(f"{number} Crane\n" for number in range(1, 9)))
    line = "classes 0, 1, 2, 3, 4 and 3 more have one name, 'Crane'; call them by their numbers"
    assert line in read_dataset(tmp_path).notes


def test_a_label_that_two_classes_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 classes are named 'Crane'; give the number of one: 0, 2"):
        find_class("Crane", ("Crane", "Owl", "Crane"))


def test_a_box_of_the_name_is_that_of_either_class() -> None:
    crane = AnnotatedObject(box=(0.0, 0.0, 5.0, 6.0), category="Crane")
    own_boxes = OwnBoxes({"Crane", "Owl"}, ("Crane", "Owl", "Crane"), source="boxes.csv")
    assert [len(own_boxes.of_picture([crane], class_id)) for class_id in range(3)] == [1, 0, 1]


def test_two_categories_of_one_name_are_named(tmp_path: Path) -> None:
    drawn = write_folder(tmp_path, class_names=("cat", "dog"), boxes=None)
    content = coco_content(drawn)
    content["categories"] = [{"id": number, "name": name} for number, name in ((1, "cat"), (2, "dog"), (3, "cat"))]
    for entry in content["annotations"]:
        entry["category_id"] = 1 if entry["id"] == 0 else 3 if entry["id"] == 1 else 2
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    dataset = read_dataset(tmp_path)
    assert [len(boxes) for boxes in dataset.boxes or ()] == [1, 1, 1, 1]
    assert dataset.notes == (f"{tmp_path / 'annotations.json'}: 2 categories are named 'cat'; boxes of both count",)
    assert dataset.notes[0] in check_dataset(tmp_path).describe()


def test_two_names_of_yolo_are_named(tmp_path: Path) -> None:
    draw_picture(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "a.txt").write_text("2 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.txt").write_text("cat\ndog\ncat")
    dataset = read_dataset(tmp_path)
    assert dataset.notes[0].endswith("2 categories are named 'cat'; boxes of both count")
    assert [len(boxes) for boxes in dataset.boxes or ()] == [1]
