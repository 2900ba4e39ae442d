"""Boxes come out in pixels of the picture as it is displayed, whatever its size, kind and neighbours in the batch."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tiny_models import STAND_IN, as_lines, draw_pictures
from tscam.errors import ConfigError
from tscam.image import InputFormat, Picture
from tscam.localization import Localization
from tscam.localizer import Localizer, find_class
from tscam.predictor import Prediction, Predictor

Rectangle = tuple[tuple[int, int], tuple[int, int]]  # rows and columns of the grid, half-open


class FixedPredictor:
    """Predicts the same for every picture: maps that are high in rectangles of a grid of 4 × 8, on 48 × 32 pixels."""

    facts = STAND_IN
    input_format = InputFormat(size_hw=(32, 48))
    label_names: tuple[str, ...] = ("cat", "dog", "emu")
    threshold = 0.25
    logits = np.array([0.5, 2.0, 1.0], dtype=np.float32)

    def __init__(self, *rectangles: Rectangle | None) -> None:
        self.rectangles = rectangles
        self.batches: list[int] = []

    def fingerprint(self) -> str:
        return "a stand-in"

    def predict(self, pixels: np.ndarray, *, top_k: int, labels: np.ndarray | None = None) -> list[Prediction]:
        self.batches.append(len(pixels))
        likely = np.argsort(-self.logits)[:top_k]
        predictions = []
        for label in [None] * len(pixels) if labels is None else labels:
            classes = likely if label is None else np.append(likely, label)
            # The first rectangle is that of the likeliest class, dog, the second that of emu, the third that of cat.
            maps = np.stack([self.raw_map(self.rectangles[(class_id - 1) % 3]) for class_id in classes])
            predictions.append(Prediction(logits=self.logits, classes=classes, maps=maps))
        return predictions

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

    def fingerprint(self) -> str:
        return "a stand-in"

    def predict(self, pixels: np.ndarray, *, top_k: int, labels: np.ndarray | None = None) -> list[Prediction]:
        assert (top_k, labels) == (1, None)
        mean, std = (np.array(values)[:, None, None] for values in (self.input_format.mean, self.input_format.std))
        predictions = []
        for view in pixels:
            brightness = (view * std + mean).mean(axis=0)
            grid = brightness.reshape(8, 8, 8, 8).mean(axis=(1, 3)).astype(np.float32)
            logits = np.array([brightness.mean(), 0], dtype=np.float32)
            predictions.append(Prediction(logits=logits, classes=np.array([0]), maps=grid[None]))
        return predictions


def naive_span(cells: tuple[int, int], count: int, view: int, picture: int, threshold: float) -> tuple[float, float]:
    """Edges of the part above the threshold along one axis, scaled to the picture."""
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
    predictor = FixedPredictor((rows, columns))
    assert isinstance(predictor, Predictor)
    [localization] = Localizer(predictor)([tmp_path / "x.png"], threshold=threshold)
    level = 0.25 if threshold is None else threshold
    x0, x1 = naive_span(columns, 8, 48, size_wh[0], level)
    y0, y1 = naive_span(rows, 4, 32, size_wh[1], level)
    assert (localization.image, localization.width, localization.height, localization.status) == (
        str(tmp_path / "x.png"),
        *size_wh,
        "ok",
    )
    assert localization.objects[0].box == pytest.approx((x0, y0, x1, y1), abs=1e-9)
    assert (localization.objects[0].label, localization.objects[0].class_id, localization.reason) == ("dog", 1, "")


def test_a_lower_threshold_gives_a_larger_box(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60)).save(tmp_path / "x.png")
    localizer = Localizer(FixedPredictor(((1, 3), (2, 5))))
    loose, stored, tight = (localizer([tmp_path / "x.png"], threshold=level)[0] for level in (0.1, None, 0.9))
    for outer, inner in ((loose, stored), (stored, tight)):
        (x0, y0, x1, y1), (u0, v0, u1, v1) = outer.objects[0].box, inner.objects[0].box
        assert x0 < u0 < u1 < x1
        assert y0 < v0 < v1 < y1


def test_the_most_likely_classes_come_first_with_their_probability_and_their_own_map(tmp_path: Path) -> None:
    Image.new("RGB", (480, 320)).save(tmp_path / "x.png")
    localizer = Localizer(FixedPredictor(((0, 4), (0, 2)), ((0, 4), (6, 8)), None))
    [localization] = localizer([tmp_path / "x.png"], top_k=3)
    assert [obj.label for obj in localization.objects] == ["dog", "emu"]  # The map of the cat is flat.
    whole = sum(np.exp([0.5, 2.0, 1.0]))
    assert [obj.score for obj in localization.objects] == pytest.approx(np.exp([2.0, 1.0]) / whole)
    left, right = (obj.box for obj in localization.objects)
    assert (left[0], right[2]) == (0, 480)
    assert left[2] < 240 < right[0]
    assert localization.maps.keys() == {1, 2}
    assert localization.maps[2].levels.tolist() == [[0, 0, 0, 0, 0, 0, 255, 255]] * 4
    assert (localization.maps[2].low, localization.maps[2].high) == (-2.0, 3.0)


def test_a_flat_map_is_no_object_and_says_so(tmp_path: Path) -> None:
    Image.new("RGB", (31, 20)).save(tmp_path / "x.png")
    [localization] = Localizer(FixedPredictor(None))([tmp_path / "x.png"])
    assert (localization.status, localization.objects, localization.reason) == (
        "ok",
        (),
        "the maps are flat: nothing stands out",
    )
    assert (localization.width, localization.height) == (31, 20)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, float("nan")])
def test_a_threshold_that_is_no_fraction_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="expected a fraction"):
        Localizer(FixedPredictor(None))([], threshold=threshold)


# A bright rectangle of whole patches on a dark picture of 160 × 80, as it is displayed.
BRIGHT = (20, 50, 60, 70)
PATCH_WH = (20, 10)
DISPLAYED = np.full((80, 160), 10, dtype=np.uint8)
DISPLAYED[50:70, 20:60] = 240

# Stored pixels of a camera: each orientation turns them into the displayed ones.
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


def assert_bright_is_found(localization: Localization) -> None:
    """Assert that the box encloses the bright rectangle with less than a patch on each side."""
    assert (localization.width, localization.height, localization.status) == (160, 80, "ok")
    box = localization.objects[0].box
    distances = [sign * (edge - of) for sign, edge, of in zip((-1, -1, 1, 1), box, BRIGHT, strict=True)]
    assert all(0 <= distance < patch for distance, patch in zip(distances, PATCH_WH * 2, strict=True)), box


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_the_box_lies_in_the_picture_as_it_is_displayed(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).convert("RGB").save(path, exif=exif)
    [localization] = Localizer(BrightnessPredictor())([path])
    assert_bright_is_found(localization)


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
    [localization] = Localizer(BrightnessPredictor())([save_odd_picture(kind, tmp_path)])
    assert_bright_is_found(localization)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_bad_pictures_are_reported_in_order_and_change_no_other(tmp_path: Path, batch_size: int) -> None:
    good = draw_pictures(tmp_path, 5)
    truncated, empty, missing = (tmp_path / name for name in ("truncated.png", "empty.jpg", "missing.png"))
    truncated.write_bytes(good[0].read_bytes()[:-300])
    empty.touch()
    mixed = [good[0], truncated, good[1], good[2], empty, missing, good[3], good[4]]
    localizer = Localizer(BrightnessPredictor(), batch_size=batch_size)
    localizations = localizer(mixed)
    assert [localization.image for localization in localizations] == list(map(str, mixed))
    assert as_lines([localizations[at] for at in (0, 2, 3, 6, 7)]) == as_lines(Localizer(BrightnessPredictor())(good))
    for at, reason in ((1, "truncated"), (4, "an empty file; expected a picture"), (5, "cannot be opened")):
        bad = localizations[at]
        assert (bad.status, bad.width, bad.height, bad.objects) == ("bad_image", 0, 0, ())
        assert bad.reason.startswith(f"{mixed[at]}: ")
        assert reason in bad.reason
        assert "\n" not in bad.reason


def test_bad_pictures_alone_never_reach_the_network(tmp_path: Path) -> None:
    predictor = FixedPredictor(None)
    localizations = Localizer(predictor, batch_size=2)([tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"])
    assert [localization.status for localization in localizations] == ["bad_image"] * 3
    assert predictor.batches == []


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (2, 4), (4, 0), (50, 3)])
def test_batches_and_threads_change_no_result(tmp_path: Path, batch_size: int, workers: int) -> None:
    paths = draw_pictures(tmp_path, 7)
    expected = [Localizer(BrightnessPredictor())([path])[0].to_json() for path in paths]
    assert len(set(expected)) == 7
    assert as_lines(Localizer(BrightnessPredictor(), batch_size=batch_size, workers=workers)(paths)) == expected


def test_pictures_are_taken_as_they_are_needed(tmp_path: Path) -> None:
    paths = draw_pictures(tmp_path, 3)
    taken: list[Path] = []

    def endless() -> Iterator[Path]:
        for path in itertools.cycle(paths):
            taken.append(path)
            yield path

    predictor = FixedPredictor(((0, 2), (0, 2)))
    localizations = Localizer(predictor, batch_size=4).stream(endless())
    assert not taken
    for number in range(1, 20):
        assert next(localizations).image == str(paths[(number - 1) % 3])
        assert len(taken) <= number + 3 * 4
    assert predictor.batches == [4] * 5
    localizations.close()  # type: ignore[attr-defined]


def test_no_pictures_give_nothing() -> None:
    assert Localizer(FixedPredictor(None))([]) == []
    assert Localizer(FixedPredictor(None))([], labels=[]) == []


def as_sources(path: Path) -> dict[str, Picture]:
    """The sources of one picture, by name."""
    with Image.open(path) as opened:
        picture = opened.copy()
    return {
        "path": path, "text": str(path), "bytes": path.read_bytes(), "PIL": picture, "array": np.asarray(picture),
    }  # fmt: skip


def test_one_picture_gives_one_localization_and_a_list_a_list_in_whatever_way_it_is_given(tmp_path: Path) -> None:
    (path,) = draw_pictures(tmp_path, 1)
    localizer = Localizer(BrightnessPredictor())
    expected = localizer(path)
    assert isinstance(expected, Localization)
    assert (expected.image, len(expected.objects)) == (str(path), 1)
    for kind, picture in as_sources(path).items():
        single = localizer(picture)
        assert isinstance(single, Localization)
        assert single.image == (str(path) if kind in ("path", "text") else ""), kind
        assert replace(single, image=str(path)).to_json() == expected.to_json(), kind
        assert as_lines(localizer([picture])) == as_lines(localizer((picture,))) == [single.to_json()], kind
        assert as_lines(list(localizer.stream([picture]))) == [single.to_json()], kind
    several = localizer(iter(as_sources(path).values()))
    assert [localization.image for localization in several] == [str(path), str(path), "", "", ""]
    assert len({replace(localization, image="").to_json() for localization in several}) == 1


def test_a_string_is_a_path_and_not_its_letters(tmp_path: Path) -> None:
    localizer, path = Localizer(BrightnessPredictor()), str(tmp_path / "gone.png")
    for localization in (localizer(path), *localizer.stream(path)):
        assert (localization.status, localization.image) == ("bad_image", path)


def test_a_bad_picture_in_memory_is_reported_like_a_bad_file(tmp_path: Path) -> None:
    (path,) = draw_pictures(tmp_path, 1)
    localizer = Localizer(BrightnessPredictor())
    bad = localizer([path.read_bytes()[:-300], np.zeros((4, 5, 3)), path, b""])
    assert [localization.status for localization in bad] == ["bad_image", "bad_image", "ok", "bad_image"]
    assert bad[0].reason.startswith("bytes: not a readable picture (")
    assert bad[1].reason.startswith("an array of 4 × 5 × 3, float64; expected height × width × 3 (RGB)")
    assert bad[3].reason == "bytes: none; expected the content of a picture file"


def test_a_known_class_is_the_object_whichever_is_the_likeliest(tmp_path: Path) -> None:
    Image.new("RGB", (480, 320)).save(tmp_path / "x.png")
    localizer = Localizer(FixedPredictor(((0, 4), (0, 2)), ((0, 4), (6, 8)), ((0, 2), (0, 8))))
    probabilities = np.exp([0.5, 2.0, 1.0]) / sum(np.exp([0.5, 2.0, 1.0]))
    for label in ("emu", 2, np.int64(2)):
        localization = localizer(tmp_path / "x.png", labels=label)
        (emu,) = localization.objects
        assert (emu.label, emu.class_id) == ("emu", 2)
        assert emu.score == pytest.approx(probabilities[2])
        assert emu.box[0] > 240
        assert localization.maps.keys() == {2}
        assert localization.maps[2].levels.tolist() == [[0, 0, 0, 0, 0, 0, 255, 255]] * 4
    cat, dog = localizer([tmp_path / "x.png"] * 2, labels=["cat", 1])
    assert [obj.label for obj in (*cat.objects, *dog.objects)] == ["cat", "dog"]
    assert [obj.score for obj in (*cat.objects, *dog.objects)] == pytest.approx(probabilities[:2])
    assert cat.objects[0].box[2] == 480
    assert dog.objects[0].box[2] < 240


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_labels_stay_with_their_pictures_beside_bad_ones(tmp_path: Path, batch_size: int) -> None:
    Image.new("RGB", (48, 32)).save(tmp_path / "x.png")
    full: Rectangle = ((0, 4), (0, 4))
    localizer = Localizer(FixedPredictor(full, full, full), batch_size=batch_size)
    pictures = [tmp_path / name for name in ("x.png", "gone.png", "x.png", "x.png", "gone.png")]
    for localizations in (
        localizer(pictures, labels=["cat", "dog", "emu", "dog", "cat"]),
        list(localizer.stream(iter(pictures), labels=iter(["cat", "dog", "emu", "dog", "cat"]))),
    ):
        assert [[obj.label for obj in one.objects] for one in localizations] == [["cat"], [], ["emu"], ["dog"], []]
        assert [one.status for one in localizations] == ["ok", "bad_image", "ok", "ok", "bad_image"]


def test_a_known_class_whose_map_is_flat_is_no_object(tmp_path: Path) -> None:
    Image.new("RGB", (48, 32)).save(tmp_path / "x.png")
    localization = Localizer(FixedPredictor(None, ((0, 1), (0, 1)), None))(tmp_path / "x.png", labels="cat")
    assert (localization.status, localization.objects, localization.reason) == (
        "ok",
        (),
        "the maps are flat: nothing stands out",
    )


REFUSED_LABELS: dict[str, tuple[Any, Any, str]] = {
    "a near miss": ("x.png", "dgo", "no class named 'dgo'; did you mean 'dog'? the model has 3, such as 'cat'"),
    "a name like none": ("x.png", "zebra", "no class named 'zebra'; the model has 3, such as 'cat'"),
    "a number too high": ("x.png", 3, "no class 3; the model has 3, numbered from 0"),
    "a number below 0": ("x.png", -1, "no class -1; the model has 3, numbered from 0"),
    "one label for a list": (["x.png"], "dog", "label 'dog' for several pictures; expected a list with one label for"),
    "a list for one picture": ("x.png", ["dog"], "labels ['dog'] for one picture; expected one label, or a list of"),
    "too few": (["x.png", "y.png"], ["dog"], "1 labels for 2 pictures; expected one for each"),
    "too many": (["x.png"], ["dog", "cat"], "2 labels for 1 pictures; expected one for each"),
    "an unknown one in a list": (["x.png", "y.png"], ["dog", "ct"], "no class named 'ct'; did you mean 'cat'?"),
}


@pytest.mark.parametrize("case", REFUSED_LABELS)
def test_labels_that_do_not_fit_are_refused_before_a_picture_is_read(case: str) -> None:
    pictures, labels, message = REFUSED_LABELS[case]
    predictor = FixedPredictor(None)
    with pytest.raises(ConfigError) as refused:
        Localizer(predictor)(pictures, labels=labels)
    assert str(refused.value).startswith(message)
    assert predictor.batches == []


@pytest.mark.parametrize(
    ("pictures", "labels", "message"),
    [
        (["x.png"] * 2, ["dog"], "1 labels and more pictures; expected one label for each picture"),
        (["x.png"], ["dog", "cat"], "1 pictures and more labels; expected one label for each picture"),
    ],
)
def test_a_stream_whose_labels_end_before_its_pictures_or_after_is_refused(
    pictures: list[str], labels: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        list(Localizer(FixedPredictor(None)).stream(iter(pictures), labels=iter(labels)))


def test_a_name_of_several_classes_is_refused_with_their_numbers() -> None:
    names = ("jay", "owl", "jay")
    with pytest.raises(ConfigError, match=r"^2 classes are named 'jay'; give the number of one: 0, 2$"):
        find_class("jay", names)
    assert [find_class(label, names) for label in ("owl", 2)] == [1, 2]
    with pytest.raises(ConfigError, match=r"^label None; expected the name of a class, or its number from 0$"):
        find_class(None, names)


def test_several_objects_of_a_known_class_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^top_k 2 beside labels; a known class is one object a picture"):
        Localizer(FixedPredictor(None)).stream(["x.png"], labels=["dog"], top_k=2)
    with pytest.raises(ConfigError, match=r"^top_k 0; expected 1 or more"):
        Localizer(FixedPredictor(None)).stream(["x.png"], top_k=0)


def test_other_types_than_pictures_are_refused_in_one_line(tmp_path: Path) -> None:
    # In a fresh interpreter, where the types of arguments are not checked.
    script = """if True:
        import sys, tscam
        from tscam.localizer import Localizer, find_class
        from tscam.image import InputFormat, Picture

        class Nothing:
            input_format, label_names, threshold = InputFormat(size_hw=(32, 48)), ("cat",), 0.5

        for pictures in (None, 5, [None], ["x.png", 5.0], bytearray(b"x")):
            try:
                Localizer(Nothing())(pictures)
            except tscam.TscamError as fault:
                print(fault)
        assert "torch" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    expected = "a picture of type {}; expected a path, bytes, a PIL picture or a NumPy array"
    assert done.stdout.splitlines() == [
        expected.format(name) for name in ("NoneType", "int", "NoneType", "float", "int")
    ]
    assert done.stderr == ""


