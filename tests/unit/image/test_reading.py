"""Pictures of every odd suffix have a defined result: upright RGB, or an `ImageError` of one line."""

import io
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision import transforms

from damaged_pictures import damaged, formats, is_refused
from picture_files import ENDINGS, write_picture
from tscam.errors import ImageError
from tscam.image import (
    InputFormat,
    has_picture_suffix,
    image_size_wh,
    inspect_picture,
    normalize,
    preprocess,
    read_image,
)

# 31 wide, 20 high, every corner another colour: no turn of it looks like another.
ASYMMETRIC = np.zeros((20, 31, 3), dtype=np.uint8)
ASYMMETRIC[:7, :11] = (255, 0, 0)
ASYMMETRIC[:7, 20:] = (0, 255, 0)
ASYMMETRIC[13:, :11] = (0, 0, 255)

# Pixels that a viewer shows, by EXIF orientation.
DISPLAYED = {
    1: ASYMMETRIC,
    2: ASYMMETRIC[:, ::-1],
    3: ASYMMETRIC[::-1, ::-1],
    4: ASYMMETRIC[::-1],
    5: ASYMMETRIC.transpose(1, 0, 2),
    6: np.rot90(ASYMMETRIC, -1),
    7: np.rot90(ASYMMETRIC, 2).transpose(1, 0, 2),
    8: np.rot90(ASYMMETRIC, 1),
}


def pixels_of(path: Path) -> np.ndarray:
    picture = read_image(path)
    assert picture.mode == "RGB"
    assert image_size_wh(path) == inspect_picture(path).size_wh == picture.size
    return np.asarray(picture)


def refusal_of(path: Path) -> str:
    """The one line with which a file is refused, by each of the three functions."""
    lines = set()
    for function in (read_image, image_size_wh, inspect_picture):
        with pytest.raises(ImageError) as refused:
            function(path)
        lines.add(str(refused.value))
    assert len(lines) == 1
    assert "\n" not in min(lines)
    return lines.pop()


@pytest.mark.parametrize("ending", [*ENDINGS, ".JPG", ".Jfif", ".TIF", ".HEIC"])
def test_every_ending_is_a_pictures_and_its_file_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    write_picture(path, Image.new("RGB", (310, 200), (255, 255, 255)))
    assert has_picture_suffix(path.name)
    picture = read_image(path)
    assert image_size_wh(path) == inspect_picture(path).size_wh == picture.size == (310, 200)
    assert np.asarray(picture).min() > 250


