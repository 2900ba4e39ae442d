"""Path → picture → pixels and view. Pillow and NumPy alone; knows nothing of networks.

Every picture that the package reads comes through `read_image`, so that training, evaluation and localization see the
same upright RGB picture and refuse the same files.
"""

import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

from tscam.errors import ImageError, one_line
from tscam.geometry import View

# The suffixes that a folder is searched for; what a file holds is decided by its content.
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm", ".pgm"})

# Decoders that may run. No SVG, EPS or PDF: those are programs, not pictures.
_DECODERS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")

# What Pillow's decoders raise on broken files: OSError alone misses about one in a hundred fuzzed files.
_DECODING_FAULTS = (
    OSError, EOFError, RuntimeError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip

# Pillow refuses pictures of more than about 179 million pixels; its warning at half of that is nobody's to act on.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """What a network expects of its input.

    Attributes:
        size_hw: height and width of the view, in pixels.
        mean, std: of each channel (R, G, B), of values in [0, 1].
    """

    size_hw: tuple[int, int]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.size_hw[1], self.size_hw[0]


def read_image(path: Path) -> Image.Image:
    """The picture of a file as it is displayed: upright after its EXIF orientation, RGB, eight bits a channel.

    Grey and CMYK are converted, sixteen bits are scaled (not clipped), transparency is laid on white, and of an
    animation the first frame is taken.

    Raises:
        ImageError: not a file, empty, not a picture of a known kind, damaged, or of more than 179 million pixels.
    """
    _require_file(path)
    try:
        with Image.open(path, formats=_DECODERS) as file:
            file.load()
            return _as_rgb(ImageOps.exif_transpose(file))
    except _DECODING_FAULTS as fault:
        raise ImageError(f"{path}: not a readable picture ({one_line(fault)}); repair or remove the file") from fault


def image_size_wh(path: Path) -> tuple[int, int]:
    """Width and height of the picture as displayed, in pixels; decodes the header alone.

    Raises:
        ImageError: as `read_image`, as far as the header shows it.
    """
    _require_file(path)
    try:
        with Image.open(path, formats=_DECODERS) as file:
            width, height = file.size
            turned = file.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (height, width) if turned else (width, height)
    except _DECODING_FAULTS as fault:
        raise ImageError(f"{path}: not a readable picture ({one_line(fault)}); repair or remove the file") from fault


def verify_image(path: Path) -> tuple[int, int]:
    """Decode the whole file, as cheaply as its format allows, and return width and height as displayed.

    Raises:
        ImageError: as `read_image`.
    """
    size_wh = image_size_wh(path)
    try:
        with Image.open(path, formats=_DECODERS) as file:
            file.draft("RGB", (1, 1))  # A JPEG is decoded at an eighth of its size: all its bytes are still read.
            file.load()
    except _DECODING_FAULTS as fault:
        raise ImageError(f"{path}: not a readable picture ({one_line(fault)}); repair or remove the file") from fault
    return size_wh


def preprocess(picture: Image.Image, *, to: InputFormat) -> tuple[Float[np.ndarray, "3 H W"], View]:
    """A picture as the network sees it, and the view that leads back to picture pixels.

    The whole picture is resized, bilinear with antialiasing, aspect ignored; this is the test view of TS-CAM.

    Returns:
        Normalized pixels, float32, and the `View`.
    """
    resized = picture.resize(to.size_wh, Image.Resampling.BILINEAR)
    return normalize(resized, to=to), View(picture_wh=picture.size, view_wh=to.size_wh)


def normalize(picture: Image.Image, *, to: InputFormat) -> Float[np.ndarray, "3 H W"]:
    """Channels first, scaled to [0, 1], less the mean, over the standard deviation; float32. Does not resize."""
    pixels = np.asarray(picture, dtype=np.float32) / np.float32(255)
    pixels = (pixels - np.array(to.mean, dtype=np.float32)) / np.array(to.std, dtype=np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _require_file(path: Path) -> None:
    try:
        status = path.stat()
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the name.
        raise ImageError(f"{str(path)!r}: cannot be opened ({one_line(fault)}); check the path") from fault
    if not stat.S_ISREG(status.st_mode):  # A pipe would block for ever.
        raise ImageError(f"{path}: not a file; expected a picture")
    if status.st_size == 0:
        raise ImageError(f"{path}: an empty file; expected a picture")


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(picture))).convert("RGB")
    if picture.has_transparency_data:
        upper = picture.convert("RGBA")
        white = Image.new("RGBA", upper.size, "white")
        return Image.alpha_composite(white, upper).convert("RGB")
    return picture.convert("RGB")


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of sixteen or thirty-two bits, scaled by the range they use: 255, 65535, or 1 for floats."""
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = values.max(initial=0.0)
    full = 65535.0 if top > 255 else 255.0
    return np.clip(np.rint(values * (255.0 / full)), 0, 255).astype(np.uint8)
