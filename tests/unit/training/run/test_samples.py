"""A sheet of samples shows the same pictures every time, each with its most likely class, and whether it is right."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_sets import write_folder
from tiny_models import STAND_IN, tiny_model
from tscam.checkpoints.loader import load_model
from tscam.datasets import Dataset, read_dataset
from tscam.errors import OutputError
from tscam.image import InputFormat
from tscam.predictor import Prediction
from tscam.predictors.pytorch import PyTorchPredictor
from tscam.training.run.samples import spread, write_samples

CYAN, ORANGE = (0, 224, 255), (255, 158, 40)
TILE, GUTTER = 360, 16


class LeftHalfPredictor:
    """Predicts a cat in the left half of every picture, on a grid of 4 × 6."""

    facts = STAND_IN
    input_format = InputFormat(size_hw=(32, 48))
    label_names = ("cat", "dog", "emu")
    threshold = 0.5

    def __init__(self, *, flat: bool = False) -> None:
        self.batches: list[int] = []
        self.raw = np.zeros((1, 4, 6), dtype=np.float32)
        self.raw[:, :, :3] = 0.0 if flat else 1.0

    def fingerprint(self) -> str:
        return "a stand-in"

    def predict(self, pixels: np.ndarray, *, top_k: int, labels: np.ndarray | None = None) -> list[Prediction]:
        assert (top_k, labels) == (1, None)
        self.batches.append(len(pixels))
        logits = np.array([3.0, 1.0, 1.0], dtype=np.float32)
        return [Prediction(logits=logits, classes=np.array([0]), maps=self.raw) for _ in pixels]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Four pictures of each of three classes, with boxes."""
    write_folder(tmp_path / "data", splits={"train": 1, "test": 4})
    return read_dataset(tmp_path / "data", split="test")


def labelled(*labels: int) -> Dataset:
    return Dataset(
        name="folder", split="val", root=Path("x"), image_root=Path("x"), class_names=tuple("abcdefghij"),
        image_ids=tuple(f"{number}.png" for number in range(len(labels))), labels=np.array(labels), boxes=None,
    )  # fmt: skip


