"""Drawn pictures for the demo: beetles on a meadow, one pattern a class, with their boxes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFilter

from tscam.system.writing import disk_errors, write_csv

_SIZE_WH = (208, 160)  # in pixels
_PICTURES = {"train": 60, "test": 15}  # of each class
_SEED = 26

Canvas = Float[np.ndarray, "h w"]

# The mask of a pattern's second colour from coordinates along (u) and across (v) the body, −1 to 1; its two colours.
_PATTERNS: dict[str, tuple[Callable[[Canvas, Canvas], Bool[np.ndarray, "h w"]], str, str]] = {
    "bee": (lambda u, v: np.sin(14 * u) + 0 * v > 0, "#f2b632", "#2b2118"),
    "ladybird": (lambda u, v: np.hypot((4 * u) % 1.6 - 0.8, (3 * v) % 1.6 - 0.8) < 0.45, "#c8321f", "#1d1514"),
    "violet ground beetle": (lambda u, v: abs(v) + 0 * u < 0.1, "#6b3fa0", "#d9a7f0"),
    "stag beetle": (lambda u, v: np.sin(9 * v) * np.sin(3 * u) > 0.55, "#4a2a17", "#8a5a33"),
    "soldier beetle": (lambda u, v: u + 0 * v < -0.25, "#e0782a", "#23262b"),
    "blue leaf beetle": (lambda u, v: np.sin(16 * v + 6 * u) > 0.2, "#2447a8", "#64c8e8"),
}


def draw_pictures(root: Path) -> None:
    """Write a dataset with a folder for each class and `boxes.csv`; every call draws the same pictures.

    A beetle's pattern covers its whole body, so that the whole body is evidence of its class. Only evaluation uses the
    boxes.

    Raises:
        OutputError: the disk refuses.
    """
    random = np.random.default_rng(_SEED)
    rows: list[tuple[str, float, float, float, float]] = []
    for split, count in _PICTURES.items():
        for name in _PATTERNS:
            folder = root / split / name
            for number in range(count):
                picture, (box,) = draw_beetles([name], random)
                with disk_errors(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                    picture.save(folder / f"{number:03d}.png")
                rows.append((f"{split}/{name}/{number:03d}.png", *box))
    write_csv(root / "boxes.csv", ["image", "x0", "y0", "x1", "y1"], rows)


def draw_beetles(
    names: Sequence[str], random: np.random.Generator
) -> tuple[Image.Image, list[tuple[float, float, float, float]]]:
    """A picture of one beetle or of several side by side, and the box around each, in pixels, half-open."""
    positions = [_position(column, len(names), random) for column in range(len(names))]
    pixels, boxes = _meadow(random), []
    for name, (u, v, angle) in zip(names, positions, strict=True):
        body, legs = u**2 + v**2 < 1, _legs(u, v)
        pattern, base, mark = _PATTERNS[name]
        colour = np.where(pattern(u, v)[..., None], _rgb(mark), _rgb(base))
        # Lit from one side, darker to the rim: a beetle, not a disc.
        light = 1.15 - 0.45 * (u**2 + v**2) + 0.25 * (v * np.cos(angle) < -0.2)
        pixels = np.where(legs[..., None], _rgb("#1b1512"), pixels)
        pixels = np.where(body[..., None], colour * light[..., None] + random.normal(0, 6, (*u.shape, 1)), pixels)
        rows, columns = np.nonzero(body | legs)
        boxes.append((float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)))
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(0.7)), boxes


def _position(column: int, columns: int, random: np.random.Generator) -> tuple[Canvas, Canvas, float]:
    """A random position in a column: coordinates along (u) and across (v) a body, and its angle in radians."""
    width, height = _SIZE_WH
    column_width = width / columns
    y, x = np.mgrid[0:height, 0:width].astype(float)
    length, breadth = random.uniform(34, 62) / columns**0.7, random.uniform(0.5, 0.72)
    centre_x = column * column_width + random.uniform(0.75 * length, column_width - 0.75 * length)
    centre_y = random.uniform(0.75 * length, height - 0.75 * length) if height > 1.5 * length else height / 2
    angle = random.uniform(0, 2 * np.pi)
    u = ((x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)) / length
    v = ((y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)) / (length * breadth)
    return u, v, angle


def _legs(u: Canvas, v: Canvas) -> Bool[np.ndarray, "h w"]:
    """Mask of three pairs of legs and the antennae, a little beyond the body."""
    legs = np.zeros(u.shape, dtype=bool)
    for along in (-0.5, 0.0, 0.45):
        legs |= (abs(u - along - 0.15 * (abs(v) - 0.8)) < 0.045) & (abs(v) < 1.3)
    return legs | ((abs(abs(v) - 0.5 * (u - 0.6)) < 0.05) & (u > 0.8) & (u < 1.2))


def _meadow(random: np.random.Generator) -> Float[np.ndarray, "h w 3"]:
    """A random background of grass and flowers, the same for every class."""
    width, height = _SIZE_WH
    greens = random.uniform((70, 95, 40), (125, 150, 80)) + random.normal(0, 1, (9, 12, 1)) * (16, 20, 12)
    shades = Image.fromarray(np.clip(greens, 0, 255).astype(np.uint8))
    meadow = shades.resize(_SIZE_WH, Image.Resampling.BICUBIC)
    brush = ImageDraw.Draw(meadow)
    for _ in range(int(random.integers(30, 70))):
        root, tip = random.uniform(-30, width + 30, 2)
        brush.line(
            (root, height, tip, 0), fill=_shade(random, (50, 75, 25), (165, 190, 110)), width=int(random.integers(1, 4))
        )
    for _ in range(int(random.integers(0, 7))):
        x, y, radius = random.uniform(0, width), random.uniform(0, height), random.uniform(3, 7)
        colour = _shade(random, (190, 170, 190), (250, 245, 250))
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return np.asarray(meadow, dtype=float)


def _shade(
    random: np.random.Generator, darkest: tuple[int, int, int], lightest: tuple[int, int, int]
) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.uniform(darkest, lightest))
    return red, green, blue


def _rgb(colour: str) -> Float[np.ndarray, " 3"]:
    return np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)], dtype=float)
