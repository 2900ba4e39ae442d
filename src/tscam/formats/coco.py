"""COCO's data set file, read and written: JSON with `[x, y, width, height]` boxes, 0-based pixel edges."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path

from tscam.errors import DataError
from tscam.formats.base import (
    AnnotatedObject,
    AnnotatedPicture,
    Annotations,
    ObjectRecord,
    Records,
    formats,
    occurring_categories,
)
from tscam.formats.parsing import box_of_edges, finite_number, flag, picture_id, read_json, stated_size
from tscam.system.writing import written_atomically

_EXPECTED = "COCO annotations"


class Coco:
    """One JSON file of images, categories and annotations.

    Source:
        https://cocodataset.org/#format-data, and `score` as in result files.
    """

    def find(self, path: Path) -> Path | None:
        """`path` if it ends in `.json`, else `annotations.json` or `annotations/instances_*.json` in the folder.

        Raises:
            DataError: the folder contains several.
        """
        if path.is_file():
            return path if path.suffix.lower() == ".json" else None
        files = [path / "annotations.json", *sorted((path / "annotations").glob("instances_*.json"))]
        files = [file for file in files if file.is_file()]
        if len(files) > 1:
            raise DataError(f"{path}: both {files[0].name} and {files[1].name}; name one of the files")
        return files[0] if files else None

    def read(self, path: Path) -> Annotations:
        """Read a COCO file; `categories` may be missing, and so may `iscrowd`, `ignore` and `score` of an annotation.

        Raises:
            DataError: no such file, not COCO JSON, or a broken entry, named by its index in the list.
        """
        content = read_json(path, expected=_EXPECTED)
        categories = _categories(content, path)
        objects: dict[int | str, list[AnnotatedObject]] = {}
        images: dict[int | str, tuple[str, str, tuple[int, int] | None]] = {}
        for source, entry in _entries(content, "images", path):
            image_id, file_name = entry.get("id"), entry.get("file_name")
            if not isinstance(image_id, int | str) or not isinstance(file_name, str):
                raise DataError(f"{source}: no 'id' or no 'file_name'; expected both")
            if image_id in images:
                raise DataError(f"{source}: image {image_id!r} is listed twice")
            size_wh = stated_size(entry.get("width"), entry.get("height"))
            images[image_id] = (picture_id(file_name, source), source, size_wh)
        for source, entry in _entries(content, "annotations", path):
            image_id = entry.get("image_id")
            if not isinstance(image_id, int | str) or image_id not in images:
                raise DataError(f"{source}: image {image_id!r} is not in 'images'")
            objects.setdefault(image_id, []).append(_object(entry, categories, source))
        pictures = tuple(
            AnnotatedPicture(name=name, size_wh=size_wh, objects=tuple(objects.get(image_id, ())), source=source)
            for image_id, (name, source, size_wh) in images.items()
        )
        names = tuple(categories.values()) or occurring_categories(pictures)
        return Annotations(format="coco", categories=names, pictures=pictures)

    def require_names(self, names: Iterable[str]) -> None:
        """Every picture can be named."""

    def write(self, records: Records, out: Path) -> list[Path]:
        """Write `annotations/instances_localized.json`, whose ids count from 1; a category's id is its class id + 1.

        Pictures without objects are listed. File names are relative to the folder that `info` names. `iscrowd` is
        always 0: evaluators pass over crowds. `segmentation` is the box as a polygon: readers fail without the key.

        Raises:
            OutputError: the file cannot be written.
        """
        path = out / "annotations" / "instances_localized.json"
        head = {
            "info": {"description": "Objects localized by tscam", "image_folder": records.folder.as_posix()},
            "licenses": [],
            "categories": [
                {"id": class_id + 1, "name": name, "supercategory": ""}
                for class_id, name in records.class_names.items()
            ],
        }
        with written_atomically(path) as file:
            file.write(json.dumps(head)[:-1].encode())
            for key, entries in (("images", _images(records)), ("annotations", _annotations(records))):
                file.write(f', "{key}": ['.encode())
                for number, entry in enumerate(entries):
                    file.write(f"{', ' if number else ''}{json.dumps(entry, allow_nan=False)}".encode())
                file.write(b"]")
            file.write(b"}\n")
        return [path]


def _images(records: Records) -> Iterator[dict[str, object]]:
    for image_id, picture in enumerate(records.pictures, start=1):
        yield {"id": image_id, "file_name": picture.name, "width": picture.width, "height": picture.height}


def _annotations(records: Records) -> Iterator[dict[str, object]]:
    numbers = count(1)
    for image_id, picture in enumerate(records.pictures, start=1):
        for record in picture.objects:
            yield {"id": next(numbers), "image_id": image_id, **_annotation(record)}


def _annotation(record: ObjectRecord) -> dict[str, object]:
    x0, y0, x1, y1 = record.box
    width, height = x1 - x0, y1 - y0
    return {
        "category_id": record.class_id + 1,
        "bbox": [x0, y0, width, height],
        "area": width * height,
        "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
        "iscrowd": 0,
        "score": record.score,
    }


def _object(entry: Mapping[str, object], categories: Mapping[int | str, str], source: str) -> AnnotatedObject:
    bbox, category_id, score = entry.get("bbox"), entry.get("category_id"), entry.get("score")
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise DataError(f"{source}: bbox {bbox!r:.80}; expected [x, y, width, height]")
    x, y, width, height = (finite_number(value, source) for value in bbox)
    return AnnotatedObject(
        box=box_of_edges((x, y, x + width, y + height), source),
        category=_category(category_id, categories, source),
        score=None if score is None else finite_number(score, source),
        iscrowd=flag(entry.get("iscrowd"), f"{source}: iscrowd"),
        ignore=flag(entry.get("ignore"), f"{source}: ignore"),
    )


def _category(category_id: object, categories: Mapping[int | str, str], source: str) -> str | None:
    if category_id is None or not categories:
        return None
    if not isinstance(category_id, int | str) or category_id not in categories:
        raise DataError(f"{source}: category {category_id!r:.80} is not in 'categories'")
    return categories[category_id]


def _categories(content: object, path: Path) -> dict[int | str, str]:
    """Return the name of each category by its id; empty where the file lists none."""
    if not isinstance(content, dict) or content.get("categories") is None:
        return {}
    names: dict[int | str, str] = {}
    for source, entry in _entries(content, "categories", path):
        category_id, name = entry.get("id"), entry.get("name")
        if not isinstance(category_id, int | str) or not isinstance(name, str):
            raise DataError(f"{source}: no 'id' or no 'name'; expected both")
        if category_id in names:
            raise DataError(f"{source}: category {category_id!r} is listed twice")
        names[category_id] = name
    return names


def _entries(content: object, key: str, path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the entries of a list in a JSON object, each with its index for messages."""
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"{path}: no list {key!r}; expected {_EXPECTED} with 'images' and 'annotations'")
    for number, entry in enumerate(entries):
        source = f"{path}: {key}[{number}]"
        if not isinstance(entry, dict):
            raise DataError(f"{source}: not an object; expected {_EXPECTED}")
        yield source, entry


formats.register("coco")(Coco())
