"""The pictures of the demo are always the same, and their boxes enclose the beetles; its folder has a free name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tscam.datasets import check_dataset, read_dataset
from tscam.errors import OutputError
from tscam.recipe import train_config
from tscam.verbs import demo_pictures
from tscam.verbs.demo import _free_name, run_demo
from tscam.verbs.demo_pictures import draw_beetles, draw_pictures

CLASSES = tuple(sorted(demo_pictures._PATTERNS))
BLUR = 3  # pixels that the softened rim of a beetle may reach beyond its box


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pictures of each class instead of 75."""
    monkeypatch.setattr(demo_pictures, "_PICTURES", {"train": 2, "test": 1})


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


@pytest.mark.usefixtures("few")
def test_the_pictures_are_the_same_at_every_call(tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw_pictures(tmp_path / name)
    one, two = (
        {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.*")}
        for root in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    assert len(one) == 3 * len(CLASSES) + 1
    assert len(set(one.values())) == len(one)


@pytest.mark.usefixtures("few")
def test_the_pictures_are_a_usable_dataset_with_a_box_each(tmp_path: Path) -> None:
    draw_pictures(tmp_path)
    checked = check_dataset(tmp_path)
    assert checked.usable
    assert (checked.name, checked.classes) == ("folder", len(CLASSES))
    train, test = checked.splits
    assert (train.split, train.pictures, train.with_boxes) == ("train", 2 * len(CLASSES), 2 * len(CLASSES))
    assert (test.split, test.pictures, test.with_boxes) == ("test", len(CLASSES), len(CLASSES))
    assert not checked.shared
    assert not checked.untrained_classes
    for split in checked.splits:
        assert not split.boxes_outside
        assert not split.boxes_without_area
    assert read_dataset(tmp_path, split="train").class_names == CLASSES


def test_the_recipe_of_the_demo_fits_its_pictures(tmp_path: Path) -> None:
    config = train_config("demo/vit-tiny", data=tmp_path, out=tmp_path)
    assert (config.weights, config.device) == ("none", "cpu")
    assert config.image_size % int(config.backbone_args["patch_size"]) == 0


@pytest.mark.parametrize("seed", range(8))
def test_all_differences_between_classes_are_inside_the_box(seed: int) -> None:
    drawn = [draw_beetles([name], np.random.default_rng(seed)) for name in CLASSES]
    boxes = {box for _, (box,) in drawn}
    assert len(boxes) == 1
    x0, y0, x1, y1 = (int(edge) for edge in boxes.pop())
    width, height = drawn[0][0].size
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height

    stack = np.stack([np.asarray(picture).astype(int) for picture, _ in drawn])
    differing = np.ptp(stack, axis=0).max(axis=2) > 12  # Mask of pixels that depend on the class.
    rows, columns = np.nonzero(differing)
    assert x0 - BLUR <= columns.min()
    assert columns.max() < x1 + BLUR
    assert y0 - BLUR <= rows.min()
    assert rows.max() < y1 + BLUR
    # Classes differ in the body; the box is larger only by legs and antennae.
    body = (np.ptp(columns) + 1) * (np.ptp(rows) + 1)
    assert 0.5 < body / ((x1 - x0) * (y1 - y0)) <= 1.15
    # The rest of the picture is meadow.
    assert (x1 - x0) * (y1 - y0) < 0.75 * width * height


@pytest.mark.parametrize("seed", range(4))
def test_two_beetles_in_a_picture_are_side_by_side_with_a_box_each(seed: int) -> None:
    picture, (left, right) = draw_beetles(["bee", "ladybird"], np.random.default_rng(seed))
    other, boxes = draw_beetles(["bee", "blue leaf beetle"], np.random.default_rng(seed))
    assert boxes == [left, right]
    assert 0 <= left[0] < left[2] <= picture.width / 2 + 20
    assert picture.width / 2 - 20 <= right[0] < right[2] <= picture.width
    assert left[2] <= right[0] + 20
    # Only the right one is of another class.
    differing = (np.asarray(picture).astype(int) - np.asarray(other)).any(axis=2)
    columns = np.nonzero(differing.any(axis=0))[0]
    assert right[0] - BLUR <= columns.min()
    assert columns.max() < right[2] + BLUR


@pytest.mark.usefixtures("few")
def test_the_boxes_on_disk_are_those_of_the_drawings(tmp_path: Path) -> None:
    draw_pictures(tmp_path)
    dataset = read_dataset(tmp_path, split="test")
    assert dataset.boxes is not None
    random = np.random.default_rng(demo_pictures._SEED)
    drawn = [draw_beetles([name], random) for name in demo_pictures._PATTERNS for _ in range(2)]
    expected = {name: draw_beetles([name], random) for name in demo_pictures._PATTERNS}
    assert len(drawn) == 2 * len(CLASSES)
    for index, label in enumerate(dataset.labels.tolist()):
        picture, (box,) = expected[dataset.class_names[label]]
        assert dataset.boxes[index].tolist() == [list(box)]
        np.testing.assert_array_equal(pixels(dataset.path(index)), np.asarray(picture))


def test_the_demo_takes_the_next_free_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("tscam-demo")
    assert _free_name(path) == path
    path.mkdir()
    assert _free_name(path) == Path("tscam-demo-2")
    Path("tscam-demo-2").write_text("a file takes a name as well")
    Path("tscam-demo-4").mkdir()
    assert _free_name(path) == Path("tscam-demo-3")


def test_a_folder_with_files_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
