"""CUB-200-2011: list files → columns; every broken line is refused by file and line."""

from pathlib import Path

import numpy as np
import pytest

from data_sets import write_cub
from tscam.datasets import Masks, read_dataset, recognize
from tscam.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_cub(tmp_path / "CUB_200_2011", classes=3, train=2, test=1)


def replace_line(path: Path, number: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines))


def test_splits_labels_and_names_come_from_the_lists(root: Path) -> None:
    train, test = read_dataset(root, split="train"), read_dataset(root, split="test")
    assert (len(train), len(test)) == (6, 3)
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert train.class_names == ("001.Bird_1", "002.Bird_2", "003.Bird_3")
    assert test.image_ids[1] == "002.Bird_2/Bird_2_0002.jpg"
    assert test.path(1) == root / "images" / "002.Bird_2" / "Bird_2_0002.jpg"
    assert (train.box_rule, train.threshold, train.masks) == ("cub", 0.10, None)


def test_a_box_is_listed_by_corner_and_size_and_keeps_its_fractions(root: Path) -> None:
    replace_line(root / "bounding_boxes.txt", 3, "3 60.5 27.0 325.25 304.0")
    test = read_dataset(root, split="test")
    assert test.boxes is not None
    np.testing.assert_array_equal(test.boxes[0], [[60.5, 27.0, 385.75, 331.0]])


def test_the_parent_folder_is_a_root_too(root: Path) -> None:
    assert recognize(root.parent) == "cub"
    assert read_dataset(root.parent).image_root == root / "images"


def test_the_test_split_is_read_by_default(root: Path) -> None:
    assert read_dataset(root).split == "test"


def test_without_a_list_of_boxes_the_data_set_has_none(root: Path) -> None:
    (root / "bounding_boxes.txt").unlink()
    assert read_dataset(root).boxes is None


def test_a_picture_without_a_line_has_no_box(root: Path) -> None:
    replace_line(root / "bounding_boxes.txt", 3, "")
    boxes = read_dataset(root).boxes
    assert boxes is not None
    assert [len(picture_boxes) for picture_boxes in boxes] == [0, 1, 1]


def test_masks_are_beside_the_pictures(tmp_path: Path) -> None:
    masks = read_dataset(write_cub(tmp_path, masks=True)).masks
    assert masks is not None
    assert masks[0] == Masks((tmp_path / "segmentations" / "001.Bird_1" / "Bird_1_0002.png",))
    assert all(file.is_file() for picture_masks in masks for file in picture_masks.files)


def test_windows_lines_blank_lines_and_a_byte_order_mark_are_read(root: Path) -> None:
    for name in ("images", "classes"):
        path = root / f"{name}.txt"
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert len(read_dataset(root, split="train")) == 6


@pytest.mark.parametrize(
    ("name", "line", "text", "refusal"),
    [
        ("images", 4, "4", r"images\.txt:4: '4' is one value"),
        ("images", 4, "3 other.jpg", r"images\.txt:4: image 3 is listed twice"),
        ("images", 2, "2 001.Bird_1/Bird_1_0000.jpg", r"images\.txt:2: '001.Bird_1/Bird_1_0000.jpg' is listed twice"),
        ("images", 2, "2 ../../etc/passwd", r"images\.txt:2: '../../etc/passwd' leads out of the data set"),
        ("images", 2, "2 /etc/passwd", r"images\.txt:2: '/etc/passwd' leads out"),
        ("images", 2, r"2 a\..\..\x.jpg", r"images\.txt:2: .* leads out"),
        ("image_class_labels", 5, "5 4", r"image_class_labels\.txt:5: class 4; classes\.txt lists 1 to 3"),
        ("image_class_labels", 5, "5 0", r"image_class_labels\.txt:5: class 0; classes\.txt lists 1 to 3"),
        ("image_class_labels", 5, "5 owl", r"image_class_labels\.txt:5: 'owl' is not a whole number"),
        ("image_class_labels", 5, "77 1", r"image_class_labels\.txt:5: image 77 is not in images\.txt"),
        ("image_class_labels", 5, "", r"image_class_labels\.txt: no line for image 5 \('002.Bird_2/Bird_2_0001.jpg'\)"),
        ("train_test_split", 6, "6 2", r"train_test_split\.txt:6: split '2'; expected 1 for training or 0 for test"),
        ("train_test_split", 6, "", r"train_test_split\.txt: no line for image 6"),
        ("bounding_boxes", 1, "1 5 5 0 9", r"bounding_boxes\.txt:1: box x=5 y=5 width=0 height=9 has no width"),
        ("bounding_boxes", 1, "1 5 5 9 -1", r"bounding_boxes\.txt:1: .* has no height"),
        ("bounding_boxes", 1, "1 5 nan 9 9", r"bounding_boxes\.txt:1: 'nan' is not a finite number"),
        ("bounding_boxes", 1, "1 5 5 9", r"bounding_boxes\.txt:1: 3 numbers for a box"),
        ("classes", 3, "5 004.Owl", r"classes\.txt: classes are numbered \[1, 2, 5\]"),
        ("classes", 3, "2 004.Owl", r"classes\.txt:3: class 2 is listed twice"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(root: Path, name: str, line: int, text: str, refusal: str) -> None:
    replace_line(root / f"{name}.txt", line, text)
    with pytest.raises(DataError, match=refusal):
        read_dataset(root, name="cub")


@pytest.mark.parametrize("name", ["classes", "images", "image_class_labels", "train_test_split"])
def test_a_missing_list_is_named(root: Path, name: str) -> None:
    (root / f"{name}.txt").unlink()
    with pytest.raises(DataError, match=rf"{name}\.txt: no such file"):
        read_dataset(root, name="cub")


def test_a_list_that_is_not_text_is_refused(root: Path) -> None:
    (root / "images.txt").write_bytes(b"1 a.jpg\n2 \xff\xfe.jpg\n")
    with pytest.raises(DataError, match=r"images\.txt:2: not UTF-8 text"):
        read_dataset(root)


def test_a_line_without_end_is_refused(root: Path) -> None:
    (root / "images.txt").write_bytes(b"1 " + b"a" * 2**21)
    with pytest.raises(DataError, match=r"images\.txt:1: a line of more than 1048576 bytes"):
        read_dataset(root)


def test_a_split_without_pictures_is_refused(root: Path) -> None:
    path = root / "train_test_split.txt"
    path.write_text("".join(f"{line.split()[0]} 1\n" for line in path.read_text().splitlines()))
    with pytest.raises(DataError, match="the split 'test' has no pictures"):
        read_dataset(root)


def test_a_missing_split_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'; available: train, test"):
        read_dataset(root, split="val")
