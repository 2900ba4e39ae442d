"""Files with more than eight bits a channel, or with signed numbers: recognized by their headers, and decoded."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from tscam.image.depth import DeepPicture, Values, WordPicture, strips
from tscam.image.tiff_layouts import is_signed, largest_stated_value

# Opens the file of a picture once more.
Reopen = Callable[[], AbstractContextManager[Image.Image]]

_DecoderArgs = tuple[object, ...] | str | None
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def find_depth(file: Image.Image, reopen: Reopen | None) -> DeepPicture | None:
    """Return the values of a picture of more than eight bits or of signed numbers; None for all others.

    Args:
        file: opened and not decoded yet, or a picture in memory. It stays undecoded where None is returned.
        reopen: opens it once more; None for a picture in memory.
    """
    raw_mode = _raw_mode(file)
    if reopen is not None and file.format in ("PNG", "TIFF") and raw_mode[:-1] in ("RGB;16", "RGBX;16", "RGBA;16"):
        return _read_words(file, reopen)
    if reopen is not None and file.format == "PNG" and raw_mode == "LA;16B":
        return _read_grey_and_opacity(file, reopen)
    if isinstance(file, ImageFile) and (_largest_netpbm_value(file) or 0) > 255:
        return _read_netpbm(file)
    is_signed_byte = isinstance(file, TiffImageFile) and file.mode == "L" and is_signed(file)
    if is_signed_byte or file.mode == "F" or file.mode.startswith("I"):
        return _read_grey(file)
    return None


def orientation_of(file: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none."""
    orientation = file.getexif().get(ExifTags.Base.Orientation)
    return orientation if isinstance(orientation, int) else 1


def _read_grey(file: Image.Image) -> DeepPicture:
    stated_high = _stated_high(file)
    is_tiff, is_negative = isinstance(file, TiffImageFile), isinstance(file, TiffImageFile) and is_signed(file)
    file.load()
    mode = file.mode
    is_unsigned = mode != "F" and not is_negative
    if mode == "I" and not is_tiff:  # In memory, or a portable graymap: nothing states a sign.
        is_unsigned = bool(np.asarray(file).min() >= 0)
    # Pillow calls both whole numbers of 32 bits and signed bytes by one name.
    exact = np.uint32 if mode == "I" and is_tiff and is_unsigned else np.int8 if mode == "L" else None

    def rows(top: int, bottom: int) -> Values:
        values = np.asarray(file.crop((0, top, file.width, bottom)))
        return (values if exact is None else values.view(exact))[..., None]

    return DeepPicture(
        file.size, rows, is_unsigned=is_unsigned, stated_high=stated_high if is_unsigned else None,
        orientation=orientation_of(file),
    )  # fmt: skip


def _read_words(file: Image.Image, reopen: Reopen) -> DeepPicture:
    stated_high = _stated_high(file)
    high, orientation = _decode(reopen, _unchanged)
    height, width, _ = high.shape
    return WordPicture(
        (width, height), high=high, low=lambda: _decode(reopen, _exchanged)[0], stated_high=stated_high,
        orientation=orientation,
    )  # fmt: skip


def _read_grey_and_opacity(file: Image.Image, reopen: Reopen) -> DeepPicture:
    stated_high = _stated_high(file)
    # The four bytes of a pixel, as if they were four channels: high and low of grey, high and low of opacity.
    quads, orientation = _decode(reopen, lambda _: "RGBA")
    height, width, _ = quads.shape
    return WordPicture(
        (width, height), high=quads[..., 0::2], low=lambda: quads[..., 1::2], stated_high=stated_high,
        orientation=orientation,
    )  # fmt: skip


