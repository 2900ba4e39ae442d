"""Files of pictures: their endings, and how they are opened: within limits, in silence, each fault in one line."""

import ctypes
import importlib.util
import io
import logging
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError, _imaging
from PIL.TiffImagePlugin import TiffImageFile

from tscam.decoding import MAX_PIXELS
from tscam.errors import ImageError, one_line
from tscam.image.tiff_layouts import Content, describe_layout, has_deep_planes, register_layouts

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
    MemoryError, struct.error, zlib.error,
)  # fmt: skip

# A file of fewer bytes a pixel has a forged or damaged header. Only large pictures are refused for it: a picture of
# one colour may be as small. Noise-free scans in black and white have up to 8,000 pixels a byte.
_LARGE, _MOST_PIXELS_A_BYTE = 2**24, 10_000

# Pillow warns of broken metadata, and of sizes at half of what it refuses: nothing that a user could act on.
_PILLOW = r"PIL\."


@contextmanager
def opened(
    picture: Picture, *, max_pixels: int = MAX_PIXELS, decoders: tuple[str, ...] | None = None
) -> Iterator[Image.Image]:
    """Open a picture, which is not decoded yet; an error of its decoder in the block becomes an `ImageError`.

    Raises:
        ImageError: not a file, empty, not a picture of a known format, damaged, of more than `max_pixels` pixels; or an
            array of another shape or type.
    """
    _silence()
    try:
        if isinstance(picture, Image.Image):
            yield picture
        elif isinstance(picture, np.ndarray):
            yield _from_array(picture)
        else:
            # Closed, and not left to the garbage collector: some of Pillow's files keep their pixels until it comes.
            with _content_of(picture) as content, closing(_identified(picture, content, max_pixels, decoders)) as file:
                yield file
    except Image.DecompressionBombError as fault:
        count = re.search(r"\d+", str(fault))  # Its message states the pixels; the size is not known yet.
        raise _too_large(picture, int(count[0]) if count else max_pixels + 1, max_pixels) from fault
    except _DECODING_FAULTS as fault:
        name, way_out = _named(picture)
        raise ImageError(f"{name}: not a readable picture ({one_line(fault)}); {way_out}") from fault


def has_picture_suffix(name: str) -> bool:
    """True if a file's name ends as a picture's does."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES  # noqa: PTH122 - a million names: no objects.


def printable(path: Path) -> str:
    """A path as text of one line: quoted where it has a line break or another character that does not print."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def leads_out(text: str) -> bool:
    """True if a path is not below a folder: empty, absolute (on a drive of Windows, too), with `..`, or with NUL."""
    if text[:1] in ("", "/", "\\") or text[1:2] == ":" or "\0" in text:
        return True
    return ".." in text and ".." in text.replace("\\", "/").split("/")


def _content_of(picture: str | Path | bytes) -> Content:
    if isinstance(picture, bytes):
        if not picture:
            raise ImageError("bytes: none; expected the content of a picture file")
        return io.BytesIO(picture)
    path = Path(picture)
    _require_file(path)
    # Opened here: Pillow maps a file that it opens itself into memory, and one that is cut meanwhile kills the process.
    return path.open("rb")


def _require_file(path: Path) -> None:
    try:
        status = path.stat()
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the name.
        raise ImageError(f"{printable(path)}: cannot be opened ({one_line(fault)}); check the path") from fault
    if not stat.S_ISREG(status.st_mode):  # A pipe would block for ever.
        raise ImageError(f"{printable(path)}: not a file; expected a picture")
    if status.st_size == 0:
        raise ImageError(f"{printable(path)}: an empty file; expected a picture")