class ProbabilityPredictor(FixedPredictor):
    """Knows one class, gives probabilities, and tells objectness."""

    facts = replace(STAND_IN, has_classifier=False, maps_are_probabilities=True, tells_objectness=True)
    label_names = ("object",)
    threshold = 0.5
    logits = np.array([-1.0], dtype=np.float32)

    @staticmethod
    def raw_map(rectangle: Rectangle | None) -> np.ndarray:
        del rectangle
        raw = np.full((4, 8), 0.05, dtype=np.float32)
        raw[0:4, 0:3] = 0.6
        raw[0:4, 5:8] = 0.9
        return raw


def test_an_objects_score_is_the_mean_probability_in_its_region() -> None:
    localization = Localizer(ProbabilityPredictor(*[None] * 3))(Image.new("RGB", (96, 64)), objects="parts")
    assert [(each.label, each.class_id) for each in localization.objects] == [("object", 0)] * 2
    right, left = localization.objects
    assert right.box[0] > left.box[2]
    # Its rim, interpolated between patches, is a little lower than its inside.
    assert 0.8 < right.score < 0.9
    assert 0.5 < left.score < 0.6
    assert localization.threshold == 0.5
    assert localization.maps.keys() == {0}


def test_one_object_is_the_default_and_of_a_classifier_every_part_has_the_score_of_the_class() -> None:
    picture = Image.new("RGB", (96, 64))
    assert len(Localizer(ProbabilityPredictor(*[None] * 3))(picture).objects) == 1
    predictor = FixedPredictor(((0, 4), (0, 3)))
    localization = Localizer(predictor)(picture, objects="parts")
    assert localization.objects[0].score == pytest.approx(np.exp(2.0) / np.exp(predictor.logits).sum())
    assert localization.objectness is None


def test_a_picture_whose_objectness_is_too_low_has_no_objects() -> None:
    localizer, picture = Localizer(ProbabilityPredictor(*[None] * 3)), Image.new("RGB", (96, 64))
    localization = localizer(picture)
    assert localization.objectness == pytest.approx(1 / (1 + np.e))
    assert len(localizer(picture, min_objectness=0.2).objects) == 1
    empty = localizer(picture, min_objectness=0.3)
    assert (empty.objects, empty.status, empty.reason) == ((), "ok", "objectness 0.27 is below 0.3")
    assert empty.maps.keys() == {0}


def test_what_no_model_or_not_this_one_can_do_is_refused() -> None:
    picture = Image.new("RGB", (96, 64))
    with pytest.raises(ConfigError, match=r"min_objectness 1.5; expected a probability between 0 and 1"):
        Localizer(ProbabilityPredictor(*[None] * 3))(picture, min_objectness=1.5)
    message = r"min_objectness 0.5: model 'a stand-in' \(method none\) tells no objectness; leave it out"
    with pytest.raises(ConfigError, match=message):
        Localizer(FixedPredictor(((0, 4), (0, 3))))(picture, min_objectness=0.5)
