"""Picture of any source → upright RGB → pixels and view. Pillow and NumPy alone; knows nothing of networks.

Every picture that the package reads comes through `read_image`, so that training, evaluation and localization see the
same upright RGB picture and refuse the same files.
"""

import importlib.util
import io
import logging
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import ExifTags, Image

from tscam.errors import ConfigError, ImageError, one_line
from tscam.geometry import View

# A picture as people have it: path of a file, the bytes of a file, a PIL picture, or an array of uint8 that is
# height × width × 3 (RGB) or height × width (grey).
Picture = str | Path | bytes | Image.Image | np.ndarray

_HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None  # of the extra `heif`

# The suffixes that a folder is searched for; the content of a file decides its format.
PICTURE_SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
        ".ppm", ".pgm", ".pbm", ".pnm", ".mpo", ".avif", ".jp2", ".j2k",
    }
    | ({".heic", ".heif"} if _HAS_HEIF else set())
)  # fmt: skip

# Decoders that may run; JPEG's reads MPO, too. SVG, EPS and PDF are programs, not pictures.
_DECODERS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "PPM", "JPEG2000")

# Errors of Pillow's decoders on broken files: OSError alone misses about one in a hundred fuzzed files.
_DECODING_FAULTS = (
    OSError, EOFError, RuntimeError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip

# Pillow warns of broken metadata, and of sizes at half of what it refuses: nothing that a user could act on.
_PILLOW = r"PIL\."

# Pillow also logs about broken files; without a handler Python prints that between our own lines.
logging.getLogger("PIL").addHandler(logging.NullHandler())

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


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """The input that a network expects.

    Attributes:
        size_hw: height and width of the view, in pixels.
        mean, std: mean and standard deviation of each channel (R, G, B), of values in [0, 1].
    """

    size_hw: tuple[int, int]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.size_hw[1], self.size_hw[0]


def read_image(picture: Picture, *, least_side: int | None = None) -> Image.Image:
    """A picture as it is displayed: upright by its EXIF orientation, RGB, eight bits a channel, without metadata.

    Grey and CMYK are converted, sixteen bits are scaled (not clipped), transparency is laid on white, and the first
    frame of an animation is taken. A PIL picture that still carries an EXIF orientation is turned by it.

    Args:
        picture: path of a file, the bytes of a file, a PIL picture, or an array of uint8 that is height × width × 3
            (RGB) or height × width (grey). It is not changed.
        least_side: a JPEG file may be decoded at a half, a quarter or an eighth of its size as long as no side falls
            below this number of pixels. That is faster, and its pixels differ a little; None decodes all.

    Raises:
        ImageError: not a file, empty, not a picture of a known format, damaged, or of more than 179 million pixels; or
            an array of another shape or type.
        ConfigError: nothing that could be a picture, such as None.
    """
    with _opened(require_picture(picture)) as file:
        if least_side is not None and file is not picture:
            file.draft(None, (least_side, least_side))
        file.load()
        turn = _TURNS.get(_orientation(file))
        upright = _as_rgb(file if turn is None else file.transpose(turn))
    upright.info = {}  # An orientation that stayed would turn the picture once more when it is read again.
    return upright


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
        ImageError: as `read_image`; also for another format than PNG, and for sixteen bits of grey.
    """
    with _opened(path, decoders=("PNG",)) as file:
        file.load()
        if file.mode.startswith("I"):
            raise ImageError(f"{printable(path)}: sixteen bits a pixel; expected a PNG of eight bits or fewer")
        turn = _TURNS.get(_orientation(file))
        upright = file if turn is None else file.transpose(turn)
        return np.asarray(upright.convert("L")) if upright.mode in ("1", "L", "LA") else _grey(upright.convert("RGB"))


def image_size_wh(path: Path) -> tuple[int, int]:
    """Width and height of a picture file as displayed, in pixels; decodes the header alone.

    Raises:
        ImageError: as `read_image`, as far as the header shows it.
    """
    with _opened(path) as file:
        return _displayed_wh(file)


def verify_image(path: Path) -> tuple[int, int]:
    """Decode the whole file, as cheaply as its format allows, and return width and height as displayed.

    Raises:
        ImageError: as `read_image`.
    """
    with _opened(path) as file:
        size_wh = _displayed_wh(file)
        file.draft("RGB", (1, 1))  # A JPEG is decoded at an eighth of its size: all its bytes are still read.
        file.load()
        return size_wh


def preprocess(picture: Image.Image, *, to: InputFormat) -> tuple[Float[np.ndarray, "3 H W"], View]:
    """Return a picture as the network sees it, and the view that leads back to picture pixels.

    The whole picture is resized, bilinear with antialiasing, aspect ignored; this is the test view of TS-CAM.

    Returns:
        Normalized pixels, float32, and the `View`.
    """
    resized = picture.resize(to.size_wh, Image.Resampling.BILINEAR)
    return normalize(resized, to=to), View(picture_wh=picture.size, view_wh=to.size_wh)


def normalize(picture: Image.Image, *, to: InputFormat) -> Float[np.ndarray, "3 H W"]:
    """Scale pixels to [0, 1], subtract the mean, divide by the standard deviation; float32, channels first."""
    mean, std = np.array(to.mean, dtype=np.float32), np.array(to.std, dtype=np.float32)
    pixels = (np.asarray(picture, dtype=np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def printable(path: Path) -> str:
    """A path as text of one line: quoted where it has a line break or another character that does not print."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def has_picture_suffix(name: str) -> bool:
    """True if a file's name ends as a picture's does."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES  # noqa: PTH122 - a million names: no objects.


def leads_out(text: str) -> bool:
    """True if a path is not below a folder: empty, absolute (on a drive of Windows, too), with `..`, or with NUL."""
    if text[:1] in ("", "/", "\\") or text[1:2] == ":" or "\0" in text:
        return True
    return ".." in text and ".." in text.replace("\\", "/").split("/")


def _require_file(path: Path) -> None:
    try:
        status = path.stat()
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the name.
        raise ImageError(f"{printable(path)}: cannot be opened ({one_line(fault)}); check the path") from fault
    if not stat.S_ISREG(status.st_mode):  # A pipe would block for ever.
        raise ImageError(f"{printable(path)}: not a file; expected a picture")
    if status.st_size == 0:
        raise ImageError(f"{printable(path)}: an empty file; expected a picture")


@contextmanager
def _opened(picture: Picture, *, decoders: tuple[str, ...] | None = None) -> Iterator[Image.Image]:
    """Open a picture; an error of its decoder in the block becomes an `ImageError`."""
    _silence_pillow()
    try:
        if isinstance(picture, Image.Image):
            yield picture
        elif isinstance(picture, np.ndarray):
            yield _from_array(picture)
        else:
            with Image.open(_file_of(picture), formats=decoders or _decoders()) as file:
                yield file
    except _DECODING_FAULTS as fault:
        name, way_out = _named(picture)
        raise ImageError(f"{name}: not a readable picture ({one_line(fault)}); {way_out}") from fault


@cache
def _decoders() -> tuple[str, ...]:
    if not _HAS_HEIF:
        return _DECODERS
    import pillow_heif  # Here: the import takes a third of a second.

    pillow_heif.register_heif_opener()
    return (*_DECODERS, "HEIF")


def _file_of(picture: str | Path | bytes) -> Path | io.BytesIO:
    if isinstance(picture, bytes):
        if not picture:
            raise ImageError("bytes: none; expected the content of a picture file")
        return io.BytesIO(picture)
    _require_file(Path(picture))
    return Path(picture)


def _from_array(array: np.ndarray) -> Image.Image:
    has_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not has_shape or not array.size:
        shape = " × ".join(map(str, array.shape)) or "no dimension"
        raise ImageError(
            f"an array of {shape}, {array.dtype}; expected height × width × 3 (RGB) or height × width (grey), uint8"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _named(picture: Picture) -> tuple[str, str]:
    """How a message names a picture, and what it advises."""
    if isinstance(picture, str | Path):
        return printable(Path(picture)), "repair or remove the file"
    return "bytes" if isinstance(picture, bytes) else "a picture in memory", "repair or leave it out"


def _silence_pillow() -> None:
    """Ignore Pillow's warnings; looked at for each picture, since tests and programs reset filters.

    `catch_warnings` is not safe in threads.
    """
    if not any(action == "ignore" and _pattern(module) == _PILLOW for action, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW)


def _pattern(module: object) -> object:
    return getattr(module, "pattern", None)


def _displayed_wh(file: Image.Image) -> tuple[int, int]:
    width, height = file.size
    is_turned = _orientation(file) in (5, 6, 7, 8)
    # Pillow gives the size of a TIFF as displayed, and turns it while it loads; other sizes are as stored.
    return (height, width) if is_turned and file.format != "TIFF" else (width, height)


def _orientation(file: Image.Image) -> int:
    orientation = file.getexif().get(ExifTags.Base.Orientation)
    return orientation if isinstance(orientation, int) else 1


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(picture))).convert("RGB")
    if picture.has_transparency_data:
        upper = picture.convert("RGBA")
        white = Image.new("RGBA", upper.size, "white")
        return Image.alpha_composite(white, upper).convert("RGB")
    return picture.convert("RGB")


def _grey(picture: Image.Image) -> UInt8[np.ndarray, "H W"]:
    """RGB as libpng greys it: weights of 1/32768, the fraction cut off; a colour that is a grey keeps its level."""
    red, green, blue = (np.asarray(channel, dtype=np.uint32) for channel in picture.split())
    is_grey = (red == green) & (green == blue)
    return np.where(is_grey, red, (9797 * red + 19234 * green + 3737 * blue) >> 15).astype(np.uint8)


def _eight_bits(values: Shaped[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Grey values of more than eight bits, scaled by the range that they use: up to 1 (floats alone), 255 or 65535."""
    levels = np.nan_to_num(values.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    top = np.clip(levels, 0.0, 65535.0, out=levels).max(initial=0.0)
    full = 65535.0 if top > 255 else 1.0 if top <= 1 and values.dtype.kind == "f" else 255.0
    levels *= np.float32(255.0 / full)  # In place: a picture may have 179 million pixels.
    return np.rint(levels, out=levels).astype(np.uint8)
