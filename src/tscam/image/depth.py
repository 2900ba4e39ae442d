"""Pictures of more than eight bits a channel: values as their files store them → levels 0…255 by a range of values."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Shaped, UInt8, UInt16
from PIL import Image

from tscam.decoding import PixelRange

_FULL = PixelRange(low=0.0, high=65535.0)
_LEAST_HIGH = 255  # Fewer than eight bits are not stretched, as they are not in a picture of eight bits.
_STRIP = 2**18  # Pixels of the rows that are worked on at once, so that memory does not grow with the picture.
_SAMPLE = 2**20  # Pixels that a percentile is taken of.

Values = Shaped[np.ndarray, "h w c"]
# First row and the row after the last → their values.
Rows = Callable[[int, int], Values]


@dataclass(frozen=True, kw_only=True)
class ValueSpan:
    """Smallest and largest value of one picture or of several.

    Attributes:
        low, high: the values; those that are not finite are left out.
        is_unsigned: whole numbers from 0; False for signed numbers and floats.
    """

    low: float
    high: float
    is_unsigned: bool

    def joined(self, other: "ValueSpan") -> "ValueSpan":
        """Return the span of both."""
        return ValueSpan(
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            is_unsigned=self.is_unsigned and other.is_unsigned,
        )

    def to_range(self) -> PixelRange:
        """Return lowest to highest; for unsigned values 0 to the end of the smallest power of two above the highest."""
        if self.is_unsigned:
            return PixelRange(low=0.0, high=float(max(_LEAST_HIGH, 2 ** int(self.high).bit_length() - 1)))
        return PixelRange(low=self.low, high=self.high if self.high > self.low else self.low + 1)


class DeepPicture:
    """A picture of more than eight bits a channel, or of signed numbers, as its file stores it: not turned.

    Args:
        size_wh: width and height as stored, in pixels.
        rows: gives values; a second channel of two and a fourth channel are opacity.
        is_unsigned: the values are whole numbers from 0.
        stated_high: largest value by the file's header; None where it states none.
        orientation: of EXIF, 1 to 8.
    """

    def __init__(
        self,
        size_wh: tuple[int, int],
        rows: Rows,
        *,
        is_unsigned: bool,
        stated_high: int | None = None,
        orientation: int = 1,
    ) -> None:
        self.size_wh, self.rows, self.is_unsigned, self.orientation = size_wh, rows, is_unsigned, orientation
        self._stated_high = stated_high

    @property
    def displayed_wh(self) -> tuple[int, int]:
        """Width and height as displayed, in pixels."""
        width, height = self.size_wh
        return (height, width) if self.orientation in (5, 6, 7, 8) else (width, height)

    @cached_property
    def span(self) -> ValueSpan:
        """Smallest and largest value, opacity aside."""
        lows, highs = [], []
        for top, bottom in strips(self.size_wh):
            values = _without_opacity(self.rows(top, bottom))
            finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
            if finite.size:
                lows.append(float(finite.min()))
                highs.append(float(finite.max()))
        return ValueSpan(low=min(lows, default=0.0), high=max(highs, default=0.0), is_unsigned=self.is_unsigned)

    @property
    def own_range(self) -> PixelRange:
        """The range that the file states, else the one that its values use."""
        if self._stated_high is not None and self.span.high <= self._stated_high:
            return PixelRange(low=0.0, high=float(self._stated_high))
        return self.span.to_range()

    def percentile(self, percent: float) -> float:
        """Return a percentile of the brightest channel, from the pixels of rows at even distances."""
        width, height = self.size_wh
        step = max(1, width * height // _SAMPLE)
        brightest = [_without_opacity(self.rows(row, row + 1)).max(axis=2) for row in range(0, height, step)]
        values = np.concatenate(brightest, axis=None)
        finite = values[np.isfinite(values)]
        return float(np.percentile(finite.astype(np.float64), percent)) if finite.size else 0.0

    def levels(self, pixel_range: PixelRange) -> Iterator[tuple[int, Image.Image]]:
        """Yield strips of levels 0…255, each with its first row, as L, LA, RGB or RGBA."""
        for top, bottom in strips(self.size_wh):
            yield top, _to_image(_scaled(self.rows(top, bottom), pixel_range))


class WordPicture(DeepPicture):
    """Sixteen bits of colour, or of grey with opacity.

    Pillow decodes the high bytes alone, so that colours of 12 bits in 16 come out nearly black. The file is decoded a
    second time with the bytes exchanged, unless the high bytes suffice.

    Args:
        high, low: decode the bytes, height × width × channels.
    """

    def __init__(
        self,
        size_wh: tuple[int, int],
        *,
        high: UInt8[np.ndarray, "H W c"],
        low: Callable[[], UInt8[np.ndarray, "H W c"]],
        stated_high: int | None,
        orientation: int,
    ) -> None:
        super().__init__(size_wh, self._words, is_unsigned=True, stated_high=stated_high, orientation=orientation)
        self._high, self._decode_low = high, low

    @cached_property
    def span(self) -> ValueSpan:
        """The span of the values; the highest may be up to 255 too high, which changes no power of two."""
        highest = int(_without_opacity(self._high).max())
        return ValueSpan(low=0.0, high=float(highest * 256 + 255), is_unsigned=True)

    def levels(self, pixel_range: PixelRange) -> Iterator[tuple[int, Image.Image]]:
        if pixel_range == _FULL:
            yield from ((top, _to_image(self._high[top:bottom])) for top, bottom in strips(self.size_wh))
            return
        has_opacity = self._high.shape[2] in (2, 4)
        # Opacity is of the full range, unless it cannot be: a camera may write all four channels in 12 bits.
        is_opacity_full = has_opacity and int(self._high[..., -1].max()) * 256 > pixel_range.high
        for top, bottom in strips(self.size_wh):
            words = self.rows(top, bottom)
            levels = _scaled(words, pixel_range)
            if is_opacity_full:
                levels[..., -1] = _scaled(words[..., -1:], _FULL)[..., 0]
            yield top, _to_image(levels)

    def _words(self, top: int, bottom: int) -> UInt16[np.ndarray, "h w c"]:
        return (self._high[top:bottom].astype(np.uint16) << 8) | self._low[top:bottom]

    @cached_property
    def _low(self) -> UInt8[np.ndarray, "H W c"]:
        return self._decode_low()


def strips(size_wh: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the first row of each strip of a picture, and the row after its last."""
    width, height = size_wh
    step = max(1, _STRIP // width)
    return ((top, min(top + step, height)) for top in range(0, height, step))


def _without_opacity(values: Values) -> Shaped[np.ndarray, "h w _"]:
    channels = values.shape[2]
    return values[..., :-1] if channels in (2, 4) else values


def _scaled(values: Values, pixel_range: PixelRange) -> UInt8[np.ndarray, "h w c"]:
    """Return levels by the range, rounded; what is outside is black or white, what is not finite is black."""
    extent = pixel_range.high - pixel_range.low
    with np.errstate(invalid="ignore", over="ignore"):  # not a number, or infinite
        if pixel_range.low:  # Subtracting needs more digits than scaling.
            levels = np.clip((values.astype(np.float64) - pixel_range.low) * 255 / extent, 0, 255)
        else:
            levels = np.clip(values.astype(np.float32) * np.float32(255 / extent), 0, 255)
    return np.rint(np.where(np.isfinite(values), levels, 0)).astype(np.uint8)


def _to_image(levels: UInt8[np.ndarray, "h w c"]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(levels[..., 0] if levels.shape[2] == 1 else levels))
