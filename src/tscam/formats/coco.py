"""COCO's data set file: `annotations/instances_localized.json`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tscam.formats.base import class_table, formats, relative_names
from tscam.localization import Localization, LocalizedObject
from tscam.writing import write_json


@formats.register("coco")
def write_coco(
    localizations: Iterable[Localization], out: Path, *, class_names: Sequence[str] | None = None
) -> list[Path]:
    """One JSON file with categories, pictures and boxes, whose ids count from 1; a category's id is its class id + 1.

    A box is `[x, y, width, height]` in picture pixels, clipped to the picture. Pictures without objects are listed, bad
    images are not. File names are relative to the folder that `info` names.

    Raises:
        DataError: a picture localized twice, or labels that do not fit together.
        OutputError: the file cannot be written.

    Source:
        https://cocodataset.org/#format-data, and `score` as in result files. `iscrowd` is always 0: evaluators pass
        over crowds.
    """
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    labels: set[tuple[int, str]] = set()
    for localization in localizations:
        if localization.status == "bad_image":
            continue
        image_id = len(images) + 1
        size = {"width": localization.width, "height": localization.height}
        images.append({"id": image_id, "file_name": localization.image, **size})
        for found in localization.objects:
            labels.add((found.class_id, found.label))
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **_annotation(found, localization)})
    folder, file_names = relative_names([str(image["file_name"]) for image in images])
    for image, file_name in zip(images, file_names, strict=True):
        image["file_name"] = file_name
    table = class_table(labels, class_names=class_names)
    path = out / "annotations" / "instances_localized.json"
    write_json(
        path,
        {
            "info": {"description": "Objects localized by tscam", "image_folder": folder.as_posix()},
            "licenses": [],
            "categories": [{"id": id_ + 1, "name": name, "supercategory": ""} for id_, name in table.items()],
            "images": images,
            "annotations": annotations,
        },
    )
    return [path]


def _annotation(found: LocalizedObject, localization: Localization) -> dict[str, object]:
    most = (localization.width, localization.height) * 2
    x0, y0, x1, y1 = (min(max(float(edge), 0.0), float(side)) for edge, side in zip(found.box, most, strict=True))
    width, height = x1 - x0, y1 - y0
    return {
        "category_id": found.class_id + 1,
        "bbox": [x0, y0, width, height],
        "area": width * height,
        "iscrowd": 0,
        "score": float(found.score),
    }