@pytest.mark.parametrize("name", ["notes.txt", "jpg", ".jpg", "a.jpg.bak", "a.svg", "a.pdf", "a.eps", "a."])
def test_other_endings_are_no_pictures(name: str) -> None:
    assert not has_picture_suffix(name)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_a_picture_is_turned_as_it_is_displayed(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(ASYMMETRIC).save(path, exif=exif, lossless=True)
    np.testing.assert_array_equal(pixels_of(path), DISPLAYED[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "avif"])
def test_a_lossy_picture_is_turned_too(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(ASYMMETRIC).save(tmp_path / f"x.{suffix}", exif=exif, quality=95)
    error = np.abs(pixels_of(tmp_path / f"x.{suffix}").astype(int) - DISPLAYED[orientation])
    assert error.mean() < 12


def encoded(suffix: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(ASYMMETRIC).save(file, suffix, exif=exif, lossless=True)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_bytes_and_an_open_picture_are_turned_like_the_file_and_a_picture_that_was_read_is_not_turned_again(
    suffix: str, orientation: int
) -> None:
    content = encoded(suffix, orientation)
    picture = read_image(content)
    np.testing.assert_array_equal(np.asarray(picture), DISPLAYED[orientation])
    np.testing.assert_array_equal(np.asarray(read_image(picture)), DISPLAYED[orientation])
    with Image.open(io.BytesIO(content)) as opened:
        np.testing.assert_array_equal(np.asarray(read_image(opened)), DISPLAYED[orientation])
        # A converted picture keeps the orientation in its metadata; of a TIFF it is turned already.
        np.testing.assert_array_equal(np.asarray(read_image(opened.convert("RGB"))), DISPLAYED[orientation])
        np.testing.assert_array_equal(np.asarray(read_image(ImageOps.exif_transpose(opened))), DISPLAYED[orientation])


def test_arrays_are_rgb_or_grey_and_stay_as_they_are() -> None:
    for array in (ASYMMETRIC, ASYMMETRIC[:, ::-1], np.asfortranarray(ASYMMETRIC)):
        before = array.copy()
        picture = read_image(array)
        assert (picture.mode, picture.size) == ("RGB", (31, 20))
        picture.paste((9, 9, 9), (0, 0, 31, 20))
        np.testing.assert_array_equal(array, before)
        np.testing.assert_array_equal(np.asarray(read_image(array)), before)
    grey = np.arange(15, dtype=np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(np.asarray(read_image(grey)), np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.zeros((3, 20, 31), dtype=np.uint8), "3 × 20 × 31, uint8"),
        (np.zeros((20, 31, 4), dtype=np.uint8), "20 × 31 × 4, uint8"),
        (np.zeros((20, 31, 3), dtype=np.float32), "20 × 31 × 3, float32"),
        (np.zeros((2, 20, 31, 3), dtype=np.uint8), "2 × 20 × 31 × 3, uint8"),
        (np.zeros((0, 31, 3), dtype=np.uint8), "0 × 31 × 3, uint8"),
        (np.zeros(9, dtype=np.uint8), "9, uint8"),
        (np.uint8(3) * np.ones((), dtype=np.uint8), "no dimension, uint8"),
    ],
)
def test_an_array_of_another_shape_or_type_is_refused(array: np.ndarray, named: str) -> None:
    with pytest.raises(ImageError) as refused:
        read_image(np.asarray(array))
    expected = "expected height × width × 3 (RGB) or height × width (grey), uint8"
    assert str(refused.value) == f"an array of {named}; {expected}"


def test_broken_pictures_in_memory_are_refused_in_one_line() -> None:
    content = encoded("png", 1)
    for broken, message in (
        (b"", "bytes: none; expected the content of a picture file"),
        (b"hello", "bytes: not a readable picture (UnidentifiedImageError"),
        (content[:-60], "bytes: not a readable picture (OSError"),
    ):
        with pytest.raises(ImageError) as refused:
            read_image(broken)
        assert str(refused.value).startswith(message)
        assert "\n" not in str(refused.value)
    with (
        Image.open(io.BytesIO(content[:-60])) as opened,
        pytest.raises(ImageError, match=r"^a picture in memory: not a readable picture"),
    ):
        read_image(opened)


def test_grey_is_repeated_in_three_channels(tmp_path: Path) -> None:
    Image.new("L", (5, 3), 77).save(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.png"), np.full((3, 5, 3), 77))


def test_black_and_white_is_read(tmp_path: Path) -> None:
    Image.new("1", (9, 3), 1).save(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.png"), np.full((3, 9, 3), 255))


def test_cmyk_is_ink_on_white(tmp_path: Path) -> None:
    Image.new("CMYK", (5, 3), (255, 0, 0, 0)).save(tmp_path / "x.tiff")
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.tiff")[0, 0], (0, 255, 255))
    Image.new("CMYK", (16, 8), (0, 255, 0, 0)).save(tmp_path / "x.jpg")
    assert np.abs(pixels_of(tmp_path / "x.jpg")[0, 0].astype(int) - (255, 0, 255)).max() <= 3


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    levels = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / f"x.{suffix}")
    assert pixels_of(tmp_path / f"x.{suffix}")[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floats_up_to_one_are_scaled_and_nan_is_black(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.5, 1.0, np.nan]], dtype=np.float32)).save(tmp_path / "x.tiff")
    assert pixels_of(tmp_path / "x.tiff")[0, :, 0].tolist() == [0, 128, 255, 0]


def test_floats_out_of_every_range_are_black_or_white(tmp_path: Path) -> None:
    signalling_nan = np.array([0x7FA00000], dtype=np.uint32).view(np.float32)[0]
    levels = np.array([[-3e38, 3e38, np.inf, -np.inf, signalling_nan]], dtype=np.float32)
    Image.fromarray(levels).save(tmp_path / "x.tiff")
    assert pixels_of(tmp_path / "x.tiff")[0, :, 0].tolist() == [0, 255, 0, 0, 0]


def test_transparent_palette_colours_are_laid_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 0, 0])
    picture.putpixel((1, 0), 1)
    for name in ("x.png", "x.gif"):
        picture.save(tmp_path / name, transparency=0)
        assert pixels_of(tmp_path / name).tolist() == [[[255, 255, 255], [200, 0, 0]]]


