"""Pseudo boxes fit the object in the picture, although its map is blurred."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_sets import write_folder
from tscam.boxes import boxes_above
from tscam.datasets import read_dataset
from tscam.evaluation.map_sources import MappedSplit, SavedMaps
from tscam.evaluation.pseudo_boxes import pseudo_mask, with_pseudo_boxes
from tscam.evaluation.score_maps import map_path, write_map
from tscam.metrics.overlap import overlaps

SIDE = 224


def bright_on_dark(box: tuple[int, int, int, int], size_wh: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Return a picture of two colours with noise."""
    width, height = size_wh
    pixels = np.random.default_rng(0).normal((30, 45, 40), 6, size=(height, width, 3))
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] += (190, 150, 20)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def blurred(box: tuple[int, int, int, int], *, blur: float = 18) -> np.ndarray:
    """Return a map that is highest inside the box, and above 0.1 far outside it."""
    map_ = np.zeros((SIDE, SIDE), dtype=np.float32)
    x0, y0, x1, y1 = box
    map_[y0:y1, x0:x1] = 1
    wide = np.asarray(cv2.GaussianBlur(map_, (0, 0), blur))
    return (wide - wide.min()) / (wide.max() - wide.min())


def mask_box(mask: np.ndarray) -> list[float]:
    box: list[float] = boxes_above(mask.astype(np.float32), threshold=0.5)[0].tolist()
    return box


@pytest.mark.parametrize("box", [(60, 50, 150, 170), (20, 90, 100, 140), (120, 10, 200, 90)])
def test_the_mask_fits_the_object_although_the_map_is_blurred(box: tuple[int, int, int, int]) -> None:
    map_ = blurred(box)
    map_box = boxes_above(map_, threshold=0.1)[0]
    assert np.abs(map_box - box).max() > 15
    mask = pseudo_mask(bright_on_dark(box), map_)
    assert set(np.unique(mask)) == {0, 1}
    # Half of the blur starts as probable object, and some of the background beside the object remains in the mask.
    both = np.array([mask_box(mask), map_box])
    (mask_iou,), (map_iou,) = overlaps(both, np.array([box], dtype=float), edges="half-open").iou.tolist()
    assert mask_iou > 0.8 > 0.7 > map_iou


def test_a_picture_always_gives_the_same_mask_whatever_the_generators_state() -> None:
    box = (60, 50, 150, 170)
    picture, map_ = bright_on_dark(box), blurred(box)
    first = pseudo_mask(picture, map_)
    cv2.setRNGSeed(77)
    cv2.randu(np.zeros(5, dtype=np.uint8), np.array(0.0), np.array(255.0))
    assert np.array_equal(pseudo_mask(picture, map_), first)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_the_mask_of_a_flat_map_is_everything_or_nothing(value: float) -> None:
    map_ = np.full((30, 40), value, dtype=np.float32)
    mask = pseudo_mask(bright_on_dark((5, 5, 20, 20), (40, 30)), map_)
    assert mask.tolist() == np.full((30, 40), int(value >= 0.2)).tolist()


def test_the_mask_of_a_map_without_a_certain_pixel_is_its_probable_part() -> None:
    map_ = np.zeros((30, 40), dtype=np.float32)
    map_[3:9, 4:17] = 0.4
    assert mask_box(pseudo_mask(bright_on_dark((5, 5, 20, 20), (40, 30)), map_)) == [4, 3, 17, 9]


def one_picture(folder: Path, box: tuple[int, int, int, int], map_: np.ndarray) -> MappedSplit:
    """Write a data set of one picture of 448 by 112; the box of its object is in pixels of the square view."""
    write_folder(folder / "data", class_names=("cat",), splits={"val": 1}, boxes=None)
    dataset = read_dataset(folder / "data")
    x0, y0, x1, y1 = box
    pixels = bright_on_dark((2 * x0, y0 // 2, 2 * x1, y1 // 2), (448, 112))
    Image.fromarray(pixels).save(dataset.path(0))
    write_map(map_path(folder / "maps", dataset.image_ids[0]), map_)
    return MappedSplit(dataset=dataset, maps=SavedMaps(folder=folder / "maps"))


def pseudo_box(split: MappedSplit) -> np.ndarray:
    """Return the pseudo box of the only picture."""
    boxes = with_pseudo_boxes(split).dataset.boxes
    assert boxes is not None
    assert len(boxes) == 1
    return boxes[0]


def test_the_box_is_the_objects_in_pixels_of_the_picture(tmp_path: Path) -> None:
    box = (60, 50, 150, 170)
    split = one_picture(tmp_path, box, blurred(box))
    first, second = pseudo_box(split), pseudo_box(split)
    assert np.abs(first - [[120, 25, 300, 85]]).max() <= 4  # two pixels of the view are four of its width
    assert np.array_equal(first, second)
    assert split.dataset.boxes is None
    assert with_pseudo_boxes(split).dataset.image_ids == split.dataset.image_ids


def test_true_boxes_are_replaced_and_do_not_change_the_pseudo_box(tmp_path: Path) -> None:
    box = (60, 50, 150, 170)
    split = one_picture(tmp_path, box, blurred(box))
    true = (np.array([[0.0, 0.0, 3.0, 3.0], [1.0, 2.0, 9.0, 9.0]]),)
    with_true = replace(split, dataset=replace(split.dataset, boxes=true))
    assert np.array_equal(pseudo_box(with_true), pseudo_box(split))


def test_the_box_of_a_flat_map_is_the_whole_picture(tmp_path: Path) -> None:
    split = one_picture(tmp_path, (60, 50, 150, 170), np.zeros((SIDE, SIDE), dtype=np.float32))
    assert pseudo_box(split).tolist() == [[0, 0, 448, 112]]
