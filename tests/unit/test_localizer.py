"""Boxes come out in pixels of the picture as it is displayed, whatever its size, kind and neighbours in the batch."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny_models import STAND_IN, as_lines, drawn
from tscam.errors import ConfigError
from tscam.image import InputFormat
from tscam.localization import Localization
from tscam.localizer import Localizer
from tscam.predictor import Prediction, Predictor

Rectangle = tuple[tuple[int, int], tuple[int, int]]  # rows and columns of the grid, half-open


class SamePlacePredictor:
    """Sees the same in every picture: maps that are high in given rectangles, of a grid of 4 × 8 on 48 × 32 pixels."""

    facts = STAND_IN
    input_format = InputFormat(size_hw=(32, 48))
    label_names = ("cat", "dog", "emu")
    threshold = 0.25
    logits = np.array([0.5, 2.0, 1.0], dtype=np.float32)

    def __init__(self, *rectangles: Rectangle | None) -> None:
        self.rectangles = rectangles
        self.batches: list[int] = []

    def predict(self, pixels: np.ndarray, *, top_k: int, labels: np.ndarray | None = None) -> list[Prediction]:
        assert labels is None
        self.batches.append(len(pixels))
        classes = np.argsort(-self.logits)[:top_k]
        maps = np.stack([self.raw_map(self.rectangles[number]) for number in range(len(classes))])
        return [Prediction(logits=self.logits, classes=classes, maps=maps) for _ in pixels]

    @staticmethod
    def raw_map(rectangle: Rectangle | None) -> np.ndarray:
        raw = np.full((4, 8), -2.0, dtype=np.float32)
        if rectangle is not None:
            (top, bottom), (left, right) = rectangle
            raw[top:bottom, left:right] = 3.0
        return raw


class BrightnessPredictor:
    """The map of every class is the mean brightness of each patch, on a grid of 8 × 8."""

    facts = STAND_IN
    input_format = InputFormat(size_hw=(64, 64))
    label_names = ("cat", "dog")
    threshold = 0.3

    def predict(self, pixels: np.ndarray, *, top_k: int, labels: np.ndarray | None = None) -> list[Prediction]:
        assert (top_k, labels) == (1, None)
        mean, std = (np.array(values)[:, None, None] for values in (self.input_format.mean, self.input_format.std))
        found = []
        for view in pixels:
            brightness = (view * std + mean).mean(axis=0)
            grid = brightness.reshape(8, 8, 8, 8).mean(axis=(1, 3)).astype(np.float32)
            logits = np.array([brightness.mean(), 0], dtype=np.float32)
            found.append(Prediction(logits=logits, classes=np.array([0]), maps=grid[None]))
        return found


def naive_span(cells: tuple[int, int], count: int, view: int, picture: int, threshold: float) -> tuple[float, float]:
    """Edges of what lies above the threshold along one axis, scaled to the picture."""
    step = [float(cells[0] <= cell < cells[1]) for cell in range(count)]
    profile = np.interp([(pixel + 0.5) * count / view - 0.5 for pixel in range(view)], range(count), step)
    above = [pixel for pixel in range(view) if int(255 * profile[pixel]) > int(threshold * 255)]
    return above[0] / view * picture, (above[-1] + 1) / view * picture


@pytest.mark.parametrize("size_wh", [(310, 200), (61, 200), (48, 32), (500, 3), (1, 1)])
@pytest.mark.parametrize("threshold", [None, 0.6])
def test_the_box_is_the_rectangle_of_the_map_in_pixels_of_the_picture(
    tmp_path: Path, size_wh: tuple[int, int], threshold: float | None
) -> None:
    Image.new("RGB", size_wh).save(tmp_path / "x.png")
    rows, columns = (1, 3), (5, 7)
    predictor = SamePlacePredictor((rows, columns))
    assert isinstance(predictor, Predictor)
    [found] = Localizer(predictor)([tmp_path / "x.png"], threshold=threshold)
    level = 0.25 if threshold is None else threshold
    x0, x1 = naive_span(columns, 8, 48, size_wh[0], level)
    y0, y1 = naive_span(rows, 4, 32, size_wh[1], level)
    assert (found.image, found.width, found.height, found.status) == (str(tmp_path / "x.png"), *size_wh, "ok")
    assert found.objects[0].box == pytest.approx((x0, y0, x1, y1), abs=1e-9)
    assert (found.objects[0].label, found.objects[0].class_id, found.reason) == ("dog", 1, "")


def test_a_lower_threshold_gives_a_larger_box(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60)).save(tmp_path / "x.png")
    localizer = Localizer(SamePlacePredictor(((1, 3), (2, 5))))
    loose, own, tight = (localizer([tmp_path / "x.png"], threshold=level)[0] for level in (0.1, None, 0.9))
    for outer, inner in ((loose, own), (own, tight)):
        (x0, y0, x1, y1), (u0, v0, u1, v1) = outer.objects[0].box, inner.objects[0].box
        assert x0 < u0 < u1 < x1
        assert y0 < v0 < v1 < y1


def test_the_most_likely_classes_come_first_with_their_probability_and_their_own_map(tmp_path: Path) -> None:
    Image.new("RGB", (480, 320)).save(tmp_path / "x.png")
    localizer = Localizer(SamePlacePredictor(((0, 4), (0, 2)), ((0, 4), (6, 8)), None))
    [found] = localizer([tmp_path / "x.png"], top_k=3)
    assert [thing.label for thing in found.objects] == ["dog", "emu"]  # The map of the cat is flat.
    whole = sum(np.exp([0.5, 2.0, 1.0]))
    assert [thing.score for thing in found.objects] == pytest.approx(np.exp([2.0, 1.0]) / whole)
    left, right = (thing.box for thing in found.objects)
    assert (left[0], right[2]) == (0, 480)
    assert left[2] < 240 < right[0]
    assert found.maps.keys() == {1, 2}
    assert found.maps[2].levels.tolist() == [[0, 0, 0, 0, 0, 0, 255, 255]] * 4
    assert (found.maps[2].low, found.maps[2].high) == (-2.0, 3.0)


def test_a_flat_map_is_no_object_and_says_so(tmp_path: Path) -> None:
    Image.new("RGB", (31, 20)).save(tmp_path / "x.png")
    [found] = Localizer(SamePlacePredictor(None))([tmp_path / "x.png"])
    assert (found.status, found.objects, found.reason) == ("ok", (), "the maps are flat: nothing stands out")
    assert (found.width, found.height) == (31, 20)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, float("nan")])
def test_a_threshold_that_is_no_fraction_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="expected a fraction"):
        Localizer(SamePlacePredictor(None))([], threshold=threshold)


# A bright rectangle of whole patches on a dark picture of 160 × 80, as it is displayed.
BRIGHT = (20, 50, 60, 70)
PATCH_WH = (20, 10)
DISPLAYED = np.full((80, 160), 10, dtype=np.uint8)
DISPLAYED[50:70, 20:60] = 240

# What a camera stores, held so that the orientation turns it into what is displayed.
STORED = {
    1: DISPLAYED,
    2: DISPLAYED[:, ::-1],
    3: DISPLAYED[::-1, ::-1],
    4: DISPLAYED[::-1],
    5: DISPLAYED.T,
    6: np.rot90(DISPLAYED, 1),
    7: np.rot90(DISPLAYED, 2).T,
    8: np.rot90(DISPLAYED, -1),
}


def assert_bright_is_found(found: Localization) -> None:
    """The box lies around the bright rectangle, by less than a patch on each side."""
    assert (found.width, found.height, found.status) == (160, 80, "ok")
    box = found.objects[0].box
    distances = [sign * (edge - of) for sign, edge, of in zip((-1, -1, 1, 1), box, BRIGHT, strict=True)]
    assert all(0 <= distance < patch for distance, patch in zip(distances, PATCH_WH * 2, strict=True)), box


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["jpg", "png", "tiff"])
def test_the_box_lies_in_the_picture_as_it_is_displayed(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{kind}"
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).convert("RGB").save(path, exif=exif)
    [found] = Localizer(BrightnessPredictor())([path])
    assert_bright_is_found(found)


def save_odd_picture(kind: str, folder: Path) -> Path:
    """The bright rectangle as a picture that is not plain RGB."""
    grey = Image.fromarray(DISPLAYED)
    path = folder / {"CMYK": "x.jpg", "animated": "x.gif", "wrongly named": "x.gif"}.get(kind, "x.png")
    if kind == "16-bit":
        Image.fromarray(DISPLAYED.astype(np.uint16) * 257).save(path)
    elif kind == "palette":
        grey.convert("P").save(path)
    elif kind == "animated":
        grey.save(path, save_all=True, append_images=[Image.fromarray(255 - DISPLAYED)])
    elif kind == "transparent":  # On white the dark part would be bright.
        Image.merge("LA", (grey, Image.new("L", grey.size, 255))).save(path)
    elif kind == "wrongly named":
        grey.save(path, format="png")
    else:
        grey.convert(kind).save(path)
    return path


@pytest.mark.parametrize("kind", ["L", "CMYK", "16-bit", "palette", "animated", "transparent", "wrongly named"])
def test_a_picture_of_any_kind_is_localized_alike(tmp_path: Path, kind: str) -> None:
    [found] = Localizer(BrightnessPredictor())([save_odd_picture(kind, tmp_path)])
    assert_bright_is_found(found)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_bad_pictures_are_told_in_their_place_and_change_no_other(tmp_path: Path, batch_size: int) -> None:
    good = drawn(tmp_path, 5)
    truncated, empty, missing = (tmp_path / name for name in ("truncated.png", "empty.jpg", "missing.png"))
    truncated.write_bytes(good[0].read_bytes()[:-300])
    empty.touch()
    mixed = [good[0], truncated, good[1], good[2], empty, missing, good[3], good[4]]
    localizer = Localizer(BrightnessPredictor(), batch_size=batch_size)
    found = localizer(mixed)
    assert [localization.image for localization in found] == list(map(str, mixed))
    assert as_lines([found[at] for at in (0, 2, 3, 6, 7)]) == as_lines(Localizer(BrightnessPredictor())(good))
    for at, reason in ((1, "truncated"), (4, "an empty file; expected a picture"), (5, "cannot be opened")):
        bad = found[at]
        assert (bad.status, bad.width, bad.height, bad.objects) == ("bad_image", 0, 0, ())
        assert bad.reason.startswith(f"{mixed[at]}: ")
        assert reason in bad.reason
        assert "\n" not in bad.reason


def test_bad_pictures_alone_never_reach_the_network(tmp_path: Path) -> None:
    predictor = SamePlacePredictor(None)
    found = Localizer(predictor, batch_size=2)([tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"])
    assert [localization.status for localization in found] == ["bad_image"] * 3
    assert predictor.batches == []


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (2, 4), (4, 0), (50, 3)])
def test_batches_and_threads_change_no_result(tmp_path: Path, batch_size: int, workers: int) -> None:
    paths = drawn(tmp_path, 7)
    expected = [Localizer(BrightnessPredictor())([path])[0].to_json() for path in paths]
    assert len(set(expected)) == 7
    assert as_lines(Localizer(BrightnessPredictor(), batch_size=batch_size, workers=workers)(paths)) == expected


def test_pictures_are_taken_as_they_are_needed(tmp_path: Path) -> None:
    paths = drawn(tmp_path, 3)
    taken: list[Path] = []

    def endless() -> Iterator[Path]:
        for path in itertools.cycle(paths):
            taken.append(path)
            yield path

    predictor = SamePlacePredictor(((0, 2), (0, 2)))
    found = Localizer(predictor, batch_size=4).stream(endless())
    assert not taken
    for number in range(1, 20):
        assert next(found).image == str(paths[(number - 1) % 3])
        assert len(taken) <= number + 3 * 4
    assert predictor.batches == [4] * 5
    found.close()  # type: ignore[attr-defined]


def test_no_pictures_give_nothing() -> None:
    assert Localizer(SamePlacePredictor(None))([]) == []