def test_half_transparent_black_on_white_is_grey(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 3), (0, 0, 0, 128)).save(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.png"), np.full((3, 2, 3), 127))
    Image.new("LA", (2, 3), (255, 0)).save(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels_of(tmp_path / "x.png"), np.full((3, 2, 3), 255))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff", "avif"])
def test_an_animation_is_its_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 12), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:])
    red, green, blue = pixels_of(tmp_path / f"x.{suffix}")[6, 8].tolist()
    assert red > 245
    assert green < 10
    assert blue < 10


@pytest.mark.parametrize("size_wh", [(1, 1), (1, 20000), (20000, 1)])
def test_the_narrowest_pictures_have_a_view(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    Image.new("RGB", size_wh, (255, 255, 255)).save(tmp_path / "x.png")
    pixels, view = preprocess(read_image(tmp_path / "x.png"), to=InputFormat(size_hw=(6, 4)))
    assert pixels.shape == (3, 6, 4)
    assert view.to_picture(np.array([[0.0, 0.0, 4.0, 6.0]])).tolist() == [[0, 0, *size_wh]]


@pytest.mark.parametrize("name", ["a\nb.png", "🦊 fox.png", "ä'\"%s.png", "-rf.png"])
def test_odd_names_are_only_names(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / name)
    assert pixels_of(tmp_path / name).shape == (3, 4, 3)
    (tmp_path / name).write_bytes(b"GIF89a")
    assert "not a readable picture" in refusal_of(tmp_path / name)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert refusal_of(tmp_path / "folder.jpg").endswith("folder.jpg: not a file; expected a picture")
    assert refusal_of(tmp_path / "pipe.jpg").endswith("pipe.jpg: not a file; expected a picture")
    for name in ("link.jpg", "loop.jpg", "nowhere.jpg", "a\0.jpg"):
        assert "cannot be opened" in refusal_of(tmp_path / name)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    assert refusal_of(tmp_path / "x.jpg") == f"{tmp_path / 'x.jpg'}: an empty file; expected a picture"


@pytest.mark.parametrize(
    "content",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n",
        b"%PDF-1.4\n%%EOF\n",
        b"8BPS\0\1\0\0\0\0\0\0\0\3\0\0\0\1\0\0\0\1\0\10\0\3" + b"\0" * 40,
        b"hello",
    ],
)
def test_programs_and_other_files_named_like_pictures_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    assert "cannot identify" in refusal_of(tmp_path / "x.jpg")


def enormous(suffix: str) -> bytes:
    """The header of a picture of 100,000 × 100,000 pixels."""
    if suffix == "png":
        header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
        checked = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
        return b"\x89PNG\r\n\x1a\n" + checked + struct.pack(">I", 9) + b"IDAT" + bytes(9)
    if suffix == "bmp":
        return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0)
    if suffix == "ppm":
        return b"P6 100000 100000 255\n"
    small = io.BytesIO()
    Image.new("RGB", (9, 7)).save(small, "TIFF")
    content = small.getvalue()
    for tag, size in ((256, 9), (257, 7)):
        offset = next(i for type_ in (3, 4) if (i := content.find(struct.pack("<HHI", tag, type_, 1))) >= 0)
        assert size in content[offset + 8 : offset + 10]
        content = content[:offset] + struct.pack("<HHII", tag, 4, 1, 100_000) + content[offset + 12 :]
    return content


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tiff"])
def test_an_enormous_header_is_refused_at_once(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "x.jpg").write_bytes(enormous(suffix))
    before = time.perf_counter()
    expected = "10,000,000,000 pixels, the limit is 178,956,970; scale it down, or raise the limit: --max-pixels"
    assert refusal_of(tmp_path / "x.jpg") == f"{tmp_path / 'x.jpg'}: {expected} 10000000000"
    assert time.perf_counter() - before < 1


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_found_without_decoding_it_at_full_size(tmp_path: Path, *, progressive: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(120, 200, 3), dtype=np.uint8)
    path = tmp_path / "x.jpg"
    Image.fromarray(noise).save(path, progressive=progressive)
    assert inspect_picture(path).size_wh == (200, 120)
    path.write_bytes(path.read_bytes()[:-500])
    assert image_size_wh(path) == (200, 120)
    for function in (read_image, inspect_picture):
        with pytest.raises(ImageError, match="truncated"):
            function(path)


