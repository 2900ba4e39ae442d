"""Nothing vanishes: sub-folders count, and what is not read is named with its number by check, train and evaluate."""

from pathlib import Path

import numpy as np
import pytest

from data_sets import EXAMPLES, draw_picture, write_folder, write_imagenet
from tiny_models import tiny_model
from tiny_runs import splits_of
from tscam.config import EvaluateConfig, LocalizeConfig, TrainConfig
from tscam.datasets import check_dataset, dataset_readers, read_dataset
from tscam.errors import DataError
from tscam.evaluation.score_maps import map_path, write_map
from tscam.verbs.evaluate import evaluate
from tscam.verbs.localize import localize

FOREIGN = ("scan.xcf", "notes.doc", "photo.raw", "other.raw")
COUNTED = "files passed over: 2 .raw, 1 .doc, 1 .xcf"


def said_by_verbs(root: Path) -> dict[str, str]:
    """Return what check, train and evaluate say of a data set with a train and a test split."""
    dataset = read_dataset(root / "data")
    for image_id in dataset.image_ids:
        write_map(map_path(root / "maps", image_id), np.zeros((224, 224), dtype=np.float32))
    evaluation = evaluate(None, EvaluateConfig(data=root / "data", maps=root / "maps", out=root / "out"))
    return {
        "check": check_dataset(root / "data").describe(),
        "train": "\n".join(splits_of(TrainConfig(data=root / "data", out=root / "run")).notes()),
        "evaluate": evaluation.describe(),
    }


def test_pictures_in_folders_of_a_class_count_at_any_depth(tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/indoor/b.png", "cat/indoor/night/c.png", "dog/1/Annotations/d.png"):
        draw_picture(tmp_path / name)
    dataset = read_dataset(tmp_path)
    assert dataset.image_ids == ("cat/a.png", "cat/indoor/b.png", "cat/indoor/night/c.png", "dog/1/Annotations/d.png")
    assert dataset.labels.tolist() == [0, 0, 0, 1]
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\ncat/indoor/b.png,1,2,3,4\n")
    boxes = read_dataset(tmp_path).boxes
    assert boxes is not None
    assert [len(each) for each in boxes] == [0, 1, 0, 0]


def test_pictures_in_folders_of_an_imagenet_class_count_at_any_depth(tmp_path: Path) -> None:
    for name in ("train/n01443537/images/a.JPEG", "train/n01440764/b.JPEG", "val/n01443537/x/y/c.JPEG"):
        draw_picture(tmp_path / name)
    assert read_dataset(tmp_path, split="train").image_ids == ("n01440764/b.JPEG", "n01443537/images/a.JPEG")
    assert read_dataset(tmp_path, split="val").image_ids == ("n01443537/x/y/c.JPEG",)


def test_a_class_that_is_linked_into_another_one_is_not_read_twice(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("cat", "dog"), boxes=None)
    (tmp_path / "cat" / "friends").symlink_to(tmp_path / "dog")
    (tmp_path / "dog" / "all").symlink_to(tmp_path)
    assert len(read_dataset(tmp_path)) == 4


def test_files_with_another_ending_than_pictures_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"train": 5, "test": 1})
    for split in ("train", "test"):
        for number, name in enumerate(FOREIGN):
            path = tmp_path / "data" / split / ("cat" if number else "dog/deep") / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
    for verb, said in said_by_verbs(tmp_path).items():
        for split in ("train", "test") if verb != "evaluate" else ("test",):
            assert f"split {split!r}: {COUNTED}" in said, verb


def test_loose_pictures_and_folders_beside_the_splits_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"train": 5, "test": 1})
    for name in ("a.png", "train/b.png", "test/c.png", "owl/d.png", "owl/deep/e.png", "dev/cat/f.png"):
        draw_picture(tmp_path / "data" / name)
    (tmp_path / "data" / "papers").mkdir()
    for verb, said in said_by_verbs(tmp_path).items():
        assert "pictures in no folder of a class, not read: 3 (a.png, train/b.png, test/c.png)" in said, verb
        assert "folders beside the splits, not read: 'dev' (1 picture), 'owl' (2 pictures)" in said, verb
        assert "papers" not in said
        assert said.count("beside the splits") == 1


def test_loose_pictures_beside_class_folders_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path, boxes=None)
    draw_picture(tmp_path / "loose.png")
    assert read_dataset(tmp_path).notes == ("pictures in no folder of a class, not read: 1 (loose.png)",)


def test_imagenet_names_what_it_passes_over(tmp_path: Path) -> None:
    write_imagenet(tmp_path)
    for path in sorted((tmp_path / "ILSVRC2012_list").iterdir()):
        path.unlink()
    (tmp_path / "train" / "n01440764" / "x.bin").touch()
    draw_picture(tmp_path / "train" / "loose.JPEG")
    draw_picture(tmp_path / "train" / ".hidden.JPEG")
    notes = read_dataset(tmp_path, split="train").notes
    assert notes == (
        "split 'train': files passed over: 1 .bin",
        "pictures in no folder of a class, not read: 1 (train/loose.JPEG)",
    )


