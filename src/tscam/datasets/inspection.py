"""Every picture of a split, decoded once: sizes, what cannot be read, values beyond eight bits, what looks dark."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from tscam.datasets.base import Dataset
from tscam.decoding import PixelRange
from tscam.errors import DataError, ImageError
from tscam.image import PictureFacts, ValueSpan, inspect_picture, printable
from tscam.system.loading import Progress, read_ahead

# Why a picture whose file does not exist cannot be read.
MISSING = "no such file"

_MAX_NAMED = 3
_DARK = 16  # Of levels 0…255: 99 of 100 pixels of a dark picture are below.


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """Facts about the files of a split, by index.

    Attributes:
        sizes_wh: width and height as displayed, in pixels; 0 for what cannot be read.
        byte_counts: size of each file; 0 for what cannot be read.
        reasons: why a picture cannot be read.
        deep: pictures of more than eight bits.
        span: smallest and largest value of all deep pictures; None without such pictures.
        bright_values: 99 of 100 pixels are not brighter; NaN where that is not known.
    """

    sizes_wh: Int[np.ndarray, "n 2"]
    byte_counts: Int[np.ndarray, " n"]
    reasons: dict[int, str]
    deep: tuple[int, ...]
    span: ValueSpan | None
    bright_values: Float[np.ndarray, " n"]

    def dark(self, pixel_range: PixelRange | None) -> list[int]:
        """Return the pictures that look nearly black.

        Args:
            pixel_range: the range that deep pictures are scaled by.
        """
        levels = self.bright_values.copy()
        if pixel_range is not None and self.deep:
            chosen = list(self.deep)
            levels[chosen] = (levels[chosen] - pixel_range.low) * 255 / (pixel_range.high - pixel_range.low)
        return np.flatnonzero(levels < _DARK).tolist()


def inspect_split(
    dataset: Dataset, *, workers: int, on_progress: Progress | None = None, done: int = 0, total: int | None = None
) -> Inspection:
    """Decode every picture of a split in threads.

    Args:
        done, total: pictures of other splits that were inspected before, and of all splits, for the progress.
    """
    count = len(dataset)
    sizes_wh, byte_counts = np.zeros((count, 2), dtype=np.int64), np.zeros(count, dtype=np.int64)
    bright_values = np.full(count, np.nan)
    reasons: dict[int, str] = {}
    spans: dict[int, ValueSpan] = {}

    def inspect(path: Path) -> tuple[PictureFacts, int] | str:
        try:
            return inspect_picture(path, max_pixels=dataset.decode.max_pixels), path.stat().st_size
        except (ImageError, OSError) as fault:
            return reason_of(fault, path)

    paths = map(dataset.path, range(count))
    for index, result in enumerate(read_ahead(paths, inspect, workers=workers, depth=16 * workers)):
        if isinstance(result, str):
            reasons[index] = result
        else:
            facts, byte_counts[index] = result
            sizes_wh[index] = facts.size_wh
            bright_values[index] = np.nan if facts.bright_value is None else facts.bright_value
            if facts.span is not None:
                spans[index] = facts.span
        if on_progress:
            on_progress(done + index + 1, count if total is None else total)
    return Inspection(
        sizes_wh=sizes_wh, byte_counts=byte_counts, reasons=reasons, deep=tuple(spans),
        span=reduce(ValueSpan.joined, spans.values()) if spans else None, bright_values=bright_values,
    )  # fmt: skip


def verify_pictures(dataset: Dataset, *, workers: int) -> list[tuple[str, str]]:
    """Decode every picture of a split in threads, and return the id of each that cannot be read, with the reason."""
    return _unreadable(dataset, inspect_split(dataset, workers=workers))


def require_usable(dataset: Dataset, *, workers: int, allow_unreadable: bool = False) -> ValueSpan | None:
    """Refuse a split with pictures that cannot be read, before hours of work end at one of them.

    Args:
        allow_unreadable: refuse a split only if none of its pictures can be read.

    Returns:
        Smallest and largest value of all pictures of more than eight bits; None without such pictures.

    Raises:
        DataError: names the first of the pictures that cannot be read, and their number.
    """
    inspection = inspect_split(dataset, workers=workers)
    bad = _unreadable(dataset, inspection)
    if len(bad) > (len(dataset) - 1 if allow_unreadable else 0):
        named = ", ".join(f"{image_id!r} ({reason})" for image_id, reason in bad[:_MAX_NAMED])
        more = f" and {len(bad) - _MAX_NAMED} more" if len(bad) > _MAX_NAMED else ""
        raise DataError(
            f"{dataset.root}: {len(bad)} of {len(dataset)} pictures of the split {dataset.split!r} cannot be read: "
            f"{named}{more}; replace or remove them (tscam check lists all)"
        )
    return inspection.span


def common_range(spans: Iterable[ValueSpan | None]) -> PixelRange | None:
    """Return one range for all pictures of more than eight bits, so that none is brighter by its own values.

    It ends at the smallest power of two above the largest value; signed numbers and floats go from lowest to highest.

    Args:
        spans: smallest and largest value of each split; None for one without such pictures.
    """
    present = [span for span in spans if span is not None]
    return reduce(ValueSpan.joined, present).to_range() if present else None


def reason_of(fault: ImageError | OSError, path: Path) -> str:
    """Return why a picture cannot be read, without its name."""
    is_missing = isinstance(fault, FileNotFoundError) or isinstance(fault.__cause__, FileNotFoundError)
    return MISSING if is_missing else str(fault).removeprefix(f"{printable(path)}: ")


def _unreadable(dataset: Dataset, inspection: Inspection) -> list[tuple[str, str]]:
    return [(dataset.image_ids[index], reason) for index, reason in inspection.reasons.items()]