def _read_netpbm(file: ImageFile) -> DeepPicture:
    """Read words as they are: Pillow scales each in Python, which takes minutes."""
    assert file.fp is not None
    stated_high = _largest_netpbm_value(file)
    width, height = file.size
    channels = 1 if _raw_mode(file) == "L" else 3
    file.fp.seek(file.tile[0].offset)
    content = file.fp.read(width * height * channels * 2)
    if len(content) < width * height * channels * 2:
        raise OSError("image file is truncated")
    words = np.frombuffer(content, dtype=">u2").reshape(height, width, channels)
    return DeepPicture(
        file.size, lambda top, bottom: words[top:bottom], is_unsigned=True,
        stated_high=None if stated_high == 65535 else stated_high,
    )  # fmt: skip


def _decode(reopen: Reopen, raw_mode_of: Callable[[str], str]) -> tuple[UInt8[np.ndarray, "H W c"], int]:
    """Decode a file with another raw mode; the bytes that it gives, and the orientation that is left to turn."""
    with reopen() as file:
        assert isinstance(file, ImageFile)
        file.tile = [tile._replace(args=_with_raw_mode(tile.args, raw_mode_of)) for tile in file.tile]
        file.load()
        return _to_array(file), orientation_of(file)


def _to_array(picture: Image.Image) -> UInt8[np.ndarray, "H W c"]:
    """Copy pixels strip by strip: Pillow's own conversion takes their memory twice."""
    width, height = picture.size
    array = np.empty((height, width, len(picture.getbands())), dtype=np.uint8)
    for top, bottom in strips(picture.size):
        array[top:bottom] = np.asarray(picture.crop((0, top, width, bottom)))
    return array


def _raw_mode(file: Image.Image) -> str:
    """Return Pillow's name of how the pixels of an undecoded file are stored; empty for a picture in memory."""
    args = file.tile[0].args if isinstance(file, ImageFile) and file.tile else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _with_raw_mode(
    args: tuple[object, ...] | str | None, raw_mode_of: Callable[[str], str]
) -> tuple[object, ...] | str:
    return (raw_mode_of(str(args[0])), *args[1:]) if isinstance(args, tuple) else raw_mode_of(str(args))


def _largest_netpbm_value(file: ImageFile) -> int | None:
    """Return what the header of a binary PPM or PGM states, None for other files and where that is 255."""
    args = file.tile[0].args if file.tile and file.tile[0].codec_name == "ppm" else None
    return args[1] if isinstance(args, tuple) else None


def _unchanged(raw_mode: str) -> str:
    return raw_mode


def _exchanged(raw_mode: str) -> str:
    return raw_mode[:-1] + _OTHER_BYTE[raw_mode[-1]]


def _stated_high(file: Image.Image) -> int | None:
    """Return the largest value that the header of an undecoded file states, None where it states all 16 bits."""
    if isinstance(file, TiffImageFile):
        return largest_stated_value(file)
    if not isinstance(file, ImageFile) or file.fp is None:  # in memory
        return None
    # Pillow scales both to 16 bits by what the header states.
    if file.tile and file.tile[0].codec_name == "ppm_plain":
        return 65535
    if file.format == "JPEG2000":
        return 65535 if _jpeg2000_bits(file) < 16 else None
    bits = _significant_bits(file) if file.format == "PNG" else 0
    return 2**bits - 1 if 8 < bits < 16 else None


def _jpeg2000_bits(file: ImageFile) -> int:
    """Return the bits of the first channel, which the codestream states in its second marker."""
    content = file.fp
    assert content is not None
    content.seek(0)
    head = content.read(4096)
    start = head.find(b"\xff\x4f\xff\x51")
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 16


def _significant_bits(file: ImageFile) -> int:
    """Return the bits that the chunk sBIT of a PNG states, the most of its channels; 0 without one."""
    content = file.fp
    assert content is not None
    position = content.tell()
    try:
        content.seek(33)  # behind the signature and the first chunk
        while len(head := content.read(8)) == 8 and head[4:] not in (b"IDAT", b"PLTE", b"IEND"):
            length = int.from_bytes(head[:4])
            if head[4:] == b"sBIT":
                return max(content.read(min(length, 4)), default=0)
            content.seek(length + 4, 1)
        return 0
    finally:
        content.seek(position)
