"""One folder a class: splits by name, and boxes as CSV, COCO JSON or Pascal VOC XML in our half-open edges."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_sets import Box, coco_content, draw_picture, write_folder, write_xml
from picture_files import ENDINGS, write_picture
from tscam.datasets import check_dataset, dataset_readers, read_dataset, recognize
from tscam.errors import DataError

SPLITS = {"train": 2, "val": 1, "test": 1}


def boxes_by_id(root: Path, split: str | None = None) -> dict[str, list[list[float]]]:
    dataset = read_dataset(root, split=split)
    assert dataset.boxes is not None
    return {image_id: boxes.tolist() for image_id, boxes in zip(dataset.image_ids, dataset.boxes, strict=True)}


def as_floats(drawn: dict[str, Box], prefix: str = "") -> dict[str, list[list[float]]]:
    return {image_id: [list(map(float, box))] for image_id, box in drawn.items() if image_id.startswith(prefix)}


def test_a_folder_without_splits_is_one_split_to_train_and_to_test_on(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("emu", "cat"))
    reader = dataset_readers["folder"]
    assert reader.splits(tmp_path) == ("all",)
    assert (reader.training_split(tmp_path), reader.test_split(tmp_path)) == ("all", "all")
    dataset = read_dataset(tmp_path)
    assert dataset.class_names == ("cat", "emu")
    assert dataset.image_ids == ("cat/cat_0_0.png", "cat/cat_0_1.png", "emu/emu_0_0.png", "emu/emu_0_1.png")
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert (dataset.box_rule, dataset.threshold) == ("ilsvrc", 0.10)


def test_pictures_of_every_ending_belong_to_their_class(tmp_path: Path) -> None:
    for ending in ENDINGS:
        write_picture(tmp_path / "cat" / f"a{ending}", Image.new("RGB", (31, 20)))
        write_picture(tmp_path / "emu" / f"b{ending.upper()}", Image.new("RGB", (31, 20)))
    dataset = read_dataset(tmp_path)
    assert np.bincount(dataset.labels).tolist() == [len(ENDINGS), len(ENDINGS)]
    assert check_dataset(tmp_path).usable


def test_the_test_split_is_test_before_val_and_the_training_split_is_train(tmp_path: Path) -> None:
    write_folder(tmp_path, splits=SPLITS)
    reader = dataset_readers["folder"]
    assert reader.splits(tmp_path) == ("train", "val", "test")
    assert (reader.training_split(tmp_path), reader.test_split(tmp_path)) == ("train", "test")
    assert read_dataset(tmp_path, split="val").image_ids[2] == "val/emu/emu_1_0.png"


def test_val_is_the_test_split_without_a_test_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 1, "val": 1})
    assert read_dataset(tmp_path).split == "val"


def test_a_data_set_without_training_pictures_cannot_be_trained_on(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"test": 1})
    with pytest.raises(DataError, match="no training split; available: test, expected train or all"):
        dataset_readers["folder"].training_split(tmp_path)


def test_every_split_has_the_classes_of_all_splits(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 1}, class_names=("ant", "cat"), boxes=None)
    write_folder(tmp_path, splits={"test": 1}, class_names=("bee", "cat"), boxes=None)
    test = read_dataset(tmp_path)
    assert test.class_names == ("ant", "bee", "cat")
    assert test.labels.tolist() == [1, 2]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("bus", "train"), boxes=None)
    assert read_dataset(tmp_path).class_names == ("bus", "train")


def test_splits_without_classes_are_refused(tmp_path: Path) -> None:
    draw_picture(tmp_path / "train" / "a.png")
    draw_picture(tmp_path / "val" / "b.png")
    with pytest.raises(DataError, match=r"train: no folders of classes; expected train/<class>/"):
        read_dataset(tmp_path)


def test_pictures_without_classes_are_refused(tmp_path: Path) -> None:
    draw_picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="no folders of classes; expected"):
        read_dataset(tmp_path, name="folder")


@pytest.mark.parametrize("boxes", ["csv", "coco", "voc"])
@pytest.mark.parametrize("splits", [None, SPLITS])
def test_each_format_of_boxes_gives_the_drawn_edges(tmp_path: Path, boxes: str, splits: dict[str, int] | None) -> None:
    drawn = write_folder(tmp_path, splits=splits, boxes=boxes)
    assert boxes_by_id(tmp_path, "val" if splits else None) == as_floats(drawn, "val/" if splits else "")


def test_boxes_may_be_in_the_folder_of_the_split(tmp_path: Path) -> None:
    drawn = write_folder(tmp_path, splits=SPLITS, boxes=None)
    test_boxes = {
        image_id.removeprefix("test/"): box for image_id, box in drawn.items() if image_id.startswith("test/")
    }
    (tmp_path / "test" / "annotations.json").write_text(json.dumps(coco_content(test_boxes)))
    assert boxes_by_id(tmp_path, "test") == as_floats(drawn, "test/")
    assert read_dataset(tmp_path, split="train").boxes is None


def test_repeated_rows_are_more_boxes_and_no_row_is_none(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("cat",), boxes=None)
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\ncat/cat_0_1.png,1,2,3.5,4\n./cat//cat_0_1.png,0,0,9,8\n")
    assert boxes_by_id(tmp_path) == {"cat/cat_0_0.png": [], "cat/cat_0_1.png": [[1, 2, 3.5, 4], [0, 0, 9, 8]]}


def test_names_with_commas_line_breaks_and_emoji_are_read(tmp_path: Path) -> None:
    for name in ("a,b.png", "a\nb.png", "🦊.png"):
        draw_picture(tmp_path / "fox" / name)
    (tmp_path / "boxes.csv").write_text(
        'image,x0,y0,x1,y1\n"fox/a,b.png",1,2,30,4\n"fox/a\nb.png",2,2,30,4\nfox/🦊.png,3,2,30,4\n', encoding="utf-8"
    )
    assert [row[0][0] for row in boxes_by_id(tmp_path).values()] == [2, 1, 3]


def test_pascals_pixels_are_counted_from_one_and_include_the_last(tmp_path: Path) -> None:
    draw_picture(tmp_path / "cat" / "a.png")
    write_xml(tmp_path / "Annotations" / "a.xml", [("cat", (1, 1, 1, 1)), ("cat", (5, 3, 20, 9))])
    assert boxes_by_id(tmp_path) == {"cat/a.png": [[0, 0, 1, 1], [4, 2, 20, 9]]}


def test_pictures_of_one_name_have_xml_files_by_path(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        draw_picture(tmp_path / name / "1.png")
        write_xml(tmp_path / "Annotations" / name / "1.xml", [(name, (1, 1, len(name), 4))])
    write_xml(tmp_path / "Annotations" / "dog" / "1.xml", [("dog", (1, 1, 8, 4))])
    assert boxes_by_id(tmp_path) == {"cat/1.png": [[0, 0, 3, 4]], "dog/1.png": [[0, 0, 8, 4]]}
    write_xml(tmp_path / "Annotations" / "1.xml", [("cat", (1, 1, 3, 4))])
    with pytest.raises(DataError, match=r"Annotations/1\.xml: '1' names several pictures"):
        read_dataset(tmp_path)


def test_two_files_of_boxes_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, boxes="csv")
    (tmp_path / "annotations.json").write_text("{}")
    with pytest.raises(DataError, match=r"boxes\.csv and .*annotations\.json both contain boxes; keep one"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ("image,x,y,w,h\n", r"boxes\.csv:1: header 'image,x,y,w,h'; expected image,x0,y0,x1,y1"),
        ("", r"boxes\.csv:1: header ''"),
        ("image,x0,y0,x1,y1\ncat/cat_0_0.png,1,2,3\n", r"boxes\.csv:2: 4 values; expected"),
        ("image,x0,y0,x1,y1\n\ncat/cat_0_0.png,9,2,3,4\n", r"boxes\.csv:3: box \(9, 2, 3, 4\) runs backwards"),
        ("image,x0,y0,x1,y1\ncat/cat_0_0.png,nan,2,3,4\n", r"boxes\.csv:2: 'nan' is not a finite number"),
        ("image,x0,y0,x1,y1\nowl/1.png,1,2,3,4\n", r"boxes\.csv:2: 'owl/1.png' names no picture of"),
        ("image,x0,y0,x1,y1\n../../etc/passwd,1,2,3,4\n", r"boxes\.csv:2: '../../etc/passwd' leads out of the"),
        ("image,x0,y0,x1,y1\n/etc/passwd,1,2,3,4\n", r"boxes\.csv:2: '/etc/passwd' leads out of the data set"),
        ('image,x0,y0,x1,y1\n"cat,1,2,3,4\n', r"boxes\.csv: not a readable CSV file"),
    ],
)  # fmt: skip
def test_a_broken_csv_is_named(tmp_path: Path, content: str, refusal: str) -> None:
    write_folder(tmp_path, boxes=None)
    (tmp_path / "boxes.csv").write_text(content)
    with pytest.raises(DataError, match=refusal):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("images", "annotations", "refusal"),
    [
        ([{"id": 1}], [], r"annotations\.json: images\[0\]: no 'id' or no 'file_name'"),
        ([{"id": 1, "file_name": "../../x.png"}], [], r"images\[0\]: '../../x.png' leads out of the data set"),
        ([{"id": 1, "file_name": "a\0.png"}], [], r"images\[0\]: .* leads out of the data set"),
        ([{"id": 1, "file_name": "cat/cat_0_0.png"}] * 2, [], r"images\[1\]: image 1 is listed twice"),
        ([], [{"image_id": 4, "bbox": [1, 2, 3, 4]}], r"annotations\[0\]: image 4 is not in 'images'"),
        ([], [{"image_id": [4]}], r"annotations\[0\]: image \[4\] is not in 'images'"),
        ([{"id": 1, "file_name": "a.png"}], [{"image_id": 1}], r"annotations\[0\]: bbox None; expected \[x, y, width"),
        ([{"id": 1, "file_name": "a.png"}], [{"image_id": 1, "bbox": [1, 2, -3, 4]}], r"\[0\]: box .* runs backwards"),
        ([{"id": 1, "file_name": "a.png"}], [{"image_id": 1, "bbox": [1, True, 3, 4]}], r"\[0\]: True is not a finite"),
        ([{"id": 1, "file_name": "a.png"}], [{"image_id": 1, "bbox": [1, 2, 3, 4]}], r"\[0\]: 'a.png' names no"),
        ([7], [], r"images\[0\]: not an object"),
        (None, [], r"no list 'images'"),
    ],
)  # fmt: skip
def test_a_broken_json_is_named(tmp_path: Path, images: object, annotations: object, refusal: str) -> None:
    write_folder(tmp_path, boxes=None)
    (tmp_path / "annotations.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    with pytest.raises(DataError, match=refusal):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ("{\n\n]", r"annotations\.json:3: not JSON"),
        ("[" * 200_000, r"annotations\.json: not a readable JSON file \(RecursionError"),
        ('{"images":[{"id": 1, "file_name": "a"}], "annotations":[{"image_id": 1, "bbox":[0, 0, 1, 1e999]}]}', "inf"),
    ],
)  # fmt: skip
def test_json_that_does_not_parse_is_refused(tmp_path: Path, content: str, refusal: str) -> None:
    write_folder(tmp_path, boxes=None)
    (tmp_path / "annotations.json").write_text(content)
    with pytest.raises(DataError, match=refusal):
        read_dataset(tmp_path)


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation>&b;</annotation>'
READER = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>'


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (BOMB.encode(), "contains a document type; expected plain XML"),
        (READER.encode(), "contains a document type"),
        (BOMB.encode("utf-16"), "not a readable XML file"),
        (b"<annotation>", "not a readable XML file"),
        (b"", "not a readable XML file"),
        (b" " * 2**21, "more than 1048576 bytes"),
        (b"<a><object><bndbox><xmin>1</xmin></bndbox></object></a>", r"a\.xml: object 1: '' is not a finite number"),
    ],
)  # fmt: skip
def test_hostile_or_broken_xml_is_refused(tmp_path: Path, content: bytes, refusal: str) -> None:
    draw_picture(tmp_path / "cat" / "a.png")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_bytes(content)
    with pytest.raises(DataError, match=refusal):
        read_dataset(tmp_path)


def test_deep_xml_is_read_or_refused_but_does_not_crash(tmp_path: Path) -> None:
    draw_picture(tmp_path / "cat" / "a.png")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text("<a>" * 100_000 + "</a>" * 100_000)
    assert boxes_by_id(tmp_path) == {"cat/a.png": []}


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    draw_picture(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "a.png").rename(tmp_path / "cat" / "\udcff.png")
    with pytest.raises(DataError, match=r"the name b'\\xff\.png' is not UTF-8; rename it"):
        read_dataset(tmp_path, name="folder")


def test_links_to_folders_are_followed_and_a_loop_is_not(tmp_path: Path) -> None:
    write_folder(tmp_path / "elsewhere", class_names=("cat",), boxes=None)
    root = tmp_path / "root"
    root.mkdir()
    (root / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (root / "loop").symlink_to(root / "loop")
    assert read_dataset(root).class_names == ("cat",)


def test_a_tree_of_class_folders_is_recognized_last(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("n01440764",), splits={"train": 1, "val": 1}, boxes=None)
    assert recognize(tmp_path) == "imagenet"
    write_folder(tmp_path / "mine", class_names=("fox",), boxes=None)
    assert recognize(tmp_path / "mine") == "folder"


def test_boxes_are_float_also_where_the_file_has_whole_numbers(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("cat",))
    boxes = read_dataset(tmp_path).boxes
    assert boxes is not None
    assert {picture_boxes.dtype for picture_boxes in boxes} == {np.dtype(np.float64)}
