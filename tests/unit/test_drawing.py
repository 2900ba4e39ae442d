"""Pictures for people, checked pixel by pixel where it matters: boxes, maps, captions, and pictures of odd shapes."""

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tscam.boxes import localization_map, mask_above
from tscam.drawing import CLASS_COLOURS, draw, draw_panel, sheet
from tscam.errors import DataError, ImageError
from tscam.geometry import Box
from tscam.localization import Localization, LocalizedObject, StoredMap

GUTTER = 16
GREY = (90, 100, 110)


def grey(width: int = 480, height: int = 330) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def fox(
    *, class_id: int = 1, label: str = "fox", score: float = 0.75, box: Box = (120.0, 90.0, 300.0, 240.0)
) -> LocalizedObject:
    return LocalizedObject(label=label, class_id=class_id, score=score, box=box)


def localized(
    *objects: LocalizedObject, picture: Image.Image | None = None, image: str = "a.png", reason: str = ""
) -> Localization:
    width, height = (picture or grey()).size
    levels = np.zeros((3, 4), dtype=np.uint8)
    levels[1, 2] = 255
    maps = {each.class_id: StoredMap(levels=levels) for each in objects}
    return Localization(image=image, width=width, height=height, status="ok", reason=reason, objects=objects, maps=maps)


def bad(reason: str = "an empty file") -> Localization:
    return Localization(image="a.png", width=0, height=0, status="bad_image", reason=reason, objects=())


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def shows(picture: Image.Image, colour: tuple[int, int, int]) -> bool:
    return bool((pixels(picture) == colour).all(axis=-1).any())


def at(picture: Image.Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(pixels(picture)[y, x].tolist())


def test_a_panel_without_anything_is_the_picture() -> None:
    assert draw_panel(grey()).tobytes() == grey().tobytes()


@pytest.mark.parametrize(
    ("picture_wh", "panel_wh"),
    [
        ((480, 330), (480, 330)),
        ((40, 30), (320, 240)),
        ((1920, 1000), (960, 500)),
        ((1000, 1920), (500, 960)),
        ((1, 1), (320, 320)),
        ((1, 2000), (48, 960)),
        ((2000, 3), (960, 48)),
        ((1, 20), (48, 320)),
    ],
)
def test_a_panel_is_scaled_to_a_size_a_person_can_see(picture_wh: tuple[int, int], panel_wh: tuple[int, int]) -> None:
    assert draw_panel(grey(*picture_wh)).size == panel_wh


def test_a_box_is_framed_on_its_own_edges_in_its_colour_between_black_lines() -> None:
    colour = CLASS_COLOURS[3]
    panel = draw_panel(grey(), boxes=[(120.0, 90.0, 300.0, 240.0)], colour=colour)
    for x, y in [(120, 90), (299, 90), (120, 239), (299, 239), (210, 90), (210, 239), (120, 150), (299, 150)]:
        assert at(panel, x, y) == colour, (x, y)
    for x, y in [(119, 150), (300, 150), (210, 89), (210, 240)]:
        assert at(panel, x, y) == (0, 0, 0), (x, y)
    for x, y in [(118, 150), (301, 150), (210, 88), (210, 241), (210, 150)]:
        assert at(panel, x, y) == GREY, (x, y)


def test_a_box_follows_the_picture_when_it_is_scaled() -> None:
    panel = draw_panel(grey(1920, 1320), boxes=[(480.0, 360.0, 1200.0, 960.0)], colour=CLASS_COLOURS[0])
    ys, xs = (pixels(panel) == CLASS_COLOURS[0]).all(axis=-1).nonzero()
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (240, 180, 600, 480)


@pytest.mark.parametrize("box", [(0.0, 0.0, 0.2, 0.2), (479.9, 329.9, 480.0, 330.0), (200.0, 100.0, 200.0, 330.0)])
def test_a_box_too_small_to_see_is_still_marked_inside_the_picture(box: Box) -> None:
    ys, xs = (pixels(draw_panel(grey(), boxes=[box])) == CLASS_COLOURS[0]).all(axis=-1).nonzero()
    assert np.ptp(xs) >= 3
    assert np.ptp(ys) >= 3


def test_true_boxes_are_dashed_in_white_and_leave_the_picture_between_the_dashes() -> None:
    row = pixels(draw_panel(grey(), true_boxes=[(120.0, 90.0, 300.0, 240.0)]))[90, 120:300]
    white = (row == 255).all(axis=-1).mean()
    bare = (row == GREY).all(axis=-1).mean()
    assert 0.4 < white < 0.8
    assert bare > 0.1


def test_the_picture_keeps_its_pixels_where_the_map_is_zero_and_glows_where_it_is_high() -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (330, 480, 3), dtype=np.uint8))
    grid = np.zeros((6, 8), dtype=np.uint8)
    grid[1, 6] = 255
    before, after = pixels(picture), pixels(draw_panel(picture, map=grid))
    assert (after[:, :240] == before[:, :240]).all()
    assert (after[220:] == before[220:]).all()
    glow = after[70:95, 375:405].mean(axis=(0, 1)) - before[70:95, 375:405].mean(axis=(0, 1))
    assert glow[0] > 40  # Inferno's top is a light yellow: red up, blue not.
    assert glow[0] > glow[2] + 40


