"""The files of an evaluation: `metrics.json`, `per_image.jsonl` with a line for every picture, `missing.csv`."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tscam.datasets import Dataset, require_writable, write_wsol_metadata
from tscam.localization import encode_levels
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.summary import ProtocolResult
from tscam.metrics.ts_cam import OUTCOMES
from tscam.system.writing import write_csv, write_json, written_atomically

METRICS, PICTURES = "metrics.json", "per_image.jsonl"

# wsolevaluation's own names of data sets.
_WSOL_NAMES = {"cub": "CUB", "imagenet": "ILSVRC"}


def write_results(
    out: Path,
    results: Mapping[str, ProtocolResult],
    pictures: Iterable[JudgedPicture],
    *,
    dataset: Dataset,
    facts: Mapping[str, object],
    faults: Mapping[str, str],
) -> None:
    """Write the files of an evaluation into its folder.

    `metrics.json` has the numbers of every protocol, with its settings and threshold. A line of `per_image.jsonl` has
    a picture's id, size, class and true boxes, its most likely classes, its map on the grid (min-max scaled to bytes,
    as in `localizations.jsonl`), and by protocol the box in view pixels, its IoU, the outcome, and each measure in
    [0, 1]; the localization of a picture without an object is null. `missing.csv` lists the pictures that count as
    wrong without being judged.

    Args:
        facts: facts about the model or the maps.
        faults: by picture id, why it counts as wrong.

    Raises:
        OutputError: the disk refuses.
    """
    with written_atomically(out / PICTURES) as file:
        for index, picture in enumerate(pictures):
            file.write(f"{json.dumps(_line(picture, index, results))}\n".encode())
    if faults:
        write_csv(out / "missing.csv", ["image", "reason"], faults.items())
    metrics = {
        **facts,
        "dataset": dataset.name,
        "data": str(dataset.root),
        "split": dataset.split,
        "pictures": len(dataset),
        "class_names": list(dataset.class_names),
        "not_judged": len(faults),
        **({} if dataset.decode.pixel_range is None else {"pixel_range": dataset.decode.pixel_range.to_json()}),
        "protocols": {name: result.to_json() for name, result in results.items()},
    }
    write_json(out / METRICS, metrics, indent=1)


def require_metadata_writable(dataset: Dataset) -> None:
    """Refuse a split that `write_metadata` cannot write, before its pictures are judged.

    Raises:
        DataError: an id or a box that the lists cannot express.
    """
    require_writable(dataset, mask_root=_mask_root(dataset))


def write_metadata(folder: Path, dataset: Dataset, sizes_wh: Sequence[tuple[int, int]]) -> None:
    """Write a split's metadata as wsolevaluation reads them.

    Args:
        sizes_wh: width and height of every picture, in pixels.
    """
    target = folder / _WSOL_NAMES.get(dataset.name, dataset.name) / dataset.split
    write_wsol_metadata(dataset, target, sizes_wh=np.array(sizes_wh, dtype=np.int64), mask_root=_mask_root(dataset))


def _mask_root(dataset: Dataset) -> Path | None:
    return dataset.image_root if dataset.boxes is None else None


def _line(picture: JudgedPicture, index: int, results: Mapping[str, ProtocolResult]) -> dict[str, object]:
    return {
        "image": picture.image,
        "picture": list(picture.picture_wh),
        "label": picture.label,
        "top_classes": list(picture.top_classes),
        "truths": picture.truths.tolist(),
        "fault": picture.fault,
        "map": encode_levels(picture.small_map),
        "protocols": {name: _picture_scores(result, index) for name, result in results.items()},
    }


def _picture_scores(result: ProtocolResult, index: int) -> dict[str, object]:
    columns = result.columns
    scores: dict[str, object] = {"iou": _number_or_none(columns.iou[index])}
    if columns.boxes is not None:
        scores["box"] = columns.boxes[index].tolist()
    if columns.outcomes is not None:
        outcome = int(columns.outcomes[index])
        scores["outcome"] = OUTCOMES[outcome].value if outcome >= 0 else None
    return scores | {name: _number_or_none(column[index]) for name, column in columns.measures.items()}


def _number_or_none(value: float) -> float | None:
    """The number; None for NaN, which JSON does not have: the localization of a picture without an object."""
    return None if math.isnan(value) else float(value)
