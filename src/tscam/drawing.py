"""Localization → a picture for people: boxes, maps as colours, captions. Pillow, NumPy and OpenCV's colours alone."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from tscam.boxes import region_outlines
from tscam.errors import DataError, ImageError
from tscam.geometry import Box, scale_box
from tscam.image import Picture, read_image
from tscam.lettering import LEFT_TO_RIGHT, clean, font_of_size, shortened, wrapped
from tscam.localization import Localization, LocalizedObject

Colour = tuple[int, int, int]
Edges = tuple[int, int, int, int]  # A box in whole pixels of a panel, half-open.

# Bright enough for black letters, apart from one another, and rare in nature: a class takes one by its number.
CLASS_COLOURS: tuple[Colour, ...] = (
    (0, 224, 255), (255, 92, 205), (172, 250, 40), (255, 158, 40), (120, 170, 255),
    (255, 236, 60), (0, 232, 160), (255, 110, 96), (205, 150, 255), (224, 214, 178),
)  # fmt: skip

_BLACK, _WHITE, _INK, _PLATE = (0, 0, 0), (255, 255, 255), (38, 38, 38), (232, 232, 232)
_LONGER_SIDE = (320, 960)  # Least and greatest length of a panel's longer side, in pixels.
_THINNEST = 48  # Thinner pictures are widened: a picture of 1×2000 pixels must be visible.
_NARROWEST = 240  # Room for a caption below a thin picture.
_GUTTER = 16
_SHEET_WIDTH = 2400  # Panels that do not fit beside one another go into rows.
_MOST_COLUMNS = 4
# Weight of the map's colour: none at zero, so that the photograph is untouched there; full from five eighths on.
_HEAT, _HEAT_RISE = 0.68, 1.6


def draw(localization: Localization, *, picture: Picture | None = None) -> Image.Image:
    """Draw the picture with every object's box, and beside it a panel for each class: map, boxes, label and scores.

    The line around the coloured part of the map is the threshold: inside it is the object, which a box encloses.

    A localization without objects gives one panel with the reason below it; a bad picture gives a grey plate.

    Args:
        localization: boxes in pixels of the picture as displayed.
        picture: the picture that was localized, where it was in memory or its file has moved: a path, bytes, a PIL
            picture or an array, as `Localizer` takes them; by default the file `localization.image`.

    Returns:
        RGB. Panels have a longer side of 320 to 960 pixels and stand in rows of at most four.

    Raises:
        ImageError: the picture of a localization that is not bad cannot be read.
        DataError: the picture is not of the size that the localization states; or it was in memory and is missing.
    """
    shown = _picture_of(localization, picture)
    name = clean(Path(localization.image).name) or "picture"
    if not localization.objects:
        return sheet([_without_objects(shown, name, localization.reason or "no object found")], columns=1)
    scaled = _scaled(shown)  # Once, for all panels: the picture may be large.
    objects = [
        replace(obj, box=scale_box(obj.box, from_wh=shown.size, to_wh=scaled.size)) for obj in localization.objects
    ]
    colours = _class_colours(objects)
    overview = _captioned(_overview(scaled, objects, colours), name)
    panels = [overview]
    for class_id, colour in colours.items():
        class_objects = [obj for obj in objects if obj.class_id == class_id]
        scores = ", ".join(percent(obj.score) for obj in class_objects)
        stored = localization.maps.get(class_id)
        panels.append(
            draw_panel(
                scaled,
                map=None if stored is None else stored.levels,
                threshold=localization.threshold,
                boxes=[obj.box for obj in class_objects],
                caption=f"{LEFT_TO_RIGHT}{clean(class_objects[0].label)}{LEFT_TO_RIGHT} {scores}",
                colour=colour,
            )
        )
    return sheet(panels, columns=_columns(len(panels), overview.width, shown.size))


def draw_panel(
    picture: Image.Image,
    *,
    map: UInt8[np.ndarray, "h w"] | None = None,
    threshold: float | None = None,
    boxes: Sequence[Box] = (),
    true_boxes: Sequence[Box] = (),
    caption: str = "",
    colour: Colour = CLASS_COLOURS[0],
) -> Image.Image:
    """Draw a picture under its map, with its boxes in `colour`, true boxes dashed in white, and a caption below.

    Args:
        picture: scaled until its longer side has 320 to 960 pixels.
        map: levels 0…255 on any grid that covers the whole picture; 0 leaves the photograph as it is.
        threshold: fraction of the map's maximum above which is object; a thin line is drawn around it. None draws none.
        boxes, true_boxes: `(x0, y0, x1, y1)` in pixels of `picture`, half-open.
        caption: each of its lines is shortened to the panel's width; empty gives no strip.
        colour: RGB, 0…255, of the boxes, of the line and of the mark before the caption.
    """
    panel = _scaled(picture)
    if map is not None:
        panel = _blended(panel, map)
        if threshold is not None:
            panel = _with_regions(panel, map, threshold=threshold, colour=colour)
    for box in boxes:
        _outline(panel, _on_panel(scale_box(box, from_wh=picture.size, to_wh=panel.size), panel), colour)
    for true_box in true_boxes:
        _dashes(panel, _on_panel(scale_box(true_box, from_wh=picture.size, to_wh=panel.size), panel))
    return _captioned(panel, caption, mark=colour if boxes else None)


def sheet(panels: Sequence[Image.Image], *, columns: int) -> Image.Image:
    """Arrange panels row by row on one white picture, with even gutters.

    A column is as wide as its widest panel, a row as high as its highest; a panel is centred in its column.

    Raises:
        ValueError: no panels, or less than one column.
    """
    if not panels or columns < 1:
        raise ValueError(f"{len(panels)} panels in {columns} columns; expected one or more of each")
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    widths = [max(panel.width for panel in panels[column::columns]) for column in range(len(rows[0]))]
    heights = [max(panel.height for panel in row) for row in rows]
    size = (sum(widths) + _GUTTER * (len(widths) + 1), sum(heights) + _GUTTER * (len(heights) + 1))
    page = Image.new("RGB", size, _WHITE)
    top = _GUTTER
    for row, height in zip(rows, heights, strict=True):
        left = _GUTTER
        for panel, width in zip(row, widths, strict=False):  # The last row may be shorter.
            page.paste(panel, (left + (width - panel.width) // 2, top))
            left += width + _GUTTER
        top += height + _GUTTER
    return page


def percent(score: float) -> str:
    """Whole percents that never claim certainty: `<1%` and `>99%` at the ends."""
    if 0 < score < 0.01:
        return "<1%"
    return ">99%" if 0.99 < score < 1 else f"{score:.0%}"


def _picture_of(localization: Localization, picture: Picture | None) -> Image.Image:
    if localization.status == "bad_image":
        try:
            return _empty_plate() if picture is None else read_image(picture)
        except ImageError:  # Bad in memory, too.
            return _empty_plate()
    if picture is None and not localization.image:
        raise DataError("a localization of a picture in memory has no file to draw; give draw the picture, picture=…")
    shown = read_image(localization.image if picture is None else picture, settings=localization.decode)
    stated = (localization.width, localization.height)
    if shown.size != stated:
        raise DataError(
            f"{localization.image or 'picture'}: {shown.width}×{shown.height} pixels, but its localization was made of "
            f"{stated[0]}×{stated[1]}; draw the picture that was localized"
        )
    return shown


def _empty_plate() -> Image.Image:
    plate = Image.new("RGB", (480, 270), _PLATE)
    pen = ImageDraw.Draw(plate)
    for ends in ((0, 0, *plate.size), (0, plate.height, plate.width, 0)):
        pen.line(ends, fill=_WHITE, width=3)
    return plate


def _class_colours(objects: Sequence[LocalizedObject]) -> dict[int, Colour]:
    """Give each class the colour of its number, or the next one that no class before it in the picture has."""
    taken: dict[int, int] = {}
    count = len(CLASS_COLOURS)
    for class_id in dict.fromkeys(obj.class_id for obj in objects):
        choices = [(class_id + step) % count for step in range(count)]
        taken[class_id] = next((choice for choice in choices if choice not in taken.values()), choices[0])
    return {class_id: CLASS_COLOURS[choice] for class_id, choice in taken.items()}


def _columns(count: int, width: int, picture_wh: tuple[int, int]) -> int:
    """Number of panels side by side, for rows as even as possible."""
    fitting = 1 if picture_wh[0] > 3 * picture_wh[1] else max(1, _SHEET_WIDTH // (width + _GUTTER))
    rows = math.ceil(count / min(_MOST_COLUMNS, fitting))
    return math.ceil(count / rows)


def _scaled(picture: Image.Image) -> Image.Image:
    longer = max(picture.size)
    least, most = _LONGER_SIDE
    scale = min(max(longer, least), most) / longer
    width, height = (max(_THINNEST, round(side * scale)) for side in picture.size)
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _blended(panel: Image.Image, map_: UInt8[np.ndarray, "h w"]) -> Image.Image:
    """Lay Inferno's colours on the photograph: their lightness rises with the map, whereas Turbo ends in a dark red."""
    levels = np.asarray(Image.fromarray(map_).resize(panel.size, Image.Resampling.BICUBIC))
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    weights = np.float32(_HEAT) * np.minimum(levels[..., None] * np.float32(_HEAT_RISE / 255), np.float32(1))
    pixels = np.asarray(panel) * (1 - weights) + colours * weights
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def _with_regions(
    panel: Image.Image, map_: UInt8[np.ndarray, "h w"], *, threshold: float, colour: Colour
) -> Image.Image:
    """Draw a thin line around everything above the threshold, on a black one that sets it off from the picture."""
    outlines = region_outlines(map_.astype(np.float32), size_wh=panel.size, threshold=threshold)
    pixels = np.array(panel)
    width = max(1, _line_width(panel) // 2)
    for line, thickness in ((_BLACK, width + 2), (colour, width)):
        cv2.drawContours(pixels, outlines, -1, line, thickness, cv2.LINE_AA)
    return Image.fromarray(pixels)


def _overview(panel: Image.Image, objects: Sequence[LocalizedObject], colours: dict[int, Colour]) -> Image.Image:
    """Draw all boxes, the most likely one on top, then their labels."""
    panel = panel.copy()
    corners = [_on_panel(obj.box, panel) for obj in objects]
    for obj, edges in zip(reversed(objects), reversed(corners), strict=True):
        _outline(panel, edges, colours[obj.class_id])
    plates: list[Edges] = []
    for obj, edges in zip(objects, corners, strict=True):
        plates.append(_label_plate(panel, clean(obj.label), edges, colours[obj.class_id], plates))
    return panel


def _on_panel(box: Box, panel: Image.Image) -> Edges:
    """A box in panel pixels, rounded to whole pixels, inside the panel and wide enough to be visible."""
    least = 2 * _line_width(panel)
    (x0, x1), (y0, y1) = (_span(box[axis], box[axis + 2], panel.size[axis], least) for axis in (0, 1))
    return x0, y0, x1, y1


def _span(low: float, high: float, side: int, least: int) -> tuple[int, int]:
    start, end = (min(max(round(edge), 0), side) for edge in (low, high))
    if end - start >= least:
        return start, end
    start = min(max((start + end - least) // 2, 0), side - least)
    return start, start + least


def _measure(panel: Image.Image) -> int:
    """Length that lines and letters are in proportion to: the longer side, unless the panel is thin."""
    return max(_LONGER_SIDE[0], min(max(panel.size), 4 * min(panel.size)))


def _line_width(panel: Image.Image) -> int:
    return max(2, round(_measure(panel) / 180))


def _outline(panel: Image.Image, edges: Edges, colour: Colour) -> None:
    """Draw a frame just inside the box, between two black lines that set it off from the picture."""
    x0, y0, x1, y1 = edges
    width = _line_width(panel)
    pen = ImageDraw.Draw(panel)
    pen.rectangle((x0 - 1, y0 - 1, x1, y1), outline=_BLACK)
    pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=width)
    if x1 - x0 > 2 * width and y1 - y0 > 2 * width:
        pen.rectangle((x0 + width, y0 + width, x1 - 1 - width, y1 - 1 - width), outline=_BLACK)


def _dashes(panel: Image.Image, edges: Edges) -> None:
    """Draw white dashes with black rims along the inside of the box; the picture between them stays."""
    x0, y0, x1, y1 = edges
    width = _line_width(panel)
    pen = ImageDraw.Draw(panel)
    length, step = 4 * width, 6 * width
    dashes = [(x, y, min(x + length, x1), y + width) for x in range(x0, x1, step) for y in (y0, y1 - width)]
    dashes += [(x, y, x + width, min(y + length, y1)) for y in range(y0, y1, step) for x in (x0, x1 - width)]
    for left, top, right, bottom in dashes:
        pen.rectangle((left - 1, top - 1, right, bottom), fill=_WHITE, outline=_BLACK)


def _label_plate(panel: Image.Image, label: str, edges: Edges, colour: Colour, plates: Sequence[Edges]) -> Edges:
    """Write a label beside its box, where it fits and hides no other label; returns the plate's edges."""
    font = _font(panel)
    pad = max(3, round(font.size) // 4)
    text = shortened(label, font, max(edges[2] - edges[0], panel.width * 3 // 5) - 2 * pad)
    size = (math.ceil(font.getlength(text)) + 2 * pad, sum(font.getmetrics()) + pad)
    positions = _plate_positions(size, edges, panel)
    plate = next((each for each in positions if not any(_overlap(each, other) for other in plates)), positions[0])
    pen = ImageDraw.Draw(panel)
    pen.rectangle((plate[0], plate[1], plate[2] - 1, plate[3] - 1), fill=colour, outline=_BLACK)
    pen.text((plate[0] + pad, plate[1] + pad // 2 + font.getmetrics()[0]), text, fill=_BLACK, font=font, anchor="ls")
    return plate


def _plate_positions(size: tuple[int, int], edges: Edges, panel: Image.Image) -> list[Edges]:
    """Possible positions of a plate, best first: above, inside and below the box, each at its left and right end."""
    x0, y0, x1, y1 = edges
    width, height = size
    line = _line_width(panel)
    lowest = max(panel.height - height, 0)
    lefts = [min(max(left, 0), max(panel.width - width, 0)) for left in (x0, x1 - width)]
    tops = [top for top in (y0 - height, y0 + line, y1 - line - height, y1) if 0 <= top <= lowest]
    return [(left, top, left + width, top + height) for top in tops or [min(y0, lowest)] for left in lefts]


def _overlap(one: Edges, other: Edges) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _without_objects(picture: Image.Image, name: str, reason: str) -> Image.Image:
    panel = _scaled(picture)
    width = max(panel.width, _NARROWEST)
    return _captioned(panel, "\n".join([name, *wrapped(clean(reason), _font(panel), width)]))


def _captioned(panel: Image.Image, caption: str, *, mark: Colour | None = None) -> Image.Image:
    """Add a white strip with the caption's lines below a panel, the first line behind a mark in the box's colour."""
    if not caption:
        return panel
    font = _font(panel)
    ascent, descent = font.getmetrics()
    step, indent = ascent + descent + 2, 0 if mark is None else ascent + ascent // 3
    lines = [clean(line) for line in caption.split("\n")]
    size = (max(panel.width, _NARROWEST), panel.height + step * len(lines) + ascent // 2)
    whole = Image.new("RGB", size, _WHITE)
    whole.paste(panel, ((size[0] - panel.width) // 2, 0))
    pen = ImageDraw.Draw(whole)
    baseline = panel.height + ascent // 2 + ascent
    if mark is not None:
        pen.rectangle((0, baseline - ascent * 4 // 5, ascent * 4 // 5, baseline), fill=mark, outline=_BLACK)
    for line in lines:
        pen.text((indent, baseline), shortened(line, font, size[0] - indent), fill=_INK, font=font, anchor="ls")
        baseline += step
    return whole


def _font(panel: Image.Image) -> ImageFont.FreeTypeFont:
    return font_of_size(max(13, round(_measure(panel) / 34)))