def test_the_photograph_stays_legible_under_the_highest_map() -> None:
    before = np.random.default_rng(1).integers(0, 256, (330, 480, 3), dtype=np.uint8)
    after = pixels(draw_panel(Image.fromarray(before), map=np.full((3, 4), 255, dtype=np.uint8)))
    contrast = after.std(axis=(0, 1)) / before.std(axis=(0, 1))
    assert ((contrast > 0.25) & (contrast < 0.5)).all()


def test_a_flat_map_of_zeros_changes_nothing() -> None:
    assert draw_panel(grey(), map=np.zeros((3, 4), dtype=np.uint8)).tobytes() == grey().tobytes()


def test_a_caption_is_a_strip_below_and_says_what_it_says() -> None:
    one, other = draw_panel(grey(), caption="fox 75%"), draw_panel(grey(), caption="fox 76%")
    assert one.width == 480
    assert one.height > 330
    assert one.size == other.size
    assert one.tobytes() != other.tobytes()
    assert one.crop((0, 0, 480, 330)).tobytes() == grey().tobytes()


def test_a_longer_caption_has_more_lines_not_more_width() -> None:
    short, long = draw_panel(grey(), caption="a"), draw_panel(grey(), caption="a\n" + "long " * 500)
    assert long.width == short.width == 480
    assert long.height > short.height


def test_the_end_of_a_shortened_caption_stays_so_that_the_score_is_seen() -> None:
    label = "a very long label " * 20
    assert draw_panel(grey(), caption=label + "75%").tobytes() != draw_panel(grey(), caption=label + "12%").tobytes()


@pytest.mark.parametrize(
    "label",
    ["<b>fox</b> & co", "$x^2$ \\frac", "%s {} {0}", "fox\n\r\tden", "fox\0", "\udcff", "", " ", "x" * 100_000,
     "лиса", "αλεπού", "الثعلب", "שועל", "狐狸", "🦊", "\u202efox", "👩‍👩‍👧"],
)  # fmt: skip
def test_any_label_is_drawn_as_one_line_and_never_widens_the_picture(label: str) -> None:
    plain = draw(localized(fox(label="fox")), picture=grey())
    drawn = draw(localized(fox(label=label)), picture=grey())
    assert drawn.size == plain.size
    assert shows(drawn, CLASS_COLOURS[1])


@pytest.mark.parametrize(
    ("label", "other"), [("лиса", "лось"), ("αλεπού", "λύκος"), ("الثعلب", "الذئب"), ("<i>", "<b>")]
)
def test_other_scripts_and_markup_are_drawn_as_written(label: str, other: str) -> None:
    one, two = (draw(localized(fox(label=text)), picture=grey()).tobytes() for text in (label, other))
    assert one != two


def test_the_overview_and_a_panel_an_object_stand_beside_one_another() -> None:
    drawn = draw(localized(fox(), fox(class_id=2, label="owl")), picture=grey())
    assert drawn.width == 3 * 480 + 4 * GUTTER
    left, middle, right = (drawn.crop((x, GUTTER, x + 480, GUTTER + 330)) for x in (16, 512, 1008))
    assert shows(left, CLASS_COLOURS[1])
    assert shows(left, CLASS_COLOURS[2])
    assert shows(middle, CLASS_COLOURS[1])
    assert not shows(middle, CLASS_COLOURS[2])
    assert shows(right, CLASS_COLOURS[2])
    assert not shows(right, CLASS_COLOURS[1])


def test_the_most_likely_object_lies_on_top() -> None:
    drawn = draw(localized(fox(), fox(class_id=2)), picture=grey())
    assert at(drawn, GUTTER + 210, GUTTER + 239) == CLASS_COLOURS[1]


