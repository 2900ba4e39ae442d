"""The files of an evaluation: `metrics.json`, a line a picture in `per_image.jsonl`, and what was not judged."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tscam.datasets import Dataset
from tscam.localization import encode_levels
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.summary import ProtocolResult
from tscam.metrics.ts_cam import OUTCOMES
from tscam.writing import write_csv, write_json, written_atomically

METRICS, PICTURES = "metrics.json", "per_image.jsonl"


def write_results(
    out: Path,
    results: Mapping[str, ProtocolResult],
    pictures: Iterable[JudgedPicture],
    *,
    dataset: Dataset,
    facts: Mapping[str, object],
    faults: Mapping[str, str],
) -> None:
    """Writes the files of an evaluation into its folder.

    `metrics.json` has what every protocol says, with its settings and threshold. A line of `per_image.jsonl` has a
    picture's id, size, class and true boxes, its most likely classes, its map on the grid (min-max scaled to bytes, as
    in `localizations.jsonl`), and by protocol the box in view pixels, its IoU, the outcome, and each measure, 0 to 1.
    `missing.csv` lists what counts as wrong without being judged.

    Args:
        facts: of the model.
        faults: by picture.

    Raises:
        OutputError: the disk refuses.
    """
    with written_atomically(out / PICTURES) as file:
        for place, picture in enumerate(pictures):
            file.write(f"{json.dumps(_line(picture, place, results))}\n".encode())
    if faults:
        write_csv(out / "missing.csv", ["image", "reason"], faults.items())
    of_data = {
        "dataset": dataset.name,
        "data": str(dataset.root),
        "split": dataset.split,
        "pictures": len(dataset),
        "class_names": list(dataset.class_names),
    }
    found = {name: result.to_json() for name, result in results.items()}
    write_json(out / METRICS, {**facts, **of_data, "not_judged": len(faults), "protocols": found}, indent=1)


def _line(picture: JudgedPicture, place: int, results: Mapping[str, ProtocolResult]) -> dict[str, object]:
    return {
        "image": picture.image,
        "picture": list(picture.picture_wh),
        "label": picture.label,
        "top_classes": list(picture.top_classes),
        "truths": picture.truths.tolist(),
        "fault": picture.fault,
        "map": encode_levels(picture.shown),
        "protocols": {name: _of_protocol(result, place) for name, result in results.items()},
    }


def _of_protocol(result: ProtocolResult, place: int) -> dict[str, object]:
    columns = result.columns
    found: dict[str, object] = {"iou": float(columns.iou[place])}
    if columns.boxes is not None:
        found["box"] = columns.boxes[place].tolist()
    if columns.outcomes is not None:
        found["outcome"] = OUTCOMES[columns.outcomes[place]].value
    return found | {name: float(column[place]) for name, column in columns.measures.items()}
