"""Picture files of every format and layout, damaged at random: each is read as RGB, or refused in a line, at once."""

import io
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from picture_files import tiff
from tscam.errors import ImageError
from tscam.image import image_size_wh, inspect_picture, read_image

_NOISE = np.random.default_rng(3).integers(0, 256, size=(40, 56, 3), dtype=np.uint8)
_WORDS = np.random.default_rng(4).integers(0, 4096, size=(40, 56, 4)).astype(np.uint16)
_LONGEST = 2.0  # seconds


def encoded(suffix: str, *, compression: str = "raw", mode: str = "RGB") -> bytes:
    """Return a small picture with an EXIF orientation, if the format has one."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture = Image.fromarray(_NOISE).convert(mode)
    if suffix == "TIFF":
        picture.save(file, suffix, exif=exif, compression=compression)
    elif suffix in ("GIF", "BMP", "DIB", "PPM", "JPEG2000"):
        picture.save(file, suffix)
    else:
        picture.save(file, suffix, exif=exif)
    return file.getvalue()


def formats() -> dict[str, bytes]:
    """Return a small file of each format and layout that is read, or refused in words."""
    colours, grey = _WORDS[..., :3], _WORDS[..., 0]
    suffixes = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "AVIF", "PPM", "JPEG2000")
    files = {suffix: encoded(suffix) for suffix in suffixes}
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        files[f"TIFF {compression}"] = encoded("TIFF", compression=compression)
    return files | {
        "TIFF group4": encoded("TIFF", compression="group4", mode="1"),
        "PNG of 16 bits": cv2.imencode(".png", colours)[1].tobytes(),
        "PNG of 16 bits with opacity": cv2.imencode(".png", _WORDS)[1].tobytes(),
        "PNG of 16 bits of grey": cv2.imencode(".png", grey)[1].tobytes(),
        "PPM of 16 bits": b"P6 56 40 65535\n" + colours.astype(">u2").tobytes(),
        "TIFF of 16 bits": tiff(colours, photometric="rgb"),
        "TIFF of 16 bits, LZW": cv2.imencode(".tiff", colours)[1].tobytes(),
        "TIFF of 16 bits in planes": tiff(colours.transpose(2, 0, 1).copy(), photometric="rgb", in_planes=True),
        "TIFF of four bands": tiff(_WORDS),
        "TIFF of signed numbers": tiff(grey.astype(np.int16) - 99),
        "TIFF of floats": tiff(grey / 7),
    }


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Return bytes that are changed (in the header more often), cut off, doubled or left out."""
    changed = bytearray(content)
    reach = len(changed) if random.random() < 0.5 else min(len(changed), 120)
    for position in random.integers(0, reach, size=random.integers(1, 9)):
        changed[position] = random.integers(0, 256)
    start, stop = sorted(random.integers(0, len(changed), size=2).tolist())
    match random.integers(0, 5):
        case 0:
            del changed[start:]
        case 1:
            del changed[start:stop]
        case 2:
            changed[start:start] = changed[start:stop]
    return bytes(changed)


def is_refused(path: Path) -> bool:
    """True if a file is refused by one of the functions that read it; each gives a picture or one line, at once."""
    refusals: list[str] = []
    for function in (read_image, image_size_wh, inspect_picture):
        before = time.perf_counter()
        try:
            result = function(path)
            assert not isinstance(result, Image.Image) or result.mode == "RGB"
        except ImageError as fault:
            refusals.append(str(fault))
        assert time.perf_counter() - before < _LONGEST, path
    assert not any("\n" in refusal for refusal in refusals), refusals
    return bool(refusals)