def test_two_classes_of_one_picture_never_share_a_colour() -> None:
    drawn = draw(localized(fox(class_id=1), fox(class_id=1 + len(CLASS_COLOURS))), picture=grey())
    panels = [drawn.crop((x, GUTTER, x + 480, GUTTER + 330)) for x in (512, 1008)]
    assert [shows(panel, CLASS_COLOURS[1]) for panel in panels] == [True, False]
    assert [shows(panel, CLASS_COLOURS[2]) for panel in panels] == [False, True]


def test_objects_of_one_class_share_a_panel() -> None:
    here, there = fox(box=(20.0, 30.0, 120.0, 130.0)), fox(box=(300.0, 200.0, 400.0, 300.0), score=0.25)
    drawn = draw(localized(here, there), picture=grey())
    assert drawn.width == 2 * 480 + 3 * GUTTER
    for x, y in [(20, 30), (119, 129), (300, 200), (399, 299)]:
        assert at(drawn, GUTTER + 480 + GUTTER + x, GUTTER + y) == CLASS_COLOURS[1], (x, y)


def test_a_thin_line_goes_around_everything_above_the_threshold() -> None:
    levels = np.zeros((11, 16), dtype=np.uint8)
    levels[3:7, 4:12] = 255
    plain, lined = (draw_panel(grey(), map=levels, threshold=threshold) for threshold in (None, 0.5))
    changed = (pixels(plain) != pixels(lined)).any(axis=-1)
    edge = mask_above(localization_map(levels.astype(np.float32), size_wh=(480, 330)), threshold=0.5)
    eroded = cv2.erode(edge, np.ones((11, 11), np.uint8))
    dilated = cv2.dilate(edge, np.ones((11, 11), np.uint8))
    assert changed[(edge > 0) & (eroded == 0)].mean() > 0.6  # the border of the region, and nothing far from it
    assert not changed[dilated == 0].any()
    assert not changed[eroded > 0].any()
    assert shows(lined, CLASS_COLOURS[0])


def test_the_line_is_drawn_at_the_threshold_of_the_localization() -> None:
    stored = StoredMap(levels=np.arange(0, 250, 10, dtype=np.uint8).reshape(5, 5))
    low, high, unknown = (
        draw(replace(localized(fox()), maps={1: stored}, threshold=threshold), picture=grey()).tobytes()
        for threshold in (0.2, 0.7, None)
    )
    assert len({low, high, unknown}) == 3


@pytest.mark.parametrize(("objects", "columns", "rows"), [(1, 2, 1), (3, 4, 1), (4, 3, 2), (6, 4, 2), (9, 4, 3)])
def test_more_than_four_panels_go_into_even_rows(objects: int, columns: int, rows: int) -> None:
    drawn = draw(localized(*[fox(class_id=number) for number in range(objects)]), picture=grey())
    captioned = draw_panel(grey(), caption="a").height
    assert drawn.size == (columns * 480 + (columns + 1) * GUTTER, rows * captioned + (rows + 1) * GUTTER)


@pytest.mark.parametrize("size", [(1600, 400), (2000, 3)])
def test_panels_of_a_very_wide_picture_stand_below_one_another(size: tuple[int, int]) -> None:
    picture = grey(*size)
    box = (400.0, 1.0, 800.0, 2.5)
    drawn = draw(localized(fox(box=box), fox(box=box), picture=picture), picture=picture)
    assert drawn.width == 960 + 2 * GUTTER


def test_a_picture_of_one_by_two_thousand_is_wide_enough_to_see_its_box_and_caption() -> None:
    picture = grey(1, 2000)
    drawn = draw(localized(fox(box=(0.0, 500.0, 1.0, 900.0)), picture=picture), picture=picture)
    assert drawn.width == 2 * 240 + 3 * GUTTER
    assert 960 < drawn.height < 1060
    panel = drawn.crop((GUTTER + 240 + GUTTER, GUTTER, drawn.width - GUTTER, GUTTER + 960))
    ys, xs = (pixels(panel) == CLASS_COLOURS[1]).all(axis=-1).nonzero()
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (96, 240, 144, 432)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_every_mode_are_drawn(mode: str) -> None:
    assert draw(localized(fox()), picture=grey().convert(mode)).mode == "RGB"


