"""Pictures of more than eight bits, signed and float: scaled by one range of values, each format and layout."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from picture_files import tiff
from tscam.decoding import DECODE_DEFAULTS, DecodeSettings, PixelRange
from tscam.errors import ConfigError, ImageError
from tscam.image import decode_picture, image_size_wh, inspect_picture, read_image

LEVELS = np.random.default_rng(0).integers(0, 256, size=(20, 31, 3), dtype=np.uint8)
LEVELS[0, 0] = 255  # so that every range is used to its end
GREY = LEVELS[..., 0]


def of_bits(levels: np.ndarray, bits: int) -> np.ndarray:
    """Levels 0…255 as words that use so many bits."""
    return np.rint(levels / 255 * (2**bits - 1)).astype(np.uint16)


def png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits: grey, RGB or RGBA."""
    channels = [2, 1, 0, 3][: values.shape[-1]]
    return cv2.imencode(".png", values if values.ndim == 2 else values[..., channels])[1].tobytes()


def png_of_grey_with_opacity(values: np.ndarray) -> bytes:
    """A PNG of 16 bits of grey and opacity, which no library here writes."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in [*chunks, (b"IEND", b"")])


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def netpbm(values: np.ndarray, largest: int = 65535) -> bytes:
    magic = b"P6" if values.ndim == 3 else b"P5"
    return magic + b"\n%d %d\n%d\n" % (values.shape[1], values.shape[0], largest) + values.astype(">u2").tobytes()


def lzw_tiff(values: np.ndarray) -> bytes:
    channels = values if values.ndim == 2 else values[..., ::-1]
    return cv2.imencode(".tiff", channels, [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()


def big_endian_tiff(values: np.ndarray) -> bytes:
    return tiff(values, byteorder=">", photometric="rgb" if values.ndim == 3 else "minisblack")


def little_endian_tiff(values: np.ndarray) -> bytes:
    return tiff(values, photometric="rgb" if values.ndim == 3 else "minisblack")


def bands_tiff(values: np.ndarray) -> bytes:
    """Return a TIFF file as GDAL writes three bands of 16 bits: grey with two further bands."""
    return tiff(values)


WRITERS = [png, netpbm, little_endian_tiff, big_endian_tiff, lzw_tiff, bands_tiff]


def pixels_of(content: bytes, settings: DecodeSettings = DECODE_DEFAULTS) -> np.ndarray:
    return np.asarray(read_image(content, settings=settings)).astype(int)


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("levels", [GREY, LEVELS], ids=["grey", "RGB"])
def test_nine_to_fifteen_bits_in_sixteen_look_as_eight_bits(
    levels: np.ndarray, write: Callable[[np.ndarray], bytes], bits: int
) -> None:
    expected = levels if levels.ndim == 3 else np.stack([levels] * 3, axis=-1)
    assert np.abs(pixels_of(write(of_bits(levels, bits))) - expected).max() <= 1


@pytest.mark.parametrize("write", WRITERS)
def test_sixteen_bits_of_colour_over_the_full_range_are_their_high_bytes(write: Callable[[np.ndarray], bytes]) -> None:
    values = np.random.default_rng(1).integers(0, 65536, size=(20, 31, 3)).astype(np.uint16)
    values[0, 0] = 65535
    is_netpbm = write is netpbm  # Pillow rounds these.
    expected = np.rint(values / 257) if is_netpbm else values >> 8
    np.testing.assert_array_equal(pixels_of(write(values)), expected)


def test_a_maximum_of_255_and_one_of_256_differ_by_a_factor_of_two() -> None:
    levels = np.array([[0, 100, 200, 255]], dtype=np.uint16)
    assert pixels_of(png(levels))[0, :, 0].tolist() == [0, 100, 200, 255]
    levels[0, 3] = 256
    assert pixels_of(png(levels))[0, :, 0].tolist() == [0, 50, 100, 128]


def test_fewer_than_eight_bits_are_not_stretched() -> None:
    assert pixels_of(png(np.array([[0, 3, 100]], dtype=np.uint16)))[0, :, 0].tolist() == [0, 3, 100]


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_signed_numbers_and_floats_are_scaled_from_lowest_to_highest(kind: str, byteorder: str) -> None:
    values = np.array([[-100, -50, 0, 27, 28, 100]], dtype=kind)
    content = tiff(values, byteorder=">" if byteorder == ">" else "<")
    assert pixels_of(content)[0, :, 0].tolist() == [0, 64, 128, 162, 163, 255]


def test_signed_numbers_without_negative_ones_are_scaled_from_their_lowest() -> None:
    assert pixels_of(tiff(np.array([[1000, 1500, 2000]], dtype=np.int16)))[0, :, 0].tolist() == [0, 128, 255]


def test_floats_far_from_zero_keep_their_differences() -> None:
    values = 1e7 + np.arange(5, dtype=np.float32)[None]
    assert pixels_of(tiff(values))[0, :, 0].tolist() == [0, 64, 128, 191, 255]


def test_whole_numbers_of_32_bits_are_unsigned_where_the_file_says_so() -> None:
    values = np.array([[0, 2**31, 2**32 - 1]], dtype=np.uint32)
    for byteorder in ("<", ">"):
        assert pixels_of(tiff(values, byteorder="<" if byteorder == "<" else ">"))[0, :, 0].tolist() == [0, 128, 255]
    assert pixels_of(tiff(np.array([[0, 50_000, 100_000]], dtype=np.uint32)))[0, :, 0].tolist() == [0, 97, 195]


def test_a_flat_picture_is_black() -> None:
    assert pixels_of(tiff(np.full((2, 3), -7, dtype=np.int16))).max() == 0
    assert pixels_of(tiff(np.full((2, 3), np.nan, dtype=np.float32))).max() == 0


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("levels", [GREY, LEVELS], ids=["grey", "RGB"])
def test_a_range_that_is_given_wins(levels: np.ndarray, write: Callable[[np.ndarray], bytes]) -> None:
    settings = DecodeSettings(pixel_range=PixelRange(low=1000.0, high=4000.0))
    values = of_bits(levels, 12)
    expected = np.rint(np.clip((values.astype(float) - 1000) / 3000, 0, 1) * 255)
    expected = expected if levels.ndim == 3 else np.stack([expected] * 3, axis=-1)
    np.testing.assert_array_equal(pixels_of(write(values), settings), expected)


def test_a_range_does_not_touch_eight_bits() -> None:
    settings = DecodeSettings(pixel_range=PixelRange(low=0.0, high=4095.0))
    content = cv2.imencode(".png", LEVELS[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(pixels_of(content, settings), LEVELS)


def test_the_range_that_was_used_is_told() -> None:
    assert decode_picture(png(of_bits(GREY, 12))).pixel_range == PixelRange(low=0.0, high=4095.0)
    assert decode_picture(tiff(np.array([[-3.5, 7.25]], dtype=np.float32))).pixel_range == PixelRange(
        low=-3.5, high=7.25
    )
    assert decode_picture(cv2.imencode(".png", LEVELS)[1].tobytes()).pixel_range is None
    chosen = PixelRange(low=0.0, high=9.0)
    assert decode_picture(png(of_bits(GREY, 12)), settings=DecodeSettings(pixel_range=chosen)).pixel_range == chosen


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_range_without_extent_is_refused(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match="expected low < high"):
        PixelRange(low=low, high=high)


def test_bits_that_a_file_declares_are_its_range() -> None:
    dark = np.array([[0, 100, 1000]], dtype=np.uint16)
    content = png(dark)
    declared = content[:33] + chunk(b"sBIT", b"\x0c") + content[33:]
    for file in (declared, tiff(dark, greatest=4095), netpbm(dark, largest=4095)):
        assert decode_picture(file).pixel_range == PixelRange(low=0.0, high=4095.0)
        assert pixels_of(file)[0, :, 0].tolist() == [0, 6, 62]
    assert decode_picture(content).pixel_range == PixelRange(low=0.0, high=1023.0)


def test_twelve_bits_of_jpeg_2000_in_sixteen_look_as_eight_bits() -> None:
    levels = np.repeat(np.repeat(GREY, 8, axis=0), 8, axis=1)
    file = io.BytesIO()
    Image.fromarray(of_bits(levels, 12)).save(file, "JPEG2000")
    assert np.abs(pixels_of(file.getvalue())[..., 0] - levels).max() <= 1


def test_declared_bits_that_the_values_exceed_are_no_range() -> None:
    assert decode_picture(tiff(np.array([[0, 9000]], dtype=np.uint16), greatest=4095)).pixel_range == PixelRange(
        low=0.0, high=16383.0
    )


@pytest.mark.parametrize("bits", [12, 16])
def test_opacity_of_sixteen_bits_is_laid_on_white(bits: int) -> None:
    words = of_bits(np.dstack([LEVELS, GREY[..., None]]), bits)
    opacity = GREY[..., None] / 255
    for content in (png(words), tiff(words, photometric="rgb")):
        assert np.abs(pixels_of(content) - (LEVELS * opacity + 255 * (1 - opacity))).max() <= 2
    grey = pixels_of(png_of_grey_with_opacity(words[..., 2:]))
    assert np.abs(grey - (LEVELS[..., 2:] * opacity + 255 * (1 - opacity))).max() <= 2


def test_full_opacity_beside_twelve_bits_of_colour_is_opaque() -> None:
    words = np.dstack([of_bits(LEVELS, 12), np.full((20, 31, 1), 65535, dtype=np.uint16)])
    assert np.abs(pixels_of(png(words)) - LEVELS).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("mode", ["grey", "RGB", "opacity"])
def test_deep_pictures_are_turned_as_others(mode: str, bits: int, orientation: int) -> None:
    levels = {"grey": GREY, "RGB": LEVELS, "opacity": np.dstack([LEVELS, np.full_like(GREY, 255)])}[mode]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG", exif=exif)
    expected = pixels_of(file.getvalue())
    # The chunk of EXIF is before the pixels; it is copied into the file of 16 bits.
    content = file.getvalue()
    start = content.find(b"eXIf") - 4
    exif_chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4])]
    deep = png(of_bits(levels, bits))
    turned = deep[:33] + exif_chunk + deep[33:]
    assert np.abs(pixels_of(turned) - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_of_a_tiff_is_turned_as_a_png(tmp_path: Path, mode: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(of_bits(GREY, 16)) if mode == "I;16" else Image.fromarray(LEVELS).convert(mode)
    path = tmp_path / "x.tiff"
    picture.save(path, exif=exif)
    upright = (picture if mode == "I;16" else picture.convert("RGB"),)[0]
    upright.save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(path)), np.asarray(read_image(tmp_path / "x.png")))
    assert image_size_wh(path) == inspect_picture(path).size_wh == read_image(path).size


# A fourth band beside RGB is opacity.
@pytest.mark.parametrize(("bands", "is_rgb"), [(3, True), (5, True), (6, True), *((n, False) for n in range(3, 7))])
def test_the_first_three_of_many_bands_are_read(bands: int, *, is_rgb: bool) -> None:
    values = np.random.default_rng(bands).integers(0, 256, size=(20, 31, bands), dtype=np.uint8)
    content = tiff(values, photometric="rgb" if is_rgb else "minisblack")
    np.testing.assert_array_equal(pixels_of(content), values[..., :3])


def test_the_first_three_of_four_bands_of_twelve_bits_are_read() -> None:
    words = of_bits(np.dstack([LEVELS, GREY]), 12)
    assert np.abs(pixels_of(tiff(words)) - LEVELS).max() <= 1


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        (tiff(np.zeros((4, 5, 8), np.uint8)), "8 bands of 8-bit unsigned numbers"),
        (tiff(np.zeros((4, 5, 13), np.uint16)), "13 bands of 16-bit unsigned numbers"),
        (tiff(np.zeros((4, 5, 3), np.float32)), "3 bands of 32-bit float numbers"),
        (tiff(np.zeros((4, 5, 3), np.int16), photometric="rgb"), "3 bands of 16-bit signed numbers"),
        (tiff(np.zeros((3, 4, 5), np.uint16), photometric="rgb", in_planes=True), "3 bands of 16-bit unsigned numbers"),
        (tiff(np.zeros((4, 5), np.float16)), "1 band of 16-bit float numbers"),
    ],
)
def test_other_layouts_are_refused_in_words(tmp_path: Path, content: bytes, layout: str) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    for function in (read_image, image_size_wh, inspect_picture):
        with pytest.raises(ImageError) as refused:
            function(path)
        assert layout in str(refused.value)
        assert str(refused.value).endswith(
            "export three bands as RGB, or one as grey, of 8 or 16 bits and pixel by pixel"
        )


def test_a_cut_file_of_words_is_refused(tmp_path: Path) -> None:
    for write in WRITERS:
        (tmp_path / "x").write_bytes(write(of_bits(LEVELS, 12))[:-900])
        for function in (read_image, inspect_picture):
            with pytest.raises(ImageError, match="not a readable picture"):
                function(tmp_path / "x")


def test_pictures_in_memory_are_scaled_as_their_files() -> None:
    words = of_bits(GREY, 12)
    assert np.abs(np.asarray(read_image(Image.fromarray(words)))[..., 0].astype(int) - GREY).max() <= 1
    signed = Image.fromarray(np.array([[-100, 0, 100]], dtype=np.int32))
    assert np.asarray(read_image(signed))[0, :, 0].tolist() == [0, 128, 255]
    unsigned = Image.fromarray(np.array([[0, 500, 1023]], dtype=np.int32))
    assert np.asarray(read_image(unsigned))[0, :, 0].tolist() == [0, 125, 255]


def test_facts_of_a_deep_picture_are_its_values_and_of_others_a_level(tmp_path: Path) -> None:
    (tmp_path / "deep.png").write_bytes(png(of_bits(GREY, 12)))
    facts = inspect_picture(tmp_path / "deep.png")
    assert facts.span is not None
    assert (facts.span.low, facts.span.high, facts.span.is_unsigned) == (of_bits(GREY, 12).min(), 4095, True)
    assert facts.bright_value == pytest.approx(np.percentile(of_bits(GREY, 12), 99))
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    facts = inspect_picture(tmp_path / "grey.png")
    assert facts.span is None
    assert facts.bright_value == pytest.approx(np.percentile(GREY, 99), abs=1)
