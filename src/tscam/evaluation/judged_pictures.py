"""Judged pictures in a file, a line each: more than memory can take, read several times, and kept for a resumed run.

The file contains only numbers and text, so that nothing in it is ever run.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from tscam.errors import DataError, one_line
from tscam.metrics.levels import LevelScores
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.pixels import PixelScores
from tscam.system.lines import LineFile


class JudgedPictures:
    """Judged pictures in the order in which they were added; those of an interrupted run are there already.

    Args:
        path: the file, made with its folder if it is missing; None takes a temporary file.

    Raises:
        OutputError: the disk refuses.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lines = LineFile.without_name() if path is None else LineFile(path)

    def append(self, picture: JudgedPicture) -> None:
        """Add a picture.

        Raises:
            OutputError: the disk refuses.
        """
        self._lines.append(json.dumps(_fields(picture)).encode())

    def keep(self, image_ids: Sequence[str], *, batch_size: int) -> None:
        """Keep the pictures of whole batches alone, so that the others are judged in the batches of an unbroken run.

        Args:
            image_ids: ids of the pictures that are due, in their order.

        Raises:
            DataError: a line is no judged picture, or of another one than is due.
        """
        count = len(self)
        self._lines.truncate(count if count == len(image_ids) else count - count % batch_size)
        for number, picture in enumerate(self, start=1):
            if number > len(image_ids) or picture.image != image_ids[number - 1]:
                raise DataError(f"{self._path}:{number}: {picture.image!r} is not due here; begin with --overwrite")

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[JudgedPicture]:
        """Yield all pictures from the first one.

        Raises:
            DataError: a line is no judged picture.
        """
        for number, line in enumerate(self._lines, start=1):
            try:
                yield _picture(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
                raise DataError(
                    f"{self._path}:{number}: not a judged picture ({one_line(fault)}); begin with --overwrite"
                ) from fault

    def __enter__(self) -> "JudgedPictures":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()


def _fields(picture: JudgedPicture) -> dict[str, object]:
    return {
        "image": picture.image,
        "label": picture.label,
        "top_classes": list(picture.top_classes),
        "picture_wh": list(picture.picture_wh),
        "truths": _encoded(picture.truths),
        "boxes": {
            name: {
                "highest": scores.highest,
                "iou": _encoded(scores.iou),
                "boxes": _encoded(scores.boxes),
                "outcomes": None if scores.outcomes is None else _encoded(scores.outcomes),
            }
            for name, scores in picture.boxes.items()
        },
        "pixels": {
            name: {
                "highest": scores.highest,
                "foreground": _encoded(scores.foreground),
                "background": _encoded(scores.background),
                "mask_iou": _encoded(scores.mask_iou),
            }
            for name, scores in picture.pixels.items()
        },
        "map_levels": dict(picture.map_levels),
        "small_map": _encoded(picture.small_map),
        "fault": picture.fault,
        "is_unclassified": picture.is_unclassified,
    }


def _picture(fields: Mapping[str, Any]) -> JudgedPicture:
    width, height = fields["picture_wh"]
    return JudgedPicture(
        image=fields["image"],
        label=fields["label"],
        top_classes=tuple(fields["top_classes"]),
        picture_wh=(width, height),
        truths=_decoded(fields["truths"]),
        boxes={
            name: LevelScores(
                highest=scores["highest"],
                iou=_decoded(scores["iou"]),
                boxes=_decoded(scores["boxes"]),
                outcomes=None if scores["outcomes"] is None else _decoded(scores["outcomes"]),
            )
            for name, scores in fields["boxes"].items()
        },
        pixels={
            name: PixelScores(
                highest=scores["highest"],
                foreground=_decoded(scores["foreground"]),
                background=_decoded(scores["background"]),
                mask_iou=_decoded(scores["mask_iou"]),
            )
            for name, scores in fields["pixels"].items()
        },
        map_levels=fields["map_levels"],
        small_map=_decoded(fields["small_map"]),
        fault=fields["fault"],
        is_unclassified=fields["is_unclassified"],
    )


def _encoded(array: Shaped[np.ndarray, "..."]) -> list[object]:
    """Return the type, the shape and the bytes of an array as JSON values."""
    return [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode()]


def _decoded(values: Sequence[Any]) -> Shaped[np.ndarray, "..."]:
    dtype, shape, text = values
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=dtype).reshape(shape)
