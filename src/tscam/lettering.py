"""Text of drawings: the font, and text made fit for a line. Knows nothing of what it labels."""

import importlib.util
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

# Invisible; keeps a score to the right of a label that is written from right to left.
LEFT_TO_RIGHT = "\u200e"


@lru_cache
def font_of_size(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew, Georgian and more; other letters become empty frames."""
    matplotlib = importlib.util.find_spec("matplotlib")  # Not imported: that takes a second, for the path of one file.
    if matplotlib is None or matplotlib.origin is None:
        raise ModuleNotFoundError("matplotlib, which carries the font of captions, is not installed")
    return ImageFont.truetype(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)


def clean(text: str) -> str:
    """Text on one line, without control characters; the joiners of Persian and Hindi and our direction mark stay."""
    kept = {"\u200c", "\u200d", LEFT_TO_RIGHT}
    return " ".join("".join(c if c.isprintable() or c in kept else " " for c in text).split())


def shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Shorten a text that does not fit to its beginning and its end, around an ellipsis: the score at the end stays."""
    if len(text) <= 1000 and font.getlength(text) <= width:
        return text
    for kept in range(min(len(text) - 1, 300), 0, -1):
        tail = kept // 3
        shorter = text[: kept - tail].rstrip() + "…" + text[len(text) - tail :].lstrip()
        if font.getlength(shorter) <= width:
            return shorter
    return "…"


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Wrap words into at most four lines; the last line takes the rest."""
    lines: list[str] = []
    words = text.split(" ")
    while words and len(lines) < 3:
        fitting = 1
        while fitting < len(words) and font.getlength(" ".join(words[: fitting + 1])) <= width:
            fitting += 1
        lines.append(" ".join(words[:fitting]))
        words = words[fitting:]
    return [*lines, " ".join(words)] if words else lines
