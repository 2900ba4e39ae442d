"""Objects localized in one picture, and their JSON line. All later files are pure functions of these lines."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32, UInt8

from tscam.decoding import MAX_PIXELS, DecodeSettings, PixelRange
from tscam.errors import DataError, one_line
from tscam.geometry import Box, to_box

# Version of a JSON line. Version 1 states none, and has a map without its range in every object.
VERSION = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredMap:
    """The map of one class on the patch grid in 256 levels: small enough to keep for every picture.

    Attributes:
        levels: 0 for the lowest value of the raw map, 255 for the highest; zeros for a flat map.
        low, high: these two values; 0 and 1 where they are not known.
    """

    levels: UInt8[np.ndarray, "h w"]
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def from_raw(cls, raw: Float[np.ndarray, "h w"]) -> "StoredMap":
        """The raw map of a class as it is stored; one that is not finite is stored as zeros."""
        low, high = float(raw.min()), float(raw.max())
        is_finite = bool(np.isfinite(high - low))
        return cls(levels=grid_map(raw), low=low if is_finite else 0.0, high=high if is_finite else 0.0)

    def to_raw(self) -> Float32[np.ndarray, "h w"]:
        """The raw map, each value within half a level of what it was."""
        return (self.low + self.levels * ((self.high - self.low) / 255)).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalizedObject:
    """One object: a class and where it is.

    Attributes:
        label, class_id: the class by name and by its number from 0.
        score: probability of the class in the picture, in [0, 1]; if the model's maps are probabilities of object, the
            mean of the map over the object's region.
        box: `(x0, y0, x1, y1)` in picture pixels, half-open, inside the picture.
    """

    label: str
    class_id: int
    score: float
    box: Box


@dataclass(frozen=True, kw_only=True, eq=False)
class Localization:
    """The objects localized in one picture.

    Attributes:
        image: path of the picture as the caller named it; empty for a picture in memory.
        width, height: of the picture as displayed, in pixels; 0 for a picture that could not be read.
        status: `ok`, or `bad_image`.
        reason: one line that says why a picture is bad or why it has no object, else empty.
        objects: most likely class first; of a class the largest region first.
        maps: by class id, the map from which the boxes of that class come.
        threshold: fraction of a map's maximum above which is object; None where that is not known.
        objectness: probability that there is an object at all, in [0, 1]; None where the model does not tell.
        pixel_range: the range that the picture's values were scaled by; None for a picture of eight bits.
    """

    image: str
    width: int
    height: int
    status: Literal["ok", "bad_image"]
    reason: str
    objects: tuple[LocalizedObject, ...]
    maps: Mapping[int, StoredMap] = field(default_factory=dict)
    threshold: float | None = None
    objectness: float | None = None
    pixel_range: PixelRange | None = None

    @property
    def decode(self) -> DecodeSettings:
        """How the picture was decoded, for reading it once more."""
        return DecodeSettings(pixel_range=self.pixel_range, max_pixels=max(MAX_PIXELS, self.width * self.height))

    def to_json(self) -> str:
        """One line of JSON, ASCII, without the line's end."""
        objects = [
            {
                "label": obj.label,
                "class_id": obj.class_id,
                "score": round(obj.score, 6),
                "box": [round(edge, 4) for edge in obj.box],
            }
            for obj in self.objects
        ]
        fields = {
            "version": VERSION,
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "status": self.status,
            "reason": self.reason,
            "threshold": self.threshold,
            "objectness": None if self.objectness is None else round(self.objectness, 6),
            "objects": objects,
            **({} if self.pixel_range is None else {"pixel_range": self.pixel_range.to_json()}),
            "maps": {
                str(class_id): {"low": stored.low, "high": stored.high, **encode_levels(stored.levels)}
                for class_id, stored in self.maps.items()
            },
        }
        return json.dumps(fields)


