"""Layouts of TIFF files: those that Pillow decodes without listing them, and words for those that it cannot decode."""

import io
import struct

from PIL import TiffImagePlugin

# The open file of a picture, or its bytes.
Content = io.BufferedReader | io.BytesIO

_MIN_IS_BLACK, _UNSIGNED, _FLOAT = 1, 1, 3
_RAW_MODES = {3: "RGB", 4: "RGBX", 5: "RGBXX", 6: "RGBXXX"}  # the first three of so many bands
_NUMBERS = {1: "unsigned", 2: "signed", 3: "float"}
_FAULTS = (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error)


def register_layouts() -> None:
    """Let Pillow open as RGB what is stored as grey with further bands, GDAL's way; and numbers of 32 and 64 bits."""
    for prefix, order in ((b"II", "L"), (b"MM", "B")):
        for bands, raw_mode in _RAW_MODES.items():
            # Further bands are unspecified, or the file does not state them at all.
            for extra in ((), (0,) * (bands - 1)):
                _register(prefix, _UNSIGNED, (8,) * bands, extra, ("RGB", raw_mode))
                if bands <= 4:
                    _register(prefix, _UNSIGNED, (16,) * bands, extra, ("RGB", f"{raw_mode};16{order}"))
        _register(prefix, _FLOAT, (64,), (), ("F", "F;64F" if order == "L" else "F;64BF"))
    _register(b"MM", _UNSIGNED, (32,), (), ("I", "I;32B"))


def _register(
    prefix: bytes, numbers: int, bits: tuple[int, ...], extra: tuple[int, ...], modes: tuple[str, str]
) -> None:
    TiffImagePlugin.OPEN_INFO.setdefault((prefix, _MIN_IS_BLACK, (numbers,), 1, bits, extra), modes)


def is_signed(file: TiffImagePlugin.TiffImageFile) -> bool:
    """True if the numbers of a TIFF may be negative."""
    return file.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == 2


def largest_stated_value(file: TiffImagePlugin.TiffImageFile) -> int | None:
    """Return the largest value that a TIFF of up to 16 unsigned bits states, None where it states all its bits."""
    bits = file.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]
    stated = file.tag_v2.get(281)  # MaxSampleValue
    largest = stated[0] if isinstance(stated, tuple) and stated else stated
    if isinstance(largest, int) and 255 < largest < 65535:
        return largest
    return 2**bits - 1 if 8 < bits < 16 else None


def has_deep_planes(file: TiffImagePlugin.TiffImageFile) -> bool:
    """True if more than one band of more than eight bits is stored plane by plane, which Pillow reads wrongly."""
    bits = file.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    planes = file.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1)
    return planes == 2 and max(bits) > 8 and file.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > 1


def describe_layout(content: Content) -> str | None:
    """Return in words how a TIFF stores its pixels; None for what is no TIFF, or a broken one."""
    try:
        content.seek(0)
        header = content.read(8)
        if not header.startswith(tuple(TiffImagePlugin.PREFIXES)):
            return None
        tags = TiffImagePlugin.ImageFileDirectory_v2(header + content.read(8) if header[2] == 43 else header)
        content.seek(tags.next)
        tags.load(content)
        if TiffImagePlugin.IMAGEWIDTH not in tags or TiffImagePlugin.BITSPERSAMPLE not in tags:
            return None
        bands = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
        bits = int(tags[TiffImagePlugin.BITSPERSAMPLE][0])
        numbers = _NUMBERS.get(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0], "other")
    except _FAULTS:
        return None
    planes = " in separate planes" if bands > 1 and tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2 else ""
    return f"{bands} band{'s' if bands > 1 else ''} of {bits}-bit {numbers} numbers{planes}"
