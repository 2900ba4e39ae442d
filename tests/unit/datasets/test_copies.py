"""Copies of a picture are named by check, within a split and of two classes, and never on both sides of hold_out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_sets import draw_picture, write_folder, write_imagenet
from tscam.datasets import Dataset, check_dataset, hold_out, read_dataset


def copy(root: Path, source: str, *targets: str) -> None:
    for target in targets:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / source, root / target)


def test_copies_within_a_split_are_named_once_a_file(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 3, "test": 2}, boxes=None)
    copy(tmp_path, "train/cat/cat_0_1.png", "train/cat/copy.png", "train/cat/deep/again.png")
    report = check_dataset(tmp_path)
    assert [(copy.first_image_id, copy.image_id) for copy in report.copies] == [
        ("train/cat/cat_0_1.png", "train/cat/copy.png"), ("train/cat/cat_0_1.png", "train/cat/deep/again.png"),
    ]  # fmt: skip
    assert (report.shared, report.contradictions) == ((), ())
    assert "warning: train: train/cat/cat_0_1.png and train: train/cat/copy.png are the same file" in report.describe()
    assert report.usable


@pytest.mark.parametrize("other", ["train/dog/copy.png", "test/dog/copy.png"])
def test_one_file_under_two_classes_is_named_in_one_split_and_over_two(tmp_path: Path, other: str) -> None:
    write_folder(tmp_path, splits={"train": 3, "test": 2}, boxes=None)
    copy(tmp_path, "train/cat/cat_0_1.png", other)
    report = check_dataset(tmp_path)
    assert report.contradictions == report.copies
    split = other.split("/")[0]
    assert report.shared == (report.copies if split == "test" else ())
    line = (
        f"warning: train: train/cat/cat_0_1.png and {split}: {other} are the same file, under two classes: 'cat', 'dog'"
    )
    assert report.describe().splitlines().count(line) == 1


def test_a_copy_of_another_class_than_the_first_but_not_than_the_second_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 3}, boxes=None)
    copy(tmp_path, "train/cat/cat_0_1.png", "train/cat/copy.png", "train/dog/copy.png")
    assert [copy.image_id for copy in check_dataset(tmp_path).contradictions] == ["train/dog/copy.png"]


def test_copies_of_lists_are_named_too(tmp_path: Path) -> None:
    write_imagenet(tmp_path)
    copy(tmp_path, "train/n01440764/n01440764_0.JPEG", "train/n01441764/n01441764_0.JPEG")
    assert len(check_dataset(tmp_path).contradictions) == 1


def test_files_of_one_size_and_one_beginning_are_no_copies(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for number in range(4):
        pixels = np.zeros((90, 90), dtype=np.uint8)
        pixels[0, :9] = number // 2  # BMP's rows come from the bottom: the files differ behind 4 kB.
        Image.fromarray(pixels).save(tmp_path / "cat" / f"{number}.bmp")
    assert [copy.image_id for copy in check_dataset(tmp_path).copies] == ["cat/1.bmp", "cat/3.bmp"]


# Held-out pictures


def digests(dataset: Dataset) -> set[bytes]:
    return {dataset.path(index).read_bytes() for index in range(len(dataset))}


@pytest.mark.parametrize("seed", range(12))
def test_copies_are_on_one_side(tmp_path: Path, seed: int) -> None:
    write_folder(tmp_path, class_names=("cat", "dog", "emu"), splits={"train": 10}, boxes=None)
    for name in ("cat", "dog"):
        for number in range(5):
            copy(tmp_path, f"train/{name}/{name}_0_{number}.png", f"train/{name}/copy_{number}.png")
    copy(tmp_path, "train/emu/emu_0_0.png", "train/emu/b.png", "train/emu/c.png", "train/cat/of another class.png")
    dataset = read_dataset(tmp_path, split="train")
    kept, held = hold_out(dataset, fraction=0.2, seed=seed)
    assert not digests(kept) & digests(held)
    assert sorted([*kept.image_ids, *held.image_ids]) == sorted(dataset.image_ids)
    assert abs(len(held) - 0.2 * len(dataset)) <= 3
    assert set(kept.labels.tolist()) == {0, 1, 2}
    assert [hold_out(dataset, fraction=0.2, seed=seed)[1].image_ids for _ in range(2)] == [held.image_ids] * 2


def test_copies_are_held_out_together(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("cat", "dog"), splits={"train": 4}, boxes=None)
    for name in ("cat", "dog"):
        for number in range(4):
            copy(tmp_path, f"train/{name}/{name}_0_{number}.png", f"train/{name}/copy_{number}.png")
    dataset = read_dataset(tmp_path, split="train")
    held_out = [hold_out(dataset, fraction=0.25, seed=seed)[1] for seed in range(5)]
    assert {len(part) for part in held_out} == {4}
    assert all(len(digests(part)) == 2 for part in held_out)


def test_without_copies_the_choice_is_that_of_the_seed_alone(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 10}, boxes=None)
    dataset = read_dataset(tmp_path, split="train")
    before = hold_out(dataset, fraction=0.3, seed=3)[1].image_ids
    for path in (tmp_path / "train").rglob("*.png"):
        path.unlink()
    assert hold_out(dataset, fraction=0.3, seed=3)[1].image_ids == before


def test_a_class_of_copies_alone_is_not_held_out(tmp_path: Path) -> None:
    draw_picture(tmp_path / "train" / "cat" / "a.png")
    copy(tmp_path, "train/cat/a.png", *(f"train/cat/{number}.png" for number in range(9)))
    for number in range(10):
        draw_picture(tmp_path / "train" / "dog" / f"{number}.png", class_id=1, seed=number)
    kept, held = hold_out(read_dataset(tmp_path, split="train"), fraction=0.5, seed=0)
    assert np.bincount(kept.labels).tolist() == [10, 10 - len(held)]
    assert set(held.labels.tolist()) == {1}