def near(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Mask of pixels whose colour is this one after JPEG compression."""
    return np.asarray((np.abs(pixels.astype(int) - colour) < 48).all(axis=-1))


def tiles(path: Path, count: int) -> list[np.ndarray]:
    """The first squares of a sheet without their captions, row by row."""
    with Image.open(path) as sheet:
        assert sheet.format == "JPEG"
        pixels = np.asarray(sheet)
    # A tile is not white near its left edge, and nothing else is as high; JPEG blurs its ends.
    filled = np.concatenate([[False], (pixels[:, GUTTER + 4] < 250).any(axis=-1), [False]])
    starts, ends = np.flatnonzero(np.diff(filled.astype(int))).reshape(-1, 2).T
    tops = [(start + end - TILE) // 2 for start, end in zip(starts, ends, strict=True) if end - start > TILE - 8]
    columns = [GUTTER + column * (TILE + GUTTER) for column in range(4)]
    return [pixels[top : top + TILE, left : left + TILE] for top in tops for left in columns][:count]


def test_samples_come_from_as_many_classes_as_possible_and_from_their_middle() -> None:
    # The middle picture of a class of three.
    assert spread(labelled(0, 0, 0, 1, 1, 1, 2, 2, 2), count=3) == [1, 4, 7]
    # Ten classes of one picture: the third and the eighth are in the middle of their halves.
    assert spread(labelled(*range(10)), count=2) == [2, 7]
    # A class with too few pictures leaves the rest to the others.
    assert spread(labelled(0, 1, 1, 1, 1, 1, 1), count=4) == [0, 2, 4, 6]
    # All pictures if there are not more; sorted by class.
    assert spread(labelled(2, 0, 2, 0), count=12) == [1, 3, 0, 2]


def test_a_sheet_shows_right_boxes_cyan_and_wrong_ones_orange_with_a_frame(tmp_path: Path, dataset: Dataset) -> None:
    predictor = LeftHalfPredictor()
    write_samples(tmp_path / "sheet.jpg", predictor, dataset, threshold=0.5)
    assert predictor.batches == [12]
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width == 4 * TILE + 5 * GUTTER
    squares = tiles(tmp_path / "sheet.jpg", 12)
    has = [(bool(near(tile, CYAN).sum() > 200), bool(near(tile, ORANGE)[:, 0].mean() > 0.8)) for tile in squares]
    assert has == [(True, False)] * 4 + [(False, True)] * 8  # four of each class; only cats are right


def test_the_box_and_the_true_box_are_drawn_at_their_positions(tmp_path: Path, dataset: Dataset) -> None:
    cats = dataset.subset([0], split="val")
    write_samples(tmp_path / "sheet.jpg", LeftHalfPredictor(), cats, threshold=0.5)
    with Image.open(cats.path(0)) as picture:
        width, height = picture.size
    scale = TILE / width
    (tile,) = tiles(tmp_path / "sheet.jpg", 1)
    rows, columns = np.nonzero(near(tile, CYAN))
    # The map falls off between two patches of 8 view pixels; half of it is passed at the middle of the view.
    assert columns.min() <= 1
    assert columns.max() == pytest.approx(TILE / 2, abs=6)
    margin = (TILE - height * scale) / 2
    assert (rows.min(), rows.max()) == pytest.approx((margin, TILE - margin), abs=3)

    assert cats.boxes is not None
    x0, y0, x1, y1 = cats.boxes[0][0] * scale
    white = near(tile, (255, 255, 255))[round(margin) : round(TILE - margin)]
    right, bottom = white[round(y0) : round(y1), round(x1) - 2], white[round(y1) - 2, round(x0) : round(x1)]
    assert 0.4 < right.mean() < 0.9  # dashes
    assert 0.4 < bottom.mean() < 0.9


def test_a_dataset_without_boxes_has_no_dashes(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", boxes=None)
    dataset = read_dataset(tmp_path / "data")
    write_samples(tmp_path / "sheet.jpg", LeftHalfPredictor(), dataset, threshold=0.5)
    (tile,) = tiles(tmp_path / "sheet.jpg", 1)
    assert not near(tile[120:240], (255, 255, 255)).any()  # above and below may be the background


def test_two_sheets_of_one_model_are_the_same_file(tmp_path: Path, dataset: Dataset) -> None:
    predictor = PyTorchPredictor(load_model(tiny_model(tmp_path / "model")), device="cpu")
    for name in ("a.jpg", "b.jpg"):
        write_samples(tmp_path / "samples" / name, predictor, dataset, threshold=0.3)
    assert (tmp_path / "samples" / "a.jpg").read_bytes() == (tmp_path / "samples" / "b.jpg").read_bytes()
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("size_wh", [(1, 400), (900, 30)])
def test_a_thin_picture_has_a_tile_like_any_other(tmp_path: Path, dataset: Dataset, size_wh: tuple[int, int]) -> None:
    Image.new("RGB", size_wh, (90, 120, 90)).save(dataset.path(0))
    write_samples(tmp_path / "sheet.jpg", LeftHalfPredictor(), dataset, threshold=0.5)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width == 4 * TILE + 5 * GUTTER


def test_a_flat_map_and_a_picture_that_cannot_be_read_are_framed_as_wrong(tmp_path: Path, dataset: Dataset) -> None:
    write_samples(tmp_path / "flat.jpg", LeftHalfPredictor(flat=True), dataset, threshold=0.5)
    dataset.path(1).write_bytes(b"no picture")
    dogs = dataset.subset([1], split="val")
    write_samples(tmp_path / "bad.jpg", LeftHalfPredictor(), dogs, threshold=0.5)
    for name in ("flat.jpg", "bad.jpg"):
        (tile,) = tiles(tmp_path / name, 1)
        assert near(tile, ORANGE)[:, 0].mean() > 0.8
        assert not near(tile, CYAN).any()


def test_a_sheet_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "samples").write_text("in the way")
    with pytest.raises(
        OutputError, match=r"samples/sheet\.jpg: cannot be written \(.*\); free space, or choose"
    ) as caught:
        write_samples(tmp_path / "samples" / "sheet.jpg", LeftHalfPredictor(), dataset, threshold=0.5)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "samples").read_text() == "in the way"