@dataclass(frozen=True)
class LocalizationFile:
    """The localizations of a `localizations.jsonl`; every pass reads the file again, one localization at a time."""

    path: Path

    def __iter__(self) -> Iterator[Localization]:
        return read_localizations(self.path)


def read_localizations(path: Path) -> Iterator[Localization]:
    """Yield the localizations of a `localizations.jsonl`, one at a time; lines of earlier versions are read too.

    Raises:
        DataError: the file is missing, or a line of it is not a localization (named by its number).
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield _from_fields(json.loads(line))
                except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as fault:
                    if not line.endswith(b"\n"):
                        raise DataError(
                            f"{path}:{number}: a torn line of an interrupted run; go on with `tscam localize --resume`"
                        ) from fault
                    raise DataError(f"{path}:{number}: not a localization ({one_line(fault)})") from fault
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({one_line(fault)}); expected a localizations.jsonl") from fault


def grid_map(raw: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """A raw map, min-max scaled to 0…255 on its own grid. A map that is flat or not finite becomes zeros."""
    low, high = float(raw.min()), float(raw.max())
    if not high > low or not np.isfinite(high - low):
        return np.zeros(raw.shape, dtype=np.uint8)
    return np.rint((raw.astype(np.float64) - low) * (255.0 / (high - low))).astype(np.uint8)


def encode_levels(levels: UInt8[np.ndarray, "h w"]) -> dict[str, object]:
    """A map of levels 0…255 as JSON: `grid`, its height and width, and `uint8`, its rows in base64."""
    return {"grid": list(levels.shape), "uint8": base64.b64encode(levels.tobytes()).decode()}


def decode_levels(fields: Mapping[str, Any]) -> UInt8[np.ndarray, "h w"]:
    """The map that `encode_levels` made JSON of.

    Raises:
        ValueError, KeyError, TypeError: not such a map.
    """
    values = np.frombuffer(base64.b64decode(fields["uint8"], validate=True), dtype=np.uint8)
    height, width = fields["grid"]
    return values.reshape(height, width)


def _from_fields(fields: Mapping[str, Any]) -> Localization:
    return Localization(
        image=str(fields["image"]),
        width=int(fields["width"]),
        height=int(fields["height"]),
        status=_status(fields["status"]),
        reason=str(fields["reason"]),
        objects=tuple(map(_object, fields["objects"])),
        maps=_maps(fields),
        threshold=_finite_or_none(fields.get("threshold")),
        objectness=_finite_or_none(fields.get("objectness")),
        pixel_range=PixelRange.from_json(fields.get("pixel_range")),
    )


def _status(text: str) -> Literal["ok", "bad_image"]:
    if text == "ok":
        return "ok"
    if text == "bad_image":
        return "bad_image"
    raise ValueError(f"status {text!r}; expected ok or bad_image")


def _object(row: Mapping[str, Any]) -> LocalizedObject:
    box = to_box(row["box"])
    return LocalizedObject(
        label=str(row["label"]),
        class_id=int(row["class_id"]),
        score=_finite(row["score"]),
        box=to_box(map(_finite, box)),
    )


def _maps(fields: Mapping[str, Any]) -> dict[int, StoredMap]:
    version = fields.get("version", 1)
    if version == 1:
        return {int(row["class_id"]): StoredMap(levels=decode_levels(row["map"])) for row in fields["objects"]}
    if version == VERSION:
        return {
            int(class_id): StoredMap(
                levels=decode_levels(stored), low=_finite(stored["low"]), high=_finite(stored["high"])
            )
            for class_id, stored in dict(fields["maps"]).items()
        }
    raise ValueError(f"version {version!r}; this tscam reads 1 to {VERSION}, update it")


def _finite_or_none(value: float | None) -> float | None:
    return None if value is None else _finite(value)


def _finite(value: float) -> float:
    if not np.isfinite(number := float(value)):
        raise ValueError(f"{value}; expected a finite number")
    return number
