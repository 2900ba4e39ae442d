"""ImageNet: with list files, without, and Kaggle's tree give the same columns; disagreement is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from data_sets import val_name, wnid, write_imagenet, write_kaggle_imagenet, write_xml
from tscam.datasets import Dataset, read_dataset, recognize
from tscam.errors import DataError

LISTS = "ILSVRC2012_list"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_imagenet(tmp_path / "ILSVRC2012", classes=3, train=2, val=2)


def replace_line(path: Path, number: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines))


def boxes_of(dataset: Dataset, index: int) -> list[list[float]]:
    assert dataset.boxes is not None
    boxes: list[list[float]] = dataset.boxes[index].tolist()
    return boxes


def test_labels_and_boxes_come_from_the_lists(root: Path) -> None:
    replace_line(root / LISTS / "val_folder_new.txt", 2, f"{wnid(0)}/{val_name(1)}.JPEG 0 45 49 499 162 2 69 437 207.5")
    val = read_dataset(root, split="val")
    assert val.image_ids[:2] == (f"{wnid(0)}/{val_name(0)}.JPEG", f"{wnid(0)}/{val_name(1)}.JPEG")
    assert val.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert boxes_of(val, 1) == [[45, 49, 499, 162], [2, 69, 437, 207.5]]
    assert (val.box_rule, val.threshold) == ("ilsvrc", 0.12)


def test_training_pictures_have_no_boxes(root: Path) -> None:
    train = read_dataset(root, split="train")
    assert (len(train), train.boxes) == (6, None)
    assert train.class_names == (wnid(0), wnid(1), wnid(2))
    assert train.path(5) == root / "train" / wnid(2) / f"{wnid(2)}_1.JPEG"


def test_val_is_the_test_split(root: Path) -> None:
    assert read_dataset(root).split == "val"


def test_folders_alone_give_the_same_as_the_lists(root: Path) -> None:
    with_lists = [read_dataset(root, split=split) for split in ("train", "val")]
    shutil.rmtree(root / LISTS)
    for split, before in zip(("train", "val"), with_lists, strict=True):
        dataset = read_dataset(root, split=split)
        assert dataset.image_ids == before.image_ids
        assert dataset.labels.tolist() == before.labels.tolist()
        assert dataset.class_names == before.class_names
        assert dataset.boxes is None


def test_a_list_numbers_its_classes_itself(root: Path) -> None:
    train, val = (root / LISTS / name for name in ("train.txt", "val_folder_new.txt"))
    train.write_text(f"{wnid(2)}/{wnid(2)}_0.JPEG 0\n{wnid(0)}/{wnid(0)}_1.JPEG 1\n")
    val.write_text(f"{wnid(0)}/{val_name(0)}.JPEG 1 1 2 30 31\n")
    assert read_dataset(root, split="train").class_names == (wnid(2), wnid(0))
    assert read_dataset(root, split="val").class_names == (wnid(2), wnid(0))
    assert read_dataset(root, split="val").labels.tolist() == [1]


def test_without_training_pictures_the_list_of_val_numbers_the_classes(root: Path) -> None:
    (root / LISTS / "train.txt").unlink()
    shutil.rmtree(root / "train")
    val = read_dataset(root)
    assert val.class_names == (wnid(0), wnid(1), wnid(2))
    with pytest.raises(DataError, match="no split 'train'; available: val"):
        read_dataset(root, split="train")


@pytest.mark.parametrize("folder", ["ILSVRC/Annotations/CLS-LOC/val", "Annotations/CLS-LOC/val", "Annotations/val"])
def test_official_annotations_give_boxes_without_a_shift(root: Path, folder: str) -> None:
    (root / LISTS / "val_folder_new.txt").unlink()
    write_xml(root / folder / f"{val_name(3)}.xml", [(wnid(1), (111, 108, 441, 193)), (wnid(1), (0, 7, 19, 30))])
    val = read_dataset(root)
    assert boxes_of(val, 3) == [[111, 108, 441, 193], [0, 7, 19, 30]]
    assert boxes_of(val, 0) == []


def test_kaggles_csv_gives_boxes_to_class_folders(root: Path) -> None:
    (root / LISTS / "val_folder_new.txt").unlink()
    row = f"{val_name(2)},{wnid(1)} 85 1 499 272 {wnid(1)} 3 4 50 60 "
    (root / "LOC_val_solution.csv").write_text(f"ImageId,PredictionString\n{row}\n")
    assert boxes_of(read_dataset(root), 2) == [[85, 1, 499, 272], [3, 4, 50, 60]]


@pytest.mark.parametrize("boxes", ["csv", "xml"])
def test_kaggles_flat_val_takes_labels_from_the_annotations(tmp_path: Path, boxes: str) -> None:
    drawn = write_kaggle_imagenet(tmp_path, classes=3, val=2, boxes=boxes)
    assert recognize(tmp_path) == "imagenet"
    val = read_dataset(tmp_path)
    assert val.image_ids == tuple(f"{val_name(index)}.JPEG" for index in range(6))
    assert val.labels.tolist() == [0, 1, 2, 0, 1, 2]
    for index, image_id in enumerate(val.image_ids):
        assert boxes_of(val, index) == [list(drawn[image_id])]
        assert val.path(index).is_file()


def test_a_flat_val_alone_numbers_the_classes_of_its_annotations(tmp_path: Path) -> None:
    write_kaggle_imagenet(tmp_path)
    shutil.rmtree(tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "train")
    val = read_dataset(tmp_path)
    assert val.class_names == (wnid(0), wnid(1), wnid(2))
    assert val.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_flat_val_without_labels_is_refused(tmp_path: Path) -> None:
    write_kaggle_imagenet(tmp_path)
    (tmp_path / "LOC_val_solution.csv").unlink()
    with pytest.raises(DataError, match=r"ILSVRC2012_val_00000001\.JPEG: no label; expected pictures in val/<wnid>/"):
        read_dataset(tmp_path)


def test_hidden_files_and_notes_are_not_pictures(root: Path) -> None:
    shutil.rmtree(root / LISTS)
    for name in ("._n01440764_9.JPEG", "notes.txt"):
        (root / "train" / wnid(0) / name).write_bytes(b"x")
    assert len(read_dataset(root, split="train")) == 6


@pytest.mark.parametrize(
    ("name", "text", "refusal"),
    [
        ("train.txt", "x.JPEG 0", r"train\.txt:2: 'x.JPEG 0'; expected 'wnid/name.JPEG label'"),
        ("train.txt", f"{wnid(0)}/x.JPEG", r"train\.txt:2: .* expected 'wnid/name.JPEG label'"),
        ("train.txt", f"{wnid(0)}/x.JPEG one", r"train\.txt:2: 'one' is not a whole number"),
        ("train.txt", f"{wnid(1)}/x.JPEG 0", r"train\.txt:2: label 0 is that of n01440764, but .* n01441764"),
        ("train.txt", f"{wnid(0)}/x.JPEG 5", r"train\.txt:2: label 5, but n01440764 has the label 0"),
        ("train.txt", f"{wnid(0)}/x.JPEG -1", r"train\.txt:2: label -1; expected 0 to"),
        ("train.txt", f"{wnid(7)}/x.JPEG 7", r"train\.txt: labels run from 0 to 7 with gaps"),
        ("train.txt", f"{wnid(0)}/{wnid(0)}_0.JPEG 0", r"train\.txt:2: 'n01440764/n01440764_0.JPEG' is listed twice"),
        ("train.txt", "n01440764/../../../x.JPEG 0", r"train\.txt:2: .* leads out of the data set"),
        ("train.txt", "/etc/passwd 0", r"train\.txt:2: '/etc/passwd' leads out of the data set"),
        ("val_folder_new.txt", f"{wnid(1)}/x.JPEG 3 1 2 3 4", r"val_folder_new\.txt:2: label 3; expected 0 to 2"),
        ("val_folder_new.txt", f"{wnid(0)}/x.JPEG 0 1 2 3", r"val_folder_new\.txt:2: 3 numbers after the label"),
        ("val_folder_new.txt", f"{wnid(0)}/x.JPEG 0 1 2 inf 4", r"val_folder_new\.txt:2: 'inf' is not a finite number"),
        ("val_folder_new.txt", f"{wnid(0)}/x.JPEG 0 9 2 3 4", r"val_folder_new\.txt:2: box .* runs backwards"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(root: Path, name: str, text: str, refusal: str) -> None:
    replace_line(root / LISTS / name, 2, text)
    with pytest.raises(DataError, match=refusal):
        read_dataset(root, split=name.partition("_")[0].removesuffix(".txt"))


@pytest.mark.parametrize(
    ("row", "refusal"),
    [
        (f"{val_name(0)},{wnid(0)} 1 2 3", r"csv:2: 4 values; expected 'ImageId,wnid x1 y1 x2 y2'"),
        (f"{val_name(0)},{wnid(0)} 1 2 3 4 {wnid(1)} 1 2 3 4", r"csv:2: objects of n01440764, n01441764; expected"),
        (f"{val_name(0)},", r"csv:2: objects of no class"),
        (f"{val_name(0)},{wnid(1)} 1 2 3 4", rf"{val_name(0)}\.JPEG: annotated as n01441764"),
        (f"../{val_name(0)},{wnid(0)} 1 2 3 4", r"csv:2: .* leads out of the data set"),
    ],
)  # fmt: skip
def test_a_broken_annotation_is_named(root: Path, row: str, refusal: str) -> None:
    (root / LISTS / "val_folder_new.txt").unlink()
    (root / "LOC_val_solution.csv").write_text(f"ImageId,PredictionString\n{row}\n")
    with pytest.raises(DataError, match=refusal):
        read_dataset(root)


def test_a_class_that_training_does_not_know_is_refused(root: Path) -> None:
    (root / LISTS / "val_folder_new.txt").unlink()
    (root / "val" / wnid(8)).mkdir()
    with pytest.raises(DataError, match=f"{wnid(8)} is none of the 3 classes of this data set"):
        read_dataset(root)


def test_a_million_pictures_without_boxes_share_one_empty_array(root: Path) -> None:
    replace_line(root / LISTS / "val_folder_new.txt", 1, f"{wnid(0)}/{val_name(0)}.JPEG 0")
    replace_line(root / LISTS / "val_folder_new.txt", 2, f"{wnid(0)}/{val_name(1)}.JPEG 0")
    boxes = read_dataset(root).boxes
    assert boxes is not None
    assert boxes[0] is boxes[1]
    np.testing.assert_array_equal(boxes[0], np.zeros((0, 4)))
