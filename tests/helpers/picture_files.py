"""Picture files with every ending, and TIFF files of number types other than eight bits."""

import io
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tifffile
from jaxtyping import Shaped
from PIL import Image

# Each ending that a folder is searched for, with Pillow's name of the format.
ENDINGS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".pjpeg": "JPEG", ".mpo": "MPO", ".png": "PNG",
    ".apng": "PNG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP", ".dib": "DIB", ".tif": "TIFF", ".tiff": "TIFF",
    ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM", ".avif": "AVIF", ".jp2": "JPEG2000",
    ".j2k": "JPEG2000", ".heic": "HEIF", ".heif": "HEIF",
}  # fmt: skip

_MODES = {".pgm": "L", ".pbm": "1"}


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture in the format of its ending, in any case."""
    ending = path.suffix.lower()
    if ending in (".heic", ".heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.convert(_MODES.get(ending, "RGB")).save(path, ENDINGS[ending])


def tiff(
    values: Shaped[np.ndarray, "..."],
    *,
    photometric: Literal["minisblack", "rgb", "separated"] = "minisblack",
    byteorder: Literal["<", ">"] = "<",
    in_planes: bool = False,
    greatest: int | None = None,
) -> bytes:
    """Return a TIFF file of any number type and any number of bands, uncompressed.

    Args:
        values: height × width, height × width × bands, or with `in_planes` bands × height × width.
        greatest: the tag MaxSampleValue.
    """
    file = io.BytesIO()
    tags = [] if greatest is None else [(281, "H", 1, greatest, True)]
    planes = "separate" if in_planes else "contig" if values.ndim == 3 else None
    tifffile.imwrite(
        file, values, photometric=photometric, byteorder=byteorder, planarconfig=planes, metadata=None, extratags=tags
    )
    return file.getvalue()


def deepen(folder: Path, *, bits: int) -> None:
    """Turn the PNG files in a folder into colours of so many bits, in 16-bit files."""
    for path in folder.rglob("*.png"):
        with Image.open(path) as picture:
            levels = np.asarray(picture.convert("RGB")).astype(np.float64)
        cv2.imwrite(str(path), np.rint(levels[..., ::-1] / 255 * (2**bits - 1)).astype(np.uint16))
