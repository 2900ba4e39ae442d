"""What was found in one picture, and its JSON line. Everything written later is a pure function of these lines."""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from tscam.errors import DataError, one_line


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalizedObject:
    """One object: a class and where it is.

    Attributes:
        label, class_id: the class by name and by its number from 0.
        score: probability of the class in the picture, in [0, 1].
        box: `(x0, y0, x1, y1)` in picture pixels, half-open, inside the picture.
        map: the class's map on the patch grid, min-max scaled to 0…255.
    """

    label: str
    class_id: int
    score: float
    box: tuple[float, float, float, float]
    map: UInt8[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Localization:
    """What was found in one picture.

    Attributes:
        image: path of the picture as it was given.
        width, height: of the picture as displayed, in pixels; 0 for a picture that could not be read.
        status: `ok`, or `bad_image`.
        reason: one line that says why a picture is bad or why it holds no object, else empty.
        objects: most likely class first.
    """

    image: str
    width: int
    height: int
    status: Literal["ok", "bad_image"]
    reason: str
    objects: tuple[LocalizedObject, ...]

    def to_json(self) -> str:
        """One line of JSON, ASCII, without the line's end."""
        objects = [
            {
                "label": found.label,
                "class_id": found.class_id,
                "score": round(found.score, 6),
                "box": [round(edge, 4) for edge in found.box],
                "map": {"grid": list(found.map.shape), "uint8": base64.b64encode(found.map.tobytes()).decode()},
            }
            for found in self.objects
        ]
        fields = {
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "status": self.status,
            "reason": self.reason,
            "objects": objects,
        }
        return json.dumps(fields)


def read_localizations(path: Path) -> Iterator[Localization]:
    """The localizations of a `localizations.jsonl`, one at a time.

    Raises:
        DataError: the file is missing, or a line of it is not a localization (named by its number).
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield _from_fields(json.loads(line))
                except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as fault:
                    raise DataError(f"{path}:{number}: not a localization ({one_line(fault)})") from fault
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({one_line(fault)}); expected a localizations.jsonl") from fault


def grid_map(raw: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """A raw map, min-max scaled to 0…255 on its own grid: small enough to keep for every picture. Flat gives zeros."""
    low, high = float(raw.min()), float(raw.max())
    if not high > low:
        return np.zeros(raw.shape, dtype=np.uint8)
    return np.rint((raw.astype(np.float64) - low) * (255.0 / (high - low))).astype(np.uint8)


def _from_fields(fields: dict) -> Localization:  # type: ignore[type-arg]
    return Localization(
        image=str(fields["image"]),
        width=int(fields["width"]),
        height=int(fields["height"]),
        status=_status(fields["status"]),
        reason=str(fields["reason"]),
        objects=tuple(_objects(fields["objects"])),
    )


def _status(text: str) -> Literal["ok", "bad_image"]:
    if text == "ok":
        return "ok"
    if text == "bad_image":
        return "bad_image"
    raise ValueError(f"status {text!r}; expected ok or bad_image")


def _objects(rows: Iterable[dict]) -> Iterator[LocalizedObject]:  # type: ignore[type-arg]
    for row in rows:
        x0, y0, x1, y1 = (float(edge) for edge in row["box"])
        values = np.frombuffer(base64.b64decode(row["map"]["uint8"], validate=True), dtype=np.uint8)
        height, width = row["map"]["grid"]
        if not np.isfinite([x0, y0, x1, y1, float(row["score"])]).all():
            raise ValueError("a box or score that is not a finite number")
        yield LocalizedObject(
            label=str(row["label"]),
            class_id=int(row["class_id"]),
            score=float(row["score"]),
            box=(x0, y0, x1, y1),
            map=values.reshape(height, width),
        )
