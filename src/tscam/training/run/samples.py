"""Sheets of sample pictures with the model's maps, boxes and classes, which show how far training is."""

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
from tscam.system.writing import write_bytes_atomically

_SIDE = 360  # Side of a tile, in pixels.
_COLUMNS = 4
_PICTURES = 12  # Spread over the classes; fewer if the dataset has fewer.
_BACKGROUND = (244, 244, 244)
_RIGHT, _WRONG = CLASS_COLOURS[0], CLASS_COLOURS[3]  # Cyan and orange: colour-blind people can tell them apart.
_HEADER_PANEL = (960, 150)  # Panel whose caption is the header; its size determines the size of the letters.
_LEFT = 16  # Left margin of `sheet`, in pixels.


def write_samples(path: Path, predictor: Predictor, dataset: Dataset, *, threshold: float) -> None:
    """Write a JPEG of pictures with the map and the box of their most likely class, and the true boxes dashed.

    The choice of pictures depends on the dataset alone, so that the sheets of two epochs or two models show the same.

    Args:
        threshold: fraction of the map's maximum above which is object.

    Raises:
        OutputError: the disk refuses.
    """
    indices = spread(dataset, count=_PICTURES)
    localizer = Localizer(predictor, batch_size=len(indices), max_pixels=dataset.decode.max_pixels)
    localizations = localizer([dataset.path(index) for index in indices], top_k=1, threshold=threshold)
    has_classifier = predictor.facts.has_classifier
    tiles = [
        _tile(dataset, index, localization, has_classifier=has_classifier)
        for index, localization in zip(indices, localizations, strict=True)
    ]
    legend = "Framed: box of the largest region."
    if has_classifier:
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
    """Indices of pictures from as many classes as possible; classes and pictures are at even distances.

    Args:
        count: number of pictures.
    """
    members = [np.flatnonzero(dataset.labels == label) for label in np.unique(dataset.labels)]
    if len(members) > count:
        members = [members[row] for row in _evenly_spaced(len(members), count)]
    shares = [0] * len(members)
    for _ in range(min(count, sum(map(len, members)))):
        unused = [row for row in range(len(members)) if shares[row] < len(members[row])]
        shares[min(unused, key=shares.__getitem__)] += 1
    return [
        int(indices[position])
        for indices, share in zip(members, shares, strict=True)
        for position in _evenly_spaced(len(indices), share)
    ]


def _evenly_spaced(length: int, count: int) -> list[int]:
    """`count` of the numbers `0 … length - 1` at even distances, each in the middle of its part."""
    return [(2 * step + 1) * length // (2 * count) for step in range(count)]


def _tile(dataset: Dataset, index: int, localization: Localization, *, has_classifier: bool) -> Image.Image:
    """A square with the picture in its middle, above two lines: the most likely class, and the label."""
    label, picture = int(dataset.labels[index]), _thumbnail(localization)
    label_line = f"label {dataset.class_names[label]}"
    if not localization.objects:
        reason = "cannot be read" if localization.status == "bad_image" else localization.reason
        return _captioned(picture, f"✗ {reason}\n{label_line}", is_right=False)
    likeliest = localization.objects[0]
    is_right = likeliest.class_id == label or not has_classifier
    picture_wh = localization.width, localization.height
    true_boxes = np.empty((0, 4)) if dataset.boxes is None else dataset.boxes[index]
    panel = draw_panel(
        picture,
        map=localization.maps[likeliest.class_id].levels,
        threshold=localization.threshold,
        boxes=[scale_box(likeliest.box, from_wh=picture_wh, to_wh=picture.size)],
        true_boxes=[to_box(box) for box in scale_boxes(true_boxes, from_wh=picture_wh, to_wh=picture.size)],
        colour=_RIGHT if is_right else _WRONG,
    )
    percent = math.floor(100 * likeliest.score)  # Rounded down: only certainty is 100.
    mark = "" if not has_classifier else "✓ " if is_right else "✗ "
    return _captioned(panel, f"{mark}{likeliest.label} {percent}%\n{label_line}", is_right=is_right)


def _captioned(panel: Image.Image, caption: str, *, is_right: bool) -> Image.Image:
    """The panel on a square tile; the frame of a wrong one marks its caption as well."""
    tile = Image.new("RGB", (_SIDE, _SIDE), _BACKGROUND)
    tile.paste(panel, ((_SIDE - panel.width) // 2, (_SIDE - panel.height) // 2))
    frames = [] if is_right else [(0.0, 0.0, float(_SIDE), float(_SIDE))]
    return draw_panel(tile, boxes=frames, caption=caption, colour=_WRONG)


def _thumbnail(localization: Localization) -> Image.Image:
    """The picture, its longer side that of a tile; an empty tile for a picture that cannot be read."""
    try:
        picture = read_image(Path(localization.image), settings=localization.decode, least_side=_SIDE)
    except ImageError:  # Its localization has the reason.
        return Image.new("RGB", (_SIDE, _SIDE), _BACKGROUND)
    scale = _SIDE / max(picture.size)
    size = [max(math.ceil(_SIDE / 8), round(side * scale)) for side in picture.size]
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _header(lines: Sequence[str]) -> Image.Image:
    """Lines of text: the caption of a white panel, cut off the panel."""
    captioned = draw_panel(Image.new("RGB", _HEADER_PANEL, "white"), caption="\n".join(lines))
    return captioned.crop((0, _HEADER_PANEL[1], *captioned.size))


def _page(header: Image.Image, tiles: Image.Image) -> Image.Image:
    """The header above the tiles, both aligned to the left."""
    size = max(_LEFT + header.width, tiles.width), _LEFT + header.height + tiles.height
    page = Image.new("RGB", size, "white")
    page.paste(header, (_LEFT, _LEFT))
    page.paste(tiles, (0, _LEFT + header.height))
    return page