def test_broken_metadata_does_not_spoil_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(ASYMMETRIC).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\x40\0\x12\x01\x03\0")
    assert pixels_of(path).shape == (20, 31, 3)


def test_metadata_that_could_not_be_written_again_still_turns_a_picture(tmp_path: Path) -> None:
    height_as_text = struct.pack(">HHII", 257, 2, 6, 38)
    orientation = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + height_as_text + orientation + bytes(4) + b"hello\0"
    Image.fromarray(ASYMMETRIC).save(tmp_path / "x.jpg", exif=exif)
    assert pixels_of(tmp_path / "x.jpg").shape == (31, 20, 3)


def test_a_transparent_palette_survives_the_turn(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 0, 0])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "x.png", transparency=0, exif=exif)
    assert pixels_of(tmp_path / "x.png").tolist() == [[[200, 0, 0]], [[255, 255, 255]]]


def naive_resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Rows of `pixels [n w]` to length `size`: triangle filter, widened where the picture shrinks."""
    width = pixels.shape[1]
    scale = width / size
    resized = np.zeros((pixels.shape[0], size))
    for i in range(size):
        weights = [max(0.0, 1 - abs((j + 0.5 - (i + 0.5) * scale) / max(scale, 1.0))) for j in range(width)]
        for j in range(width):
            resized[:, i] += pixels[:, j] * weights[j] / sum(weights)
    return resized


def test_preprocess_resizes_with_antialiasing_then_normalizes() -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, size=(20, 31, 3), dtype=np.uint8))
    to = InputFormat(size_hw=(28, 12), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2))
    pixels, view = preprocess(picture, to=to)
    assert (view.picture_wh, view.view_wh) == ((31, 20), (12, 28))
    for channel in range(3):
        levels = naive_resize(naive_resize(np.asarray(picture)[..., channel].astype(float), 12).T, 28).T
        expected = (levels / 255 - to.mean[channel]) / to.std[channel]
        np.testing.assert_allclose(pixels[channel], expected, atol=1.01 / 255 / to.std[channel])


@pytest.mark.parametrize("size_hw", [(224, 224), (28, 412)])
def test_preprocess_is_torchvisions(size_hw: tuple[int, int]) -> None:
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, size=(200, 310, 3), dtype=np.uint8))
    to = InputFormat(size_hw=size_hw)
    reference = transforms.Compose(
        [transforms.Resize(size_hw), transforms.ToTensor(), transforms.Normalize(to.mean, to.std)]
    )
    np.testing.assert_allclose(preprocess(picture, to=to)[0], reference(picture).numpy(), atol=1e-6)


def test_normalize_keeps_the_size() -> None:
    white = Image.new("RGB", (3, 2), "white")
    pixels = normalize(white, to=InputFormat(size_hw=(9, 9), mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 2.0)))
    np.testing.assert_allclose(pixels, np.broadcast_to([[[1.0]], [[1.0]], [[0.0]]], (3, 2, 3)))


@pytest.mark.parametrize("name", formats())
def test_damaged_files_are_read_or_refused_and_nothing_else(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(list(name.encode()))
    path, content = tmp_path / "x.jpg", formats()[name]
    refused = 0
    for _ in range(60):
        path.write_bytes(damaged(content, random))
        refused += is_refused(path)
    assert refused > 0
    assert capfd.readouterr() == ("", "")