def _identified(
    picture: str | Path | bytes, content: Content, max_pixels: int, decoders: tuple[str, ...] | None
) -> Image.Image:
    """Return the file with its header read.

    Raises:
        ImageError: too large, as it states or for its number of bytes, or a TIFF of a layout that cannot be read.
        UnidentifiedImageError: no decoder knows it.
    """
    _let_pillow_open(max_pixels)
    byte_count = content.seek(0, io.SEEK_END)
    content.seek(0)
    size_wh = _webp_size_wh(content)  # Before Pillow opens it, which takes memory for the pixels of a WebP.
    if size_wh is not None:
        _require_size(picture, size_wh, byte_count, max_pixels)
    content.seek(0)
    try:
        file = Image.open(content, formats=decoders or _decoders())
    except UnidentifiedImageError:
        if decoders is None and describe_layout(content) is not None:
            raise _foreign_layout(picture, content) from None
        raise UnidentifiedImageError(f"cannot identify its format{_heif_hint(content)}") from None
    if isinstance(file, TiffImageFile) and has_deep_planes(file):
        raise _foreign_layout(picture, content)
    if size_wh is None:
        _require_size(picture, file.size, byte_count, max_pixels)
    return file


def _require_size(picture: str | Path | bytes, size_wh: tuple[int, int], byte_count: int, max_pixels: int) -> None:
    pixels = size_wh[0] * size_wh[1]
    if pixels > max_pixels:
        raise _too_large(picture, pixels, max_pixels)
    if pixels > max(_LARGE, _MOST_PIXELS_A_BYTE * byte_count):
        name, way_out = _named(picture)
        raise ImageError(
            f"{name}: not a readable picture (its header states {size_wh[0]} × {size_wh[1]} pixels, it has "
            f"{byte_count:,} bytes); {way_out}"
        )


def _foreign_layout(picture: str | Path | bytes, content: Content) -> ImageError:
    return ImageError(
        f"{_named(picture)[0]}: a TIFF of {describe_layout(content)}, which cannot be read; export three bands as "
        "RGB, or one as grey, of 8 or 16 bits and pixel by pixel"
    )


def _too_large(picture: Picture, pixels: int, max_pixels: int) -> ImageError:
    name, _ = _named(picture)
    return ImageError(
        f"{name}: {pixels:,} pixels, the limit is {max_pixels:,}; scale it down, or raise the limit: "
        f"--max-pixels {pixels}"
    )


def _let_pillow_open(max_pixels: int) -> None:
    """Raise Pillow's limit for the whole program where a larger one than its own was asked for; never lower it."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and max_pixels > max(MAX_PIXELS, 2 * limit):
        Image.MAX_IMAGE_PIXELS = -(-max_pixels // 2)


def _webp_size_wh(content: Content) -> tuple[int, int] | None:
    """Return width and height as the header of a WebP states them, None for another format."""
    head = content.read(30)
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


@cache
def _decoders() -> tuple[str, ...]:
    if not _HAS_HEIF:
        return _DECODERS
    import pillow_heif  # Here: the import takes a third of a second.

    pillow_heif.register_heif_opener()
    return (*_DECODERS, "HEIF")


def _heif_hint(content: Content) -> str:
    content.seek(4)
    is_heif = content.read(8) in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheim", b"ftyphevc")
    return "; HEIC needs the extra: pip install 'tscam[heif]'" if is_heif and not _HAS_HEIF else ""


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


def _silence() -> None:
    """Ignore Pillow's warnings; looked at for each picture, since tests and programs reset filters.

    `catch_warnings` is not safe in threads.
    """
    if not any(action == "ignore" and _pattern(module) == _PILLOW for action, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW)


def _pattern(module: object) -> object:
    return getattr(module, "pattern", None)


def _silence_libtiff() -> None:
    """Turn off the messages that libtiff writes to stderr itself; Pillow raises its errors as well."""
    library = ctypes.CDLL(_imaging.__file__)  # which finds the functions of the libraries that it is linked with
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if hasattr(library, name):  # Not where libtiff is linked in without its names.
            getattr(library, name)(None)


# Pillow also logs about broken files; without a handler Python prints that between our own lines.
logging.getLogger("PIL").addHandler(logging.NullHandler())
_silence_libtiff()
register_layouts()
