"""Settings with which files of pictures are decoded. Imports no NumPy, so that the command line answers at once."""

import math
from dataclasses import dataclass

from tscam.errors import ConfigError

# Pixels of the largest picture that is read by default: 13,377 × 13,377, Pillow's own limit.
MAX_PIXELS = 178_956_970


@dataclass(frozen=True, kw_only=True)
class PixelRange:
    """The range of values that is scaled to black and white in pictures of more than eight bits.

    Attributes:
        low: this value and all below become black, level 0.
        high: this value and all above become white, level 255.

    Raises:
        ConfigError: not finite, or `low` is not below `high`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(f"pixel range {self.low:g} to {self.high:g}; expected low < high")

    @classmethod
    def from_json(cls, value: object) -> "PixelRange | None":
        """Return the range that `to_json` made JSON of; None for null, and for a key that is not there.

        Raises:
            ValueError: not such a range.
        """
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError(f"pixel range {value!r:.80}; expected two numbers")
        try:
            low, high = (float(number) for number in value)
            return cls(low=low, high=high)
        except (TypeError, ValueError, OverflowError, ConfigError) as fault:
            raise ValueError(f"pixel range {value!r:.80}; expected two numbers, low < high") from fault

    def to_json(self) -> list[float]:
        """Return both values as JSON has them."""
        return [self.low, self.high]

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """How a file becomes an RGB picture of eight bits a channel.

    Attributes:
        pixel_range: range of values of pictures of more than eight bits, the same for all; None takes for each what
            its file declares, else what its own values use.
        max_pixels: pixels of the largest picture that is read.
    """

    pixel_range: PixelRange | None = None
    max_pixels: int = MAX_PIXELS


DECODE_DEFAULTS = DecodeSettings()
