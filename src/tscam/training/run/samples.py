"""A sheet of held-out pictures with what the model makes of them: how far training is, seen with one's own eyes."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tscam.datasets import Dataset
from tscam.drawing import CLASS_COLOURS, draw_panel, sheet
from tscam.errors import ImageError
from tscam.geometry import scale_box, scale_boxes, to_box
from tscam.image import read_image
from tscam.localization import Localization
from tscam.localizer import Localizer
from tscam.predictor import Predictor
from tscam.writing import write_bytes_atomically

_SIDE = 360  # Of a tile, in pixels.
_COLUMNS = 4
_PLATE = (244, 244, 244)
_RIGHT, _WRONG = CLASS_COLOURS[0], CLASS_COLOURS[3]  # Cyan and orange: apart for every kind of eye.
_HEADER_PANEL = (960, 150)  # Whose caption is the header; its size gives that of the letters.
_LEFT = 16  # Where `sheet` begins, in pixels.


def write_samples(path: Path, predictor: Predictor, dataset: Dataset, *, threshold: float, count: int = 12) -> None:
    """Writes a JPEG of pictures with the map and the box of their most likely class, and the true boxes dashed.

    Which pictures depends on the data set alone, so that the sheets of two epochs, or of two models, show the same.

    Args:
        threshold: fraction of the map's maximum above which is object.
        count: of pictures, spread over the classes; fewer where there are not so many.

    Raises:
        OutputError: the disk refuses.
    """
    chosen = spread(dataset, count=count)
    localizer = Localizer(predictor, batch_size=len(chosen))
    found = localizer([dataset.path(index) for index in chosen], top_k=1, threshold=threshold)
    tiles = [_tile(dataset, index, localization) for index, localization in zip(chosen, found, strict=True)]
    legend = "Framed: box of the most likely class, orange where that class is wrong."
    lines = [
        f"{len(tiles)} of {len(dataset)} pictures of split {dataset.split!r}, threshold {threshold:g}",
        legend if dataset.boxes is None else f"{legend} Dashed: true boxes.",
    ]
    encoded = io.BytesIO()
    _page(_header(lines), sheet(tiles, columns=min(_COLUMNS, len(tiles)))).save(
        encoded, "JPEG", quality=90, subsampling=0
    )
    write_bytes_atomically(path, encoded.getvalue())


def spread(dataset: Dataset, *, count: int) -> list[int]:
    """Indices of pictures, by class: from as many classes as can be, these and theirs at even distances."""
    members = [np.flatnonzero(dataset.labels == label) for label in np.unique(dataset.labels)]
    if len(members) > count:
        members = [members[place] for place in _even(len(members), count)]
    taken = [0] * len(members)
    for _ in range(min(count, sum(map(len, members)))):
        # The class with the fewest so far that has one left.
        at = min((n for n in range(len(members)) if taken[n] < len(members[n])), key=taken.__getitem__)
        taken[at] += 1
    return [int(of[place]) for of, most in zip(members, taken, strict=True) for place in _even(len(of), most)]


def _even(length: int, count: int) -> list[int]:
    """So many of `0 … length - 1`, at even distances, in the middle of their parts."""
    return [(2 * step + 1) * length // (2 * count) for step in range(count)]


def _tile(dataset: Dataset, index: int, localization: Localization) -> Image.Image:
    """A square with the picture in its middle, over two lines: what it is taken for, and what it is."""
    label, picture = int(dataset.labels[index]), _thumbnail(localization)
    truth = f"label {dataset.class_names[label]}"
    if not localization.objects:
        reason = "cannot be read" if localization.status == "bad_image" else localization.reason
        return _captioned(picture, f"✗ {reason}\n{truth}", is_right=False)
    found = localization.objects[0]
    is_right = found.class_id == label
    picture_wh = localization.width, localization.height
    true_boxes = np.empty((0, 4)) if dataset.boxes is None else dataset.boxes[index]
    panel = draw_panel(
        picture,
        map=localization.maps[found.class_id].levels,
        box=scale_box(found.box, from_wh=picture_wh, to_wh=picture.size),
        true_boxes=[to_box(box) for box in scale_boxes(true_boxes, from_wh=picture_wh, to_wh=picture.size)],
        colour=_RIGHT if is_right else _WRONG,
    )
    percent = math.floor(100 * found.score)  # Not rounded: nothing but certainty is 100.
    return _captioned(panel, f"{'✓' if is_right else '✗'} {found.label} {percent}%\n{truth}", is_right=is_right)


def _captioned(panel: Image.Image, caption: str, *, is_right: bool) -> Image.Image:
    """The panel on a square plate; a wrong one is framed, which marks its caption, too."""
    tile = Image.new("RGB", (_SIDE, _SIDE), _PLATE)
    tile.paste(panel, ((_SIDE - panel.width) // 2, (_SIDE - panel.height) // 2))
    frame = None if is_right else (0.0, 0.0, float(_SIDE), float(_SIDE))
    return draw_panel(tile, box=frame, caption=caption, colour=_WRONG)


def _thumbnail(localization: Localization) -> Image.Image:
    """The picture with a longer side of one tile; an empty plate for one that cannot be read."""
    try:
        picture = read_image(Path(localization.image), least_side=_SIDE)
    except ImageError:  # Localized as a bad picture, which says why.
        return Image.new("RGB", (_SIDE, _SIDE), _PLATE)
    scale = _SIDE / max(picture.size)
    size = [max(math.ceil(_SIDE / 8), round(side * scale)) for side in picture.size]
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _header(lines: Sequence[str]) -> Image.Image:
    """Lines of text alone: the caption of a white panel, without the panel."""
    captioned = draw_panel(Image.new("RGB", _HEADER_PANEL, "white"), caption="\n".join(lines))
    return captioned.crop((0, _HEADER_PANEL[1], *captioned.size))


def _page(header: Image.Image, tiles: Image.Image) -> Image.Image:
    """The header above the tiles, both from the left."""
    size = max(_LEFT + header.width, tiles.width), _LEFT + header.height + tiles.height
    page = Image.new("RGB", size, "white")
    page.paste(header, (_LEFT, _LEFT))
    page.paste(tiles, (0, _LEFT + header.height))
    return page
