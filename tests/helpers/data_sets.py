"""Tiny data sets in each layout: one object in its class's colour on grey noise, with a known box."""

import colorsys
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]


def draw_picture(path: Path, *, class_id: int = 0, seed: int = 0) -> Box:
    """Write a picture with one filled rectangle and return its box, half-open `(x0, y0, x1, y1)`.

    The size depends on the seed, 48 to 76 by 36 to 56, never square; the colour on the class.
    """
    random = np.random.default_rng([class_id, seed])
    width, height = 48 + 4 * int(random.integers(8)), 36 + 2 * int(random.integers(6))
    pixels = random.integers(90, 160, size=(height, width, 1), dtype=np.uint8).repeat(3, axis=2)
    x0, y0 = int(random.integers(2, width // 2)), int(random.integers(2, height // 2))
    x1, y1 = x0 + int(random.integers(12, width // 2)), y0 + int(random.integers(9, height // 2))
    pixels[y0:y1, x0:x1] = [round(255 * channel) for channel in colorsys.hsv_to_rgb(class_id * 0.381966 % 1, 1, 1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return x0, y0, x1, y1


def write_cub(root: Path, *, classes: int = 3, train: int = 2, test: int = 1, masks: bool = False) -> Path:
    """Write CUB-200-2011's layout with `train` and `test` pictures of each class, and return `root`."""
    lists: dict[str, list[str]] = {name: [] for name in CUB_LISTS}
    for class_id in range(classes):
        name = f"{class_id + 1:03d}.Bird_{class_id + 1}"
        lists["classes"].append(f"{class_id + 1} {name}")
        for index in range(train + test):
            number = len(lists["images"]) + 1
            path = f"{name}/Bird_{class_id + 1}_{index:04d}.jpg"
            x0, y0, x1, y1 = draw_picture(root / "images" / path, class_id=class_id, seed=index)
            lists["images"].append(f"{number} {path}")
            lists["image_class_labels"].append(f"{number} {class_id + 1}")
            lists["train_test_split"].append(f"{number} {int(index < train)}")
            lists["bounding_boxes"].append(f"{number} {x0}.0 {y0}.0 {x1 - x0}.0 {y1 - y0}.0")
            if masks:
                _write_mask(root / "images" / path, root / "segmentations" / path, box=(x0, y0, x1, y1))
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return root


CUB_LISTS = ("classes", "images", "image_class_labels", "train_test_split", "bounding_boxes")


def wnid(class_id: int) -> str:
    """Return the name of a class of `write_imagenet`."""
    return f"n{1440764 + 1000 * class_id:08d}"


def write_imagenet(root: Path, *, classes: int = 3, train: int = 2, val: int = 2) -> Path:
    """Write ImageNet's folders and `ILSVRC2012_list/`, `train` and `val` pictures of each class, and return `root`.

    Every second picture of `val` has a second box.
    """
    lists: dict[str, list[str]] = {"train": [], "val_folder_new": []}
    for class_id in range(classes):
        for index in range(train):
            path = f"{wnid(class_id)}/{wnid(class_id)}_{index}.JPEG"
            draw_picture(root / "train" / path, class_id=class_id, seed=index)
            lists["train"].append(f"{path} {class_id}")
        for index in range(val):
            path = f"{wnid(class_id)}/{val_name(len(lists['val_folder_new']))}.JPEG"
            box = draw_picture(root / "val" / path, class_id=class_id, seed=1000 + index)
            second = " 1 2 13 11" if index % 2 else ""
            lists["val_folder_new"].append(f"{path} {class_id} {' '.join(map(str, box))}{second}")
    (root / "ILSVRC2012_list").mkdir(parents=True)
    for name, lines in lists.items():
        (root / "ILSVRC2012_list" / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return root


def val_name(index: int) -> str:
    """Return the name of a picture of `val/`, without suffix."""
    return f"ILSVRC2012_val_{index + 1:08d}"


def write_kaggle_imagenet(root: Path, *, classes: int = 3, val: int = 2, boxes: str = "csv") -> dict[str, Box]:
    """Write Kaggle's tree, a flat `val/` with boxes as `csv` or `xml`, and return the box of each picture of `val/`."""
    pictures, drawn = root / "ILSVRC" / "Data" / "CLS-LOC", {}
    rows = ["ImageId,PredictionString"]
    for class_id in range(classes):
        draw_picture(pictures / "train" / wnid(class_id) / f"{wnid(class_id)}_0.JPEG", class_id=class_id)
        for index in range(val):
            name = val_name(class_id + classes * index)
            drawn[f"{name}.JPEG"] = draw_picture(pictures / "val" / f"{name}.JPEG", class_id=class_id, seed=1 + index)
            rows.append(f"{name},{wnid(class_id)} {' '.join(map(str, drawn[f'{name}.JPEG']))} ")
            if boxes == "xml":
                path = root / "ILSVRC" / "Annotations" / "CLS-LOC" / "val" / f"{name}.xml"
                write_xml(path, [(wnid(class_id), drawn[f"{name}.JPEG"])])
    if boxes == "csv":
        (root / "LOC_val_solution.csv").write_text("\n".join(rows))
    return drawn


def write_folder(
    root: Path,
    *,
    class_names: Sequence[str] = ("cat", "dog", "emu"),
    splits: Mapping[str, int] | None = None,
    boxes: str | None = "csv",
) -> dict[str, Box]:
    """Write one folder a class, and return the box of each picture by its id.

    Args:
        splits: number of pictures a class by split; None writes two pictures a class without folders for splits.
        boxes: `csv`, `coco`, `voc`, all in `root`, or None.
    """
    drawn: dict[str, Box] = {}
    for offset, (split, count) in enumerate((splits or {"": 2}).items()):
        for class_id, name in enumerate(class_names):
            for index in range(count):
                image_id = f"{split}/{name}/{name}_{offset}_{index}.png".lstrip("/")
                drawn[image_id] = draw_picture(root / image_id, class_id=class_id, seed=100 * offset + index)
    if boxes == "csv":
        rows = [f"{image_id},{x0},{y0},{x1},{y1}" for image_id, (x0, y0, x1, y1) in drawn.items()]
        (root / "boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *rows]))
    elif boxes == "coco":
        (root / "annotations.json").write_text(json.dumps(coco_content(drawn)))
    elif boxes == "voc":
        for image_id, (x0, y0, x1, y1) in drawn.items():
            write_xml(root / "Annotations" / f"{Path(image_id).stem}.xml", [("object", (x0 + 1, y0 + 1, x1, y1))])
    return drawn


def coco_content(boxes: Mapping[str, Box]) -> dict[str, list[dict[str, object]]]:
    """Return COCO's JSON of one box a picture."""
    return {
        "images": [{"id": 10 + number, "file_name": image_id} for number, image_id in enumerate(boxes)],
        "annotations": [
            {"id": number, "image_id": 10 + number, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for number, (x0, y0, x1, y1) in enumerate(boxes.values())
        ],
    }


def write_xml(path: Path, objects: Sequence[tuple[str, Box]]) -> None:
    """Write an annotation in the form of Pascal VOC and ImageNet; edges are not shifted."""
    entries = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1) in objects
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation><filename>{path.stem}</filename>{entries}</annotation>")


def write_wsol(root: Path, *, name: str = "CUB", classes: int = 3, masks: bool = False) -> dict[str, Box]:
    """Write wsolevaluation's `metadata/` and `dataset/`, and return the box of each picture by its id.

    Each class has two pictures to train on, one to validate on and two to test on. The second test picture has a second
    box, or, with masks, a second object. With masks the metadata list no sizes, as OpenImages'.
    """
    drawn: dict[str, Box] = {}
    for split, first, count in (("train", 0, 2), ("val", 2, 1), ("test", 3, 2)):
        lists: dict[str, list[str]] = {name: [] for name in WSOL_LISTS}
        for class_id in range(classes):
            for index in range(first, first + count):
                image_id = f"{class_id + 1:03d}.Bird_{class_id + 1}/{split}_{index}.png"
                picture = root / "dataset" / name / image_id
                drawn[image_id] = draw_picture(picture, class_id=class_id, seed=index)
                with Image.open(picture) as opened:
                    lists["image_sizes"].append(f"{image_id},{opened.width},{opened.height}")
                lists["image_ids"].append(image_id)
                lists["class_labels"].append(f"{image_id},{class_id}")
                has_second = split == "test" and index == first + 1
                if masks:
                    lists["localization"] += _wsol_masks(picture, image_id, drawn[image_id], has_second=has_second)
                else:
                    boxes = [drawn[image_id], (1, 2, 13, 11)] if has_second else [drawn[image_id]]
                    lists["localization"] += [f"{image_id},{','.join(map(str, box))}" for box in boxes]
        if masks:
            del lists["image_sizes"]
        for file, lines in lists.items():
            path = root / "metadata" / name / split / f"{file}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines))
    return drawn


WSOL_LISTS = ("image_ids", "class_labels", "image_sizes", "localization")


def _wsol_masks(picture: Path, image_id: str, box: Box, *, has_second: bool) -> list[str]:
    """Write masks of an object, of an ignored region around it, and of another with `has_second`; return the lines."""
    x0, y0, x1, y1 = box
    stem = image_id.removesuffix(".png")
    _write_mask(picture, picture.with_name(f"{picture.stem}_m0.png"), box=box)
    _write_mask(picture, picture.with_name(f"{picture.stem}_ignore.png"), box=(x0 - 2, y0 - 2, x1 + 3, y1 + 1))
    lines = [f"{image_id},{stem}_m0.png,{stem}_ignore.png"]
    if has_second:
        _write_mask(picture, picture.with_name(f"{picture.stem}_m1.png"), box=(0, 0, 5, 4))
        lines.append(f"{image_id},{stem}_m1.png,")
    return lines


def _write_mask(picture: Path, mask: Path, *, box: Box) -> None:
    x0, y0, x1, y1 = box
    with Image.open(picture) as opened:
        pixels = np.zeros((opened.height, opened.width), dtype=np.uint8)
    pixels[y0:y1, x0:x1] = 255
    mask.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(mask.with_suffix(".png"))


# A small example of every registered reader, for tests that run over the registry.
EXAMPLES: dict[str, Callable[[Path], object]] = {
    "cub": write_cub,
    "imagenet": write_imagenet,
    "wsol": write_wsol,
    "folder": lambda root: write_folder(root, splits={"train": 2, "val": 1, "test": 1}),
}
