"""Files of pictures are opened within limits of size and memory, and in silence."""

import io
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tscam.decoding import MAX_PIXELS, DecodeSettings
from tscam.errors import ImageError
from tscam.image import image_size_wh, inspect_picture, read_image

NOISE = np.random.default_rng(0).integers(0, 256, size=(90, 124, 3), dtype=np.uint8)


def encoded(suffix: str, *, lossless: bool = False) -> bytes:
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, suffix, quality=95, lossless=lossless)
    return file.getvalue()


def jpeg_header_of(size_wh: tuple[int, int]) -> bytes:
    """A JPEG of noise whose header states another size."""
    content = encoded("JPEG")
    start = content.index(b"\xff\xc0") + 5
    return content[:start] + struct.pack(">HH", size_wh[1], size_wh[0]) + content[start + 4 :]


def webp_header_of(size_wh: tuple[int, int], *, lossless: bool) -> bytes:
    """A WebP of noise whose header states another size."""
    content = encoded("WEBP", lossless=lossless)
    width, height = size_wh
    if lossless:
        assert content[12:16] == b"VP8L"
        bits = int.from_bytes(content[21:25], "little") >> 28 << 28 | (height - 1) << 14 | (width - 1)
        return content[:21] + bits.to_bytes(4, "little") + content[25:]
    assert content[12:16] == b"VP8 "
    return content[:26] + struct.pack("<HH", width, height) + content[30:]


def test_a_picture_of_more_pixels_than_the_limit_is_refused_and_the_limit_can_be_raised(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(NOISE).save(path)
    message = f"{path}: 11,160 pixels, the limit is 11,159; scale it down, or raise the limit: --max-pixels 11160"
    for refused in (
        lambda: read_image(path, settings=DecodeSettings(max_pixels=11_159)),
        lambda: image_size_wh(path, max_pixels=11_159),
        lambda: inspect_picture(path, max_pixels=11_159),
    ):
        with pytest.raises(ImageError) as fault:
            refused()
        assert str(fault.value) == message
    assert read_image(path, settings=DecodeSettings(max_pixels=11_160)).size == (124, 90)
    with pytest.raises(ImageError, match=r"^bytes: 11,160 pixels"):
        read_image(path.read_bytes(), settings=DecodeSettings(max_pixels=1))


def test_the_limit_can_be_raised_above_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    path = tmp_path / "panorama.jpg"
    path.write_bytes(jpeg_header_of((40_000, 5_500)) + bytes(20_000))
    with pytest.raises(ImageError, match="220,000,000 pixels, the limit is 178,956,970"):
        image_size_wh(path)
    assert image_size_wh(path, max_pixels=220_000_000) == (40_000, 5_500)
    with pytest.raises(ImageError, match="220,000,000 pixels, the limit is 178,956,970"):
        image_size_wh(path)


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_whose_header_states_what_its_bytes_cannot_hold_is_refused_before_it_takes_memory(
    tmp_path: Path, *, lossless: bool
) -> None:
    size_wh = (16_000, 11_000) if lossless else (13_370, 13_370)
    path = tmp_path / "x.webp"
    path.write_bytes(webp_header_of(size_wh, lossless=lossless)[:8_600])
    before = time.perf_counter()
    for function in (read_image, image_size_wh, inspect_picture):
        with pytest.raises(ImageError, match=f"its header states {size_wh[0]} × {size_wh[1]} pixels, it has 8,600 by"):
            function(path)
    assert time.perf_counter() - before < 1


def test_a_file_with_few_bytes_for_its_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ppm"
    path.write_bytes(b"P6 13000 13000 255\n" + bytes(9_000))
    with pytest.raises(ImageError, match="its header states 13000 × 13000 pixels, it has 9,019 bytes"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["PNG", "TIFF", "WEBP", "GIF", "JPEG"])
def test_pictures_of_one_colour_are_read_whatever_their_bytes(tmp_path: Path, suffix: str) -> None:
    Image.new("L", (4000, 4000), 255).save(tmp_path / "x", suffix)
    assert read_image(tmp_path / "x").size == (4000, 4000)


# Peak memory beyond what the imports take, in bytes: decoded by Pillow alone, or read.
MEASURE = """
import resource, sys
from pathlib import Path
from PIL import Image
from tscam.image import read_image
Image.init()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
if sys.argv[1] == "decode":
    with Image.open(sys.argv[2]) as file:
        file.load()
else:
    read_image(Path(sys.argv[2]))
print(peak() - before)
"""


@pytest.mark.parametrize("mode", ["RGBA", "P", "F"])
def test_reading_takes_four_bytes_a_pixel_beside_its_decoder(tmp_path: Path, mode: str) -> None:
    side, path = 3000, tmp_path / ("x.tif" if mode == "F" else "x.png")
    exif = Image.Exif()
    exif[0x0112] = 1 if mode == "F" else 6  # Pillow itself turns a TIFF.
    tiles = np.tile(NOISE[:75, :100], (40, 30, 1))
    picture = Image.fromarray(tiles[..., 0].astype(np.float32) if mode == "F" else tiles).convert(mode)
    if mode == "P":
        picture.info["transparency"] = 0
    picture.save(path, exif=exif, compress_level=1)

    def peak(what: str) -> int:
        command = [sys.executable, "-c", MEASURE, what, str(path)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert peak("read") - peak("decode") < 4 * side**2 + 12e6  # and a strip


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"])
def test_damaged_tiffs_are_refused_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], compression: str
) -> None:
    random = np.random.default_rng(1)
    file, picture = io.BytesIO(), Image.fromarray(NOISE)
    (picture.convert("1") if compression == "group4" else picture).save(file, "TIFF", compression=compression)
    refusals = 0
    for _ in range(60):
        content = bytearray(file.getvalue())
        for position in random.integers(0, len(content), size=12):
            content[position] = random.integers(0, 256)
        (tmp_path / "x.tif").write_bytes(content[: random.integers(len(content) // 2, len(content))])
        try:
            read_image(tmp_path / "x.tif")
        except ImageError:
            refusals += 1
    assert refusals > 0
    assert capfd.readouterr() == ("", "")


def test_the_default_limit_is_pillows() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS
