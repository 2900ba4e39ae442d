"""Masks: what is foreground and what is ignored, by OpenCV's grey levels and nearest pixels."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tscam.datasets import Masks, read_masks
from tscam.errors import DataError, ImageError
from tscam.image import read_grey_levels


def save(path: Path, levels: np.ndarray) -> Path:
    Image.fromarray(levels).save(path)
    return path


def read_by_opencv(path: Path) -> np.ndarray:
    levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert levels is not None
    return levels


def box_mask(path: Path, *, size_wh: tuple[int, int], box: tuple[int, int, int, int], level: int = 255) -> Path:
    levels = np.zeros((size_wh[1], size_wh[0]), dtype=np.uint8)
    levels[box[1] : box[3], box[0] : box[2]] = level
    return save(path, levels)


def png_bytes(*, bits: int, colour_type: int, rows: list[bytes], width: int, palette: bytes = b"") -> bytes:
    """A PNG written by hand, for the depths that Pillow does not write."""

    def chunk(chunk_type: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + chunk_type + content + struct.pack(">I", zlib.crc32(chunk_type + content))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    colours = chunk(b"PLTE", palette) if palette else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colours + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def colours() -> np.ndarray:
    """31×40 colours: nearly black ones, greys, and any."""
    random = np.random.default_rng(5)
    values = random.integers(0, 256, size=(31, 40, 3), dtype=np.uint8)
    values[:15] //= 32
    values[15:20] = values[15:20, :, :1]
    return values


def write_mode(mode: str, path: Path) -> None:
    random, rgb = np.random.default_rng(6), colours()
    grey = random.integers(0, 256, size=(31, 40), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    if mode.startswith(("grey ", "palette ")):
        name, _, bits = mode.partition(" ")
        rows = [bytes(row) for row in random.integers(0, 256, size=(9, 2 * int(bits)), dtype=np.uint8)]
        palette = rgb[3:].tobytes()[: 3 * 2 ** int(bits)] if name == "palette" else b""
        colour_type = 3 if name == "palette" else 0
        path.write_bytes(png_bytes(bits=int(bits), colour_type=colour_type, rows=rows, width=16, palette=palette))
    elif mode == "grey":
        Image.fromarray(grey).save(path)
    elif mode == "turned":
        Image.fromarray(grey).save(path, exif=turned)
    elif mode == "black and white":
        Image.fromarray(grey > 100).save(path)
    elif mode == "transparent grey":
        Image.merge("LA", (Image.fromarray(grey), Image.fromarray(grey[::-1].copy()))).save(path)
    elif mode == "colours":
        Image.fromarray(rgb).save(path)
    elif mode == "transparent colours":
        Image.fromarray(np.dstack([rgb, grey])).save(path)
    elif mode == "transparent palette":
        Image.fromarray(rgb).quantize(64).save(path, transparency=bytes(range(64)))


MODES = (
    "grey", "turned", "black and white", "transparent grey", "colours", "transparent colours", "transparent palette",
    "grey 1", "grey 2", "grey 4", "palette 1", "palette 2", "palette 4", "palette 8",
)  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_grey_levels_are_those_of_opencv(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.png"
    write_mode(mode, path)
    expected = read_by_opencv(path)
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(read_grey_levels(path), expected)


def test_pillows_own_grey_would_call_other_pixels_foreground(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", np.array([[[0, 0, 5], [0, 1, 0], [3, 3, 3]]], dtype=np.uint8))
    with Image.open(path) as file:
        assert np.asarray(file.convert("L")).tolist() == [[1, 1, 3]]
    assert read_grey_levels(path).tolist() == [[0, 0, 3]]


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".tif", ".webp", ".gif"])
def test_masks_are_png_alone(tmp_path: Path, suffix: str) -> None:
    path = box_mask(tmp_path / f"x{suffix}", size_wh=(30, 20), box=(2, 3, 9, 8))
    with pytest.raises(ImageError, match=rf"x\{suffix}: not a readable picture"):
        read_grey_levels(path)


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "x.png", np.ones((20, 30), dtype=np.uint16))
    with pytest.raises(ImageError, match=r"x\.png: sixteen bits a pixel; expected a PNG of eight bits or fewer$"):
        read_grey_levels(tmp_path / "x.png")


def test_a_level_of_one_is_foreground(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", np.array([[0, 1, 2], [0, 0, 255]], dtype=np.uint8))
    foreground, ignored = read_masks(Masks((path,)), size_wh=(3, 2))
    assert foreground.tolist() == [[False, True, True], [False, False, True]]
    assert not ignored.any()


def test_objects_are_joined_and_the_foreground_is_not_ignored(tmp_path: Path) -> None:
    size_wh = (30, 20)
    masks = Masks(
        (box_mask(tmp_path / "a.png", size_wh=size_wh, box=(2, 3, 9, 8), level=1),
         box_mask(tmp_path / "b.png", size_wh=size_wh, box=(7, 5, 12, 15))),
        box_mask(tmp_path / "ignore.png", size_wh=size_wh, box=(0, 0, 10, 20)),
    )  # fmt: skip
    foreground, ignored = read_masks(masks, size_wh=size_wh)
    joined, dropped = 7 * 5 + 5 * 10 - 2 * 3, 10 * 20 - (7 * 5 + 3 * 10 - 2 * 3)
    assert (foreground.sum(), ignored.sum()) == (joined, dropped)
    assert not (foreground & ignored).any()
    assert foreground[14, 11]
    assert ignored[19, 9]


def test_without_an_ignore_mask_no_pixel_is_ignored(tmp_path: Path) -> None:
    _, ignored = read_masks(Masks((box_mask(tmp_path / "a.png", size_wh=(30, 20), box=(2, 3, 9, 8)),)), size_wh=(11, 7))
    assert ignored.shape == (7, 11)
    assert not ignored.any()


def reference(objects: list[Path], ignore: Path, size_wh: tuple[int, int]) -> np.ndarray:
    """0 background, 1 foreground, 255 ignored: the rule of wsolevaluation, in its order of steps, in float32."""

    def read(path: Path) -> np.ndarray:
        return cv2.resize(read_by_opencv(path).astype(np.float32), size_wh, interpolation=cv2.INTER_NEAREST)

    labels = np.where(read(ignore) > 0.5, 255, 0)
    for path in objects:
        labels[read(path) > 0.5] = 1
    return labels


@pytest.mark.parametrize("picture_wh", [(310, 200), (224, 224), (37, 651), (500, 333), (1, 3)])
def test_masks_are_those_of_wsolevaluation(tmp_path: Path, picture_wh: tuple[int, int]) -> None:
    random = np.random.default_rng(picture_wh)
    shape = (picture_wh[1], picture_wh[0])
    objects = [
        save(tmp_path / f"{number}.png", (random.random(shape) < 0.2).astype(np.uint8) * level)
        for number, level in enumerate((1, 128, 255))
    ]
    ignore = save(tmp_path / "ignore.png", (random.random(shape) < 0.6).astype(np.uint8) * 255)
    foreground, ignored = read_masks(Masks(tuple(objects), ignore), size_wh=(224, 224), picture_wh=picture_wh)
    np.testing.assert_array_equal(foreground * 1 + ignored * 255, reference(objects, ignore, (224, 224)))


@pytest.mark.parametrize("wrong", ["object", "ignore"])
def test_a_mask_of_another_size_than_the_picture_is_refused(tmp_path: Path, wrong: str) -> None:
    sizes = {"object": (30, 20), "ignore": (30, 20)} | {wrong: (20, 30)}
    files = {name: box_mask(tmp_path / f"{name}.png", size_wh=sizes[name], box=(1, 1, 5, 5)) for name in sizes}
    masks = Masks((files["object"],), files["ignore"])
    read_masks(masks, size_wh=(7, 5))
    with pytest.raises(
        DataError, match=rf"{wrong}\.png: a mask of 20×30 pixels for a picture of 30×20; expected masks"
    ):
        read_masks(masks, size_wh=(7, 5), picture_wh=(30, 20))


def test_a_missing_or_broken_mask_is_named(tmp_path: Path) -> None:
    mask = box_mask(tmp_path / "a.png", size_wh=(30, 20), box=(2, 3, 9, 8))
    with pytest.raises(ImageError, match=r"nowhere\.png: cannot be opened"):
        read_masks(Masks((mask, tmp_path / "nowhere.png")), size_wh=(7, 5))
    (tmp_path / "b.png").write_bytes(mask.read_bytes()[:-30])
    with pytest.raises(ImageError, match=r"b\.png: not a readable picture"):
        read_masks(Masks((mask,), tmp_path / "b.png"), size_wh=(7, 5))


def test_an_enormous_mask_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_bytes(bits=8, colour_type=0, rows=[b"\0"], width=2**30))
    with pytest.raises(ImageError, match=r"x\.png: 1,073,741,824 pixels, the limit is 178,956,970"):
        read_masks(Masks((tmp_path / "x.png",)), size_wh=(7, 5))


@pytest.mark.parametrize(
    ("mask_wh", "fits"), [((15, 10), True), ((61, 40), True), ((40, 30), False), ((10, 15), False)]
)
def test_a_scaled_mask_has_the_pictures_proportions_to_a_pixel(
    tmp_path: Path, mask_wh: tuple[int, int], fits: bool
) -> None:
    levels = np.zeros((mask_wh[1], mask_wh[0]), dtype=np.uint8)
    levels[:, : mask_wh[0] // 2] = 255
    Image.fromarray(levels).save(tmp_path / "mask.png")
    masks = Masks((tmp_path / "mask.png",))
    with pytest.raises(DataError, match="expected masks of the picture's size"):
        read_masks(masks, size_wh=(8, 4), picture_wh=(30, 20))
    if fits:
        foreground, _ = read_masks(masks, size_wh=(8, 4), picture_wh=(30, 20), scaled=True)
        assert foreground[:, :3].all()
        assert not foreground[:, 4:].any()
    else:
        with pytest.raises(DataError, match="expected masks of the picture's proportions"):
            read_masks(masks, size_wh=(8, 4), picture_wh=(30, 20), scaled=True)