def test_a_data_set_of_unknown_endings_alone_is_refused_with_their_number(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "cat").mkdir(exist_ok=True)
        (tmp_path / "cat" / f"{number}.xcf").touch()
    with pytest.raises(DataError, match=r"no data set recognized; .*\(found 3 \.xcf\)"):
        read_dataset(tmp_path)


def test_a_split_of_unknown_endings_alone_is_refused_with_their_number(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 1}, boxes=None)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    (tmp_path / "test" / "cat" / "a.xcf").touch()
    with pytest.raises(DataError, match=r"the split 'test' has no pictures; files passed over: 1 \.xcf"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("folders", [("images", "labels"), ("JPEGImages", "Annotations", "ImageSets"), ("Images",)])
@pytest.mark.parametrize("split", ["", "train/"])
def test_the_folders_of_a_detection_data_set_are_no_classes(
    tmp_path: Path, folders: tuple[str, ...], split: str
) -> None:
    for name in folders:
        (tmp_path / split / name).mkdir(parents=True)
    draw_picture(tmp_path / split / folders[0] / "a.png")
    with pytest.raises(DataError, match=rf"'{folders[0]}'.* no class; expected .*<class>/ with the pictures of each"):
        read_dataset(tmp_path, name="folder", split="train" if split else None)


def test_documents_beside_the_pictures_are_not_mentioned(tmp_path: Path) -> None:
    write_folder(tmp_path, boxes="csv")
    for name in ("README.md", "LICENSE", "license.txt", "cat/readme.txt", "Thumbs.db", "cat/paper.pdf"):
        (tmp_path / name).touch()
    assert read_dataset(tmp_path).notes == ()


@pytest.mark.parametrize("splits", [None, {"train": 2, "test": 2}])
def test_what_looks_like_annotations_and_is_not_read_is_named(tmp_path: Path, splits: dict[str, int] | None) -> None:
    write_folder(tmp_path, splits=splits, boxes="csv")
    split = "test" if splits else "all"
    inside = "test/" if splits else ""
    for name in ("labels.json", "cat/boxes.txt", "labels/cat.xml"):
        (tmp_path / inside / name).parent.mkdir(exist_ok=True)
        (tmp_path / inside / name).touch()
    named = f"{inside}cat/boxes.txt, {inside}labels.json, {inside}labels/cat.xml"
    note = f"split {split!r}: looks like annotations, not read: 3 ({named})"
    assert read_dataset(tmp_path).notes == (note,)
    assert note in check_dataset(tmp_path).describe()
    if splits:
        (tmp_path / "more.csv").touch()
        assert "looks like annotations, not read: 1 (more.csv)" in read_dataset(tmp_path).notes
        assert not [note for note in read_dataset(tmp_path, split="train").notes if "'test'" in note]


@pytest.mark.parametrize("boxes", ["csv", "coco", "voc"])
def test_files_of_boxes_that_are_read_are_not_passed_over(tmp_path: Path, boxes: str) -> None:
    write_folder(tmp_path, splits={"train": 1, "test": 1}, boxes=boxes)
    assert read_dataset(tmp_path).notes == ()


def test_localize_counts_what_it_passes_over(tmp_path: Path) -> None:
    draw_picture(tmp_path / "pictures" / "a.png")
    for name in FOREIGN:
        (tmp_path / "pictures" / name).touch()
    notes: list[str] = []
    localize(
        tmp_path / "pictures", model=tiny_model(tmp_path / "model"), config=LocalizeConfig(out=tmp_path / "out"),
        on_note=notes.append,
    )  # fmt: skip
    assert notes == [f"{tmp_path / 'pictures'}: {COUNTED}"]


@pytest.mark.parametrize("name", list(dataset_readers))
def test_check_names_files_that_no_list_and_no_reader_takes(name: str, tmp_path: Path) -> None:
    EXAMPLES[name](tmp_path)
    folder = next(path for path in read_dataset(tmp_path).image_root.iterdir() if path.is_dir())
    for foreign in FOREIGN:
        (folder / foreign).touch()
    assert COUNTED in check_dataset(tmp_path).describe()


@pytest.mark.parametrize("name", ["cub", "imagenet", "wsol"])
def test_check_counts_pictures_that_are_in_no_list(name: str, tmp_path: Path) -> None:
    EXAMPLES[name](tmp_path)
    before = check_dataset(tmp_path).describe()
    assert "in no list" not in before
    folder = next(path for path in read_dataset(tmp_path).image_root.iterdir() if path.is_dir())
    draw_picture(folder / "unlisted.png")
    assert f"pictures in no list, not read: 1 ({folder.name}/unlisted.png)" in check_dataset(tmp_path).describe()
