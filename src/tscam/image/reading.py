"""Picture of any source → upright RGB of eight bits a channel.

Every picture that the package reads comes through `decode_picture`, so that training, evaluation and localization see
the same upright RGB picture and refuse the same files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tscam.decoding import DECODE_DEFAULTS, MAX_PIXELS, DecodeSettings, PixelRange
from tscam.errors import ConfigError, ImageError
from tscam.image.deep_files import find_depth, orientation_of
from tscam.image.depth import DeepPicture, ValueSpan, strips
from tscam.image.files import Picture, opened, printable

# Turns stored pixels into displayed ones, by EXIF orientation. Pillow's `exif_transpose` would also rewrite the
# metadata, and fail where they are broken.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Modes of Pillow whose grey level says how bright a pixel looks.
_OPAQUE_MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr")


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedPicture:
    """A picture as it is displayed.

    Attributes:
        image: upright, RGB, eight bits a channel.
        pixel_range: the range by which values of more than eight bits were scaled; None for a picture of eight bits.
    """

    image: Image.Image
    pixel_range: PixelRange | None


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """Facts about the pixels of a file.

    Attributes:
        size_wh: width and height as displayed, in pixels.
        span: smallest and largest value of a picture of more than eight bits; None for a picture of eight bits.
        bright_value: 99 of 100 pixels are not brighter: a level 0…255, or a value within `span`; None where parts of
            the picture are transparent.
    """

    size_wh: tuple[int, int]
    span: ValueSpan | None
    bright_value: float | None


def read_image(
    picture: Picture, *, settings: DecodeSettings = DECODE_DEFAULTS, least_side: int | None = None
) -> Image.Image:
    """Return a picture as `decode_picture` decodes it: upright, RGB, eight bits a channel, without metadata."""
    return decode_picture(picture, settings=settings, least_side=least_side).image


def decode_picture(
    picture: Picture, *, settings: DecodeSettings = DECODE_DEFAULTS, least_side: int | None = None
) -> DecodedPicture:
    """Decode a picture as it is displayed: upright by its EXIF orientation, RGB, eight bits a channel, no metadata.

    Grey and CMYK are converted, transparency is laid on white, and the first frame of an animation is taken. Values of
    more than eight bits, signed numbers and floats are scaled by a range: that of the settings, else what the file
    states, else what its values use. A PIL picture that still carries an EXIF orientation is turned by it.

    Args:
        picture: path of a file, the bytes of a file, a PIL picture, or an array of uint8 that is height × width × 3
            (RGB) or height × width (grey). It is not changed.
        least_side: a JPEG file may be decoded at a half, a quarter or an eighth of its size as long as no side falls
            below this number of pixels. That is faster, and its pixels differ a little; None decodes all.

    Raises:
        ImageError: not a file, empty, not a picture of a known format, damaged, or of more pixels than the settings
            allow; or an array of another shape or type.
        ConfigError: nothing that could be a picture, such as None.
    """
    with opened(require_picture(picture), max_pixels=settings.max_pixels) as file:
        deep = _depth_of(file, picture, settings.max_pixels)
        if deep is not None:
            pixel_range = settings.pixel_range or deep.own_range
            return DecodedPicture(image=_from_values(deep, pixel_range), pixel_range=pixel_range)
        if least_side is not None and file is not picture:
            file.draft(None, (least_side, least_side))
        file.load()
        upright = _upright(file)
    upright.info = {}  # An orientation that stayed would turn the picture once more when it is read again.
    return DecodedPicture(image=upright, pixel_range=None)


def require_picture(picture: object) -> Picture:
    """Return what could be a picture by its type, and refuse all else.

    Raises:
        ConfigError: another type.
    """
    if isinstance(picture, Picture):
        return picture
    raise ConfigError(
        f"a picture of type {type(picture).__name__}; expected a path, bytes, a PIL picture or a NumPy array"
    )


def read_grey_levels(path: Path) -> UInt8[np.ndarray, "H W"]:
    """The grey levels of a PNG, upright, equal to the last bit to `cv2.imread(path, cv2.IMREAD_GRAYSCALE)`.

    One, two and four bits are spread over 0 to 255, transparency is dropped, and colours are weighed as libpng weighs
    them for OpenCV: cut where Pillow rounds. Unlike OpenCV, it ignores the gamma that a coloured PNG states.

    Raises:
        ImageError: as `decode_picture`; also for another format than PNG, and for sixteen bits of grey.
    """
    with opened(path, decoders=("PNG",)) as file:
        file.load()
        if file.mode.startswith("I"):
            raise ImageError(f"{printable(path)}: sixteen bits a pixel; expected a PNG of eight bits or fewer")
        turn = _TURNS.get(orientation_of(file))
        upright = file if turn is None else file.transpose(turn)
        return np.asarray(upright.convert("L")) if upright.mode in ("1", "L", "LA") else _grey(upright.convert("RGB"))


def image_size_wh(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of a picture file as displayed, in pixels; decodes the header alone.

    Raises:
        ImageError: as `decode_picture`, as far as the header shows it.
    """
    with opened(path, max_pixels=max_pixels) as file:
        return _displayed_wh(file)


