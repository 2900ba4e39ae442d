"""`check_dataset` counts pictures and lists missing and broken files, boxes outside, and files shared by splits."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_sets import draw_picture, write_cub, write_folder, write_wsol
from tscam.datasets import check_dataset, read_dataset, require_usable, verify_pictures
from tscam.decoding import PixelRange
from tscam.errors import DataError
from tscam.image import image_size_wh


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_folder(tmp_path, class_names=("cat", "dog"), splits={"train": 3, "test": 2}, boxes="csv")
    return tmp_path


def add_box(root: Path, row: str) -> None:
    with (root / "boxes.csv").open("a") as file:
        file.write(f"\n{row}")


def test_a_complete_data_set_is_usable_and_counted(root: Path) -> None:
    for name in ("4.png", "5.png"):
        draw_picture(root / "train" / "dog" / name, class_id=1, seed=int(name[0]))
    report = check_dataset(root)
    assert report.usable
    assert (report.name, report.root, report.classes) == ("folder", root, 2)
    train, test = report.splits
    assert (train.split, train.pictures, train.classes, train.per_class) == ("train", 8, 2, (3, 4.0, 5))
    assert (test.split, test.pictures, test.classes, test.per_class) == ("test", 4, 2, (2, 2.0, 2))
    assert (train.with_boxes, test.with_boxes) == (6, 4)
    assert not report.shared
    assert not report.untrained_classes


def test_without_boxes_their_number_is_none(tmp_path: Path) -> None:
    write_folder(tmp_path, boxes=None)
    assert check_dataset(tmp_path).splits[0].with_boxes is None


def test_a_missing_picture_is_named_and_fatal(tmp_path: Path) -> None:
    root = write_cub(tmp_path)
    (root / "images" / "002.Bird_2" / "Bird_2_0001.jpg").unlink()
    (root / "images" / "002.Bird_2" / "Bird_2_0001.jpg").symlink_to(root / "nowhere")
    report = check_dataset(root)
    assert report.splits[0].missing == ("002.Bird_2/Bird_2_0001.jpg",)
    assert report.splits[0].unreadable == ()
    assert not report.usable


def test_a_truncated_picture_is_named_with_its_reason_and_fatal(root: Path) -> None:
    path = root / "test" / "dog" / "dog_1_0.png"
    path.write_bytes(path.read_bytes()[:-200])
    test = check_dataset(root).splits[1]
    assert [image_id for image_id, _ in test.unreadable] == ["test/dog/dog_1_0.png"]
    assert "truncated" in test.unreadable[0][1]
    assert str(root) not in test.unreadable[0][1]
    assert not check_dataset(root).usable


def test_a_split_without_pictures_is_not_usable(root: Path) -> None:
    for path in (root / "test").rglob("*.png"):
        path.unlink()
    (root / "boxes.csv").unlink()
    report = check_dataset(root)
    assert report.splits[1].per_class == (0, 0.0, 0)
    assert not report.usable


@pytest.mark.parametrize(
    ("edges", "is_outside"),
    [("0,0,{w},{h}", False), ("1,2,{w1},{h1}", False), ("-1,0,9,9", True), ("0,-0.5,9,9", True), ("0,0,{w2},9", True),
     ("0,0,9,{h2}", True)],
)  # fmt: skip
def test_a_box_may_leave_the_picture_by_its_last_pixel(root: Path, edges: str, *, is_outside: bool) -> None:
    image_id = "test/cat/cat_1_1.png"
    with Image.open(root / image_id) as picture:
        w, h = picture.size
    add_box(root, f"{image_id},{edges.format(w=w, h=h, w1=w + 1, h1=h + 1, w2=w + 2, h2=h + 2)}")
    report = check_dataset(root)
    assert report.splits[1].boxes_outside == ((image_id,) if is_outside else ())
    assert report.usable


def test_boxes_are_compared_with_the_picture_as_displayed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (80, 40)).save(tmp_path / "cat" / "turned.jpg", exif=exif)
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\ncat/turned.jpg,0,0,40,80")
    assert check_dataset(tmp_path).splits[0].boxes_outside == ()
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\ncat/turned.jpg,0,0,80,40")
    assert check_dataset(tmp_path).splits[0].boxes_outside == ("cat/turned.jpg",)


def test_a_box_without_area_is_listed(root: Path) -> None:
    add_box(root, "train/dog/dog_0_1.png,5,6,5,9")
    report = check_dataset(root)
    assert report.splits[0].boxes_without_area == ("train/dog/dog_0_1.png",)
    assert report.usable


def test_the_same_content_in_two_splits_is_listed_once_a_file(root: Path) -> None:
    (root / "boxes.csv").unlink()
    for name in ("copy.png", "again.png"):
        shutil.copy(root / "train" / "cat" / "cat_0_2.png", root / "test" / "dog" / name)
    shutil.copy(root / "train" / "cat" / "cat_0_0.png", root / "train" / "cat" / "within.png")
    report = check_dataset(root)
    assert [(copy.first_split, copy.first_image_id, copy.split, copy.image_id) for copy in report.shared] == [
        ("train", "train/cat/cat_0_2.png", "test", "test/dog/again.png"),
        ("train", "train/cat/cat_0_2.png", "test", "test/dog/copy.png"),
    ]
    assert report.usable


def test_files_of_one_size_and_different_content_are_not_the_same(tmp_path: Path) -> None:
    for split, level in (("train", 3), ("test", 4)):
        (tmp_path / split / "cat").mkdir(parents=True)
        Image.fromarray(np.full((20, 30), level, dtype=np.uint8)).save(tmp_path / split / "cat" / "a.bmp")
    assert check_dataset(tmp_path).shared == ()


def test_a_class_without_training_pictures_is_listed(root: Path) -> None:
    draw_picture(root / "test" / "emu" / "1.png", class_id=2)
    (root / "train" / "owl").mkdir()
    assert check_dataset(root).untrained_classes == ("emu", "owl")


def test_missing_masks_are_listed_and_not_fatal(tmp_path: Path) -> None:
    root = write_cub(tmp_path, masks=True)
    (root / "segmentations" / "001.Bird_1" / "Bird_1_0002.png").unlink()
    report = check_dataset(root)
    assert report.splits[1].missing_masks == ("001.Bird_1/Bird_1_0002.jpg",)
    assert report.usable


def test_a_missing_ignore_mask_is_listed_too(tmp_path: Path) -> None:
    write_wsol(tmp_path, name="OpenImages", masks=True)
    (tmp_path / "dataset" / "OpenImages" / "002.Bird_2" / "test_3_ignore.png").unlink()
    test = check_dataset(tmp_path).splits[2]
    assert test.missing_masks == ("002.Bird_2/test_3.png",)
    assert test.bad_masks == ()


def test_masks_that_do_not_fit_their_picture_are_listed_with_the_reason(tmp_path: Path) -> None:
    folder = write_cub(tmp_path, masks=True, test=3) / "segmentations" / "001.Bird_1"
    Image.new("L", (20, 30)).save(folder / "Bird_1_0002.png")
    (folder / "Bird_1_0004.png").write_bytes(b"hello")
    report = check_dataset(tmp_path)
    named = dict(report.splits[1].bad_masks)
    assert set(named) == {"001.Bird_1/Bird_1_0002.jpg", "001.Bird_1/Bird_1_0004.jpg"}
    width, height = image_size_wh(tmp_path / "images" / "001.Bird_1" / "Bird_1_0002.jpg")
    assert named["001.Bird_1/Bird_1_0002.jpg"] == (
        f"{folder / 'Bird_1_0002.png'} is 20×30, the picture {width}×{height}"
    )
    assert named["001.Bird_1/Bird_1_0004.jpg"].startswith("not a readable picture (")
    assert "test: warning: unusable mask: 001.Bird_1/Bird_1_0002.jpg (" in report.describe()
    assert report.usable


def test_a_picture_of_another_size_than_its_list_states_is_listed(tmp_path: Path) -> None:
    write_wsol(tmp_path)
    path = tmp_path / "metadata" / "CUB" / "val" / "image_sizes.txt"
    first, *rest = path.read_text().splitlines()
    image_id, width, height = first.split(",")
    path.write_text("\n".join([f"{image_id},{height},{width}", *rest]))
    report = check_dataset(tmp_path)
    assert [split.other_sizes for split in report.splits] == [(), (image_id,), ()]
    assert report.usable


def test_progress_counts_the_pictures_of_all_splits(root: Path) -> None:
    calls: list[tuple[int, int]] = []
    check_dataset(root, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 10) for done in range(1, 11)]


def test_pictures_are_verified_in_their_order_whatever_the_number_of_threads(root: Path) -> None:
    dataset = read_dataset(root, split="train")
    dataset.path(4).write_bytes(b"")
    dataset.path(1).write_bytes(b"GIF89a")
    for workers in (1, 3):
        bad = verify_pictures(dataset, workers=workers)
        assert [image_id for image_id, _ in bad] == [dataset.image_ids[1], dataset.image_ids[4]]
        assert bad[1][1] == "an empty file; expected a picture"


def test_an_unusable_split_is_refused_with_the_first_of_its_faults(root: Path) -> None:
    dataset = read_dataset(root, split="train")
    require_usable(dataset, workers=2)
    for index in range(5):
        dataset.path(index).unlink()
    refusal = (
        r"5 of 6 pictures of the split 'train' cannot be read: 'train/cat/cat_0_0.png' \(no such file\), .* and 2 more"
    )
    with pytest.raises(DataError, match=refusal):
        require_usable(dataset, workers=2)


def test_a_broken_list_ends_the_check(tmp_path: Path) -> None:
    root = write_cub(tmp_path)
    (root / "train_test_split.txt").write_text("1 x\n")
    with pytest.raises(DataError, match=r"train_test_split\.txt:1: split 'x'"):
        check_dataset(root)


def words(levels: np.ndarray, bits: int) -> Image.Image:
    """Levels 0…255 as grey that uses so many bits of 16."""
    return Image.fromarray(np.rint(levels / 255 * (2**bits - 1)).astype(np.uint16))


def test_pictures_of_more_than_eight_bits_are_counted_with_their_common_range(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, size=(20, 31), dtype=np.uint8)
    for number, bits in enumerate((10, 12, 11)):
        for name in ("cat", "dog"):
            path = tmp_path / ("train", "train", "test")[number] / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            words(levels, bits).save(path)
    draw_picture(tmp_path / "train" / "dog" / "grey.png")
    report = check_dataset(tmp_path)
    assert [split.deep for split in report.splits] == [4, 2]
    assert report.pixel_range == PixelRange(low=0.0, high=4095.0)
    assert "6 pictures of more than 8 bits: values from 0 to 4095 are black to white" in report.describe()


def test_a_data_set_of_eight_bits_has_no_range(root: Path) -> None:
    report = check_dataset(root)
    assert report.pixel_range is None
    assert "of more than 8 bits" not in report.describe()


def test_pictures_that_look_dark_are_named(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, size=(20, 31), dtype=np.uint8)
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    words(levels, 12).save(tmp_path / "cat" / "bright.png")
    words(levels, 7).save(tmp_path / "cat" / "dark.png")
    Image.fromarray(levels // 32).save(tmp_path / "dog" / "dark.png")
    Image.fromarray(levels).save(tmp_path / "dog" / "grey.png")
    spot = np.zeros((50, 50), dtype=np.uint8)
    spot[:6, :6] = 200  # more than one in a hundred pixels
    Image.fromarray(spot).save(tmp_path / "dog" / "night.png")
    Image.fromarray(np.zeros((9, 9, 4), dtype=np.uint8)).save(tmp_path / "dog" / "transparent.png")
    report = check_dataset(tmp_path)
    assert report.splits[0].dark == ("cat/dark.png", "dog/dark.png")
    assert "all: warning: looks dark, nearly all pixels are black: dog/dark.png" in report.describe()
    assert report.usable


def test_pictures_above_the_limit_are_unreadable_until_it_is_raised(root: Path) -> None:
    sizes = [image_size_wh(path) for path in root.rglob("*.png")]
    largest = max(width * height for width, height in sizes)
    report = check_dataset(root, max_pixels=largest - 1)
    assert not report.usable
    assert any(f"raise the limit: --max-pixels {largest}" in line for line in report.describe().splitlines())
    assert check_dataset(root, max_pixels=largest).usable
