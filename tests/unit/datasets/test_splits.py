"""Folders of splits have the names that people give them, in any case; inside, a split is train, val or test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data_sets import write_folder, write_imagenet, write_wsol
from tiny_runs import splits_of
from tscam.config import TrainConfig
from tscam.datasets import check_dataset, dataset_readers, read_dataset, recognize
from tscam.errors import DataError

SPELLINGS = {
    "train": ("Train", "training", "TRAINING"),
    "val": ("valid", "Validation", "VAL"),
    "test": ("testing", "Test", "TEST"),
}


def folder(root: Path) -> Path:
    write_folder(root, splits={"train": 3, "val": 2, "test": 1}, boxes=None)
    return root


def imagenet(root: Path) -> Path:
    write_imagenet(root)
    for path in sorted((root / "ILSVRC2012_list").iterdir()):
        path.unlink()
    (root / "ILSVRC2012_list").rmdir()
    return root


def wsol(root: Path) -> Path:
    write_wsol(root)
    return root / "metadata" / "CUB"


LAYOUTS: dict[str, Callable[[Path], Path]] = {"folder": folder, "imagenet": imagenet, "wsol": wsol}


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_spelling_of_a_split_is_read_as_its_common_name(tmp_path: Path, name: str, number: int) -> None:
    parent = LAYOUTS[name](tmp_path)
    before = {split: read_dataset(tmp_path, split=split) for split in dataset_readers[name].splits(tmp_path)}
    for split, spellings in SPELLINGS.items():
        if split in before:
            (parent / split).rename(parent / "in between")  # Some disks take two names for one.
            (parent / "in between").rename(parent / spellings[number])
    assert recognize(tmp_path) == name
    assert dataset_readers[name].splits(tmp_path) == tuple(before)
    for split, dataset in before.items():
        for spelling in (split, *SPELLINGS[split]):
            read = read_dataset(tmp_path, split=spelling)
            assert (read.split, len(read), read.class_names) == (split, len(dataset), dataset.class_names)
            assert read.path(0).is_file()
    assert check_dataset(tmp_path).usable


def test_a_validation_folder_chooses_the_epoch_and_nothing_is_held_out_of_the_training_pictures(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "val").rename(tmp_path / "validation")
    splits = splits_of(TrainConfig(data=tmp_path, out=tmp_path / "run"))
    assert splits.choosing is not None
    assert (len(splits.training), len(splits.choosing)) == (9, 6)
    assert splits.selection == "val (epoch of best top1_cls on split 'val')"


def test_boxes_may_be_in_the_folder_of_the_split_however_it_is_spelled(tmp_path: Path) -> None:
    drawn = write_folder(tmp_path, splits={"valid": 1}, boxes=None)
    rows = [f"{image_id.removeprefix('valid/')},{','.join(map(str, box))}" for image_id, box in drawn.items()]
    (tmp_path / "valid" / "boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *rows]))
    boxes = read_dataset(tmp_path).boxes
    assert boxes is not None
    assert [len(each) for each in boxes] == [1, 1, 1]


@pytest.mark.parametrize("name", LAYOUTS)
def test_two_folders_of_one_split_are_refused(tmp_path: Path, name: str) -> None:
    parent = LAYOUTS[name](tmp_path)
    (parent / "val").rename(parent / "valid")
    LAYOUTS[name](tmp_path / "again")
    (tmp_path / "again" / parent.relative_to(tmp_path) / "val").rename(parent / "val")
    with pytest.raises(DataError, match=r"'val' and 'valid' are both the split 'val'; keep one of them"):
        read_dataset(tmp_path, name=name)


def test_a_split_that_is_not_there_is_refused_by_the_name_that_was_given(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 1})
    with pytest.raises(DataError, match="no split 'Validation'; available: train"):
        read_dataset(tmp_path, split="Validation")


def test_a_class_may_have_the_name_of_a_split(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("bus", "Train", "valid"), boxes=None)
    assert read_dataset(tmp_path).class_names == ("Train", "bus", "valid")


def test_one_split_beside_its_classes_of_a_similar_name_is_read(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"test": 1}, class_names=("cat", "testing"), boxes=None)
    assert read_dataset(tmp_path).class_names == ("cat", "testing")