def inspect_picture(path: Path, *, max_pixels: int = MAX_PIXELS) -> PictureFacts:
    """Decode the whole file, as cheaply as its format allows, and return facts about its pixels.

    Raises:
        ImageError: as `decode_picture`.
    """
    with opened(path, max_pixels=max_pixels) as file:
        deep = _depth_of(file, path, max_pixels)  # First: asked for its EXIF, a PNG decodes itself.
        if deep is not None:
            return PictureFacts(size_wh=deep.displayed_wh, span=deep.span, bright_value=deep.percentile(99.0))
        size_wh = _displayed_wh(file)
        file.draft("RGB", (1, 1))  # A JPEG is decoded at an eighth of its size: all its bytes are still read.
        file.load()
        return PictureFacts(size_wh=size_wh, span=None, bright_value=_bright_level(file))


def _depth_of(file: Image.Image, picture: Picture, max_pixels: int) -> DeepPicture | None:
    reopen = partial(opened, picture, max_pixels=max_pixels) if isinstance(picture, str | Path | bytes) else None
    return find_depth(file, reopen)


def _bright_level(file: Image.Image) -> float | None:
    if file.has_transparency_data or file.mode not in _OPAQUE_MODES:
        return None
    counts = np.cumsum(file.convert("L").histogram())
    return float(np.searchsorted(counts, 0.99 * counts[-1]))


def _displayed_wh(file: Image.Image) -> tuple[int, int]:
    width, height = file.size
    is_turned = orientation_of(file) in (5, 6, 7, 8)
    # Pillow gives the size of a TIFF as displayed, and turns it while it loads; other sizes are as stored.
    return (height, width) if is_turned and file.format != "TIFF" else (width, height)


def _upright(file: Image.Image) -> Image.Image:
    """Return a new RGB picture, turned; beside it memory for one strip is taken."""
    orientation = orientation_of(file)
    if file.mode == "RGB" and not file.has_transparency_data:
        turn = _TURNS.get(orientation)
        return file.copy() if turn is None else file.transpose(turn)
    if orientation not in _TURNS and not file.has_transparency_data:
        return file.convert("RGB")
    crops = ((top, file.crop((0, top, file.width, bottom))) for top, bottom in strips(file.size))
    return _assembled(file.size, crops, orientation)


def _from_values(deep: DeepPicture, pixel_range: PixelRange) -> Image.Image:
    return _assembled(deep.size_wh, deep.levels(pixel_range), deep.orientation)


def _assembled(size_wh: tuple[int, int], pieces: Iterator[tuple[int, Image.Image]], orientation: int) -> Image.Image:
    """Join strips, each with its first row, to an upright picture."""
    _, height = size_wh
    is_turned, turn = orientation in (5, 6, 7, 8), _TURNS.get(orientation)
    first = next(pieces)  # Before memory is taken for the whole: it may have to be decoded.
    upright = Image.new("RGB", size_wh[::-1] if is_turned else size_wh)
    for top, strip in chain([first], pieces):
        rgb = _opaque(strip)
        # A turn that exchanges the first and the last row moves the strip to the other end.
        start = height - top - strip.height if orientation in (3, 4, 6, 7) else top
        upright.paste(rgb if turn is None else rgb.transpose(turn), (start, 0) if is_turned else (0, start))
    return upright


def _opaque(picture: Image.Image) -> Image.Image:
    """Return the picture as RGB, transparency laid on white."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    upper = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
    white = Image.new("RGBA", upper.size, "white")
    return Image.alpha_composite(white, upper).convert("RGB")


def _grey(picture: Image.Image) -> UInt8[np.ndarray, "H W"]:
    """RGB as libpng greys it: weights of 1/32768, the fraction cut off; a colour that is a grey keeps its level."""
    red, green, blue = (np.asarray(channel, dtype=np.uint32) for channel in picture.split())
    is_grey = (red == green) & (green == blue)
    return np.where(is_grey, red, (9797 * red + 19234 * green + 3737 * blue) >> 15).astype(np.uint8)