def test_the_given_picture_is_not_drawn_upon() -> None:
    picture = grey()
    draw(localized(fox()), picture=picture)
    draw_panel(picture, boxes=[(1.0, 2.0, 30.0, 40.0)], caption="a")
    assert picture.tobytes() == grey().tobytes()


def test_without_a_picture_the_file_is_read(tmp_path: Path) -> None:
    grey().save(tmp_path / "a.png")
    localization = localized(fox(), image=str(tmp_path / "a.png"))
    assert draw(localization).tobytes() == draw(localization, picture=grey()).tobytes()


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"^a\.png: 330×480 pixels, but its localization was made of 480×330; draw the picture that"
    ):
        draw(localized(fox()), picture=grey(330, 480))
    with pytest.raises(DataError, match=r"^picture: 330×480 pixels"):
        draw(localized(fox(), image=""), picture=grey(330, 480))


def test_a_picture_in_memory_is_drawn_when_it_is_given_and_refused_without_it() -> None:
    localization, file = localized(fox(), image=""), io.BytesIO()
    grey().save(file, "png")
    expected = draw(localization, picture=grey()).tobytes()
    for picture in (np.asarray(grey()), file.getvalue()):
        assert draw(localization, picture=picture).tobytes() == expected
    with pytest.raises(DataError, match=r"^a localization of a picture in memory has no file to draw; give draw the"):
        draw(localization)


def test_a_bad_picture_in_memory_is_a_plate_whether_it_is_given_or_not() -> None:
    assert draw(bad(), picture=b"no picture").tobytes() == draw(bad()).tobytes()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be opened"):
        draw(localized(fox(), image=str(tmp_path / "a.png")))


def test_a_picture_without_objects_is_shown_with_the_reason() -> None:
    one, other = (draw(localized(reason=text), picture=grey()) for text in ("the map is flat", "the map is dull"))
    assert one.crop((GUTTER, GUTTER, GUTTER + 480, GUTTER + 330)).tobytes() == grey().tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_bad_picture_is_a_plate_with_the_reason_in_as_many_lines_as_it_needs() -> None:
    short, long = draw(bad()), draw(bad("a reason of many words " * 8))
    assert short.width == long.width == 480 + 2 * GUTTER
    assert short.height < long.height < short.height + 200
    assert draw(bad("x" * 3000)).width == short.width
    assert draw(bad(""), picture=grey()).crop((16, 16, 496, 346)).tobytes() == grey().tobytes()


def test_scores_are_whole_percents_that_never_claim_certainty() -> None:
    def same(one: float, other: float) -> bool:
        return draw(localized(fox(score=one)), picture=grey()).tobytes() == (
            draw(localized(fox(score=other)), picture=grey()).tobytes()
        )

    assert same(0.749, 0.751)
    assert same(0.0001, 0.0099)
    assert not same(0.0001, 0.0)
    assert same(0.9901, 0.99999)
    assert not same(0.99999, 1.0)


def test_a_sheet_has_even_gutters_around_panels_of_unequal_size() -> None:
    sizes = [(30, 50), (70, 20), (10, 10), (44, 5), (60, 90)]
    page = sheet([Image.new("RGB", size, GREY) for size in sizes], columns=3)
    assert page.size == (44 + 70 + 10 + 4 * GUTTER, 50 + 90 + 3 * GUTTER)
    lefts = (GUTTER, 44 + 2 * GUTTER, 44 + 70 + 3 * GUTTER)
    painted = np.zeros((page.height, page.width), dtype=bool)
    for number, (width, height) in enumerate(sizes):
        column, row = number % 3, number // 3
        left = lefts[column] + ((44, 70, 10)[column] - width) // 2
        top = (GUTTER, 50 + 2 * GUTTER)[row]
        painted[top : top + height, left : left + width] = True
    assert ((pixels(page) == GREY).all(axis=-1) == painted).all()
    assert (pixels(page)[~painted] == 255).all()


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one or more of each"):
        sheet([], columns=2)
    with pytest.raises(ValueError, match="expected one or more of each"):
        sheet([grey()], columns=0)


def test_labels_in_the_overview_do_not_hide_one_another() -> None:
    objects = [fox(class_id=number, label=f"class {number}") for number in range(4)]
    drawn = pixels(draw(localized(*objects), picture=grey()))[GUTTER : GUTTER + 330, GUTTER : GUTTER + 480]
    plates = [(drawn == CLASS_COLOURS[number]).all(axis=-1).sum() for number in range(1, 4)]
    assert min(plates) > 0.8 * max(plates)
