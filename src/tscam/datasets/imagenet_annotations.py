"""Official annotations of ImageNet's `val/`: Kaggle's CSV, else an XML file a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tscam.datasets.listings import box_array, list_lines
from tscam.errors import DataError
from tscam.formats.parsing import box_of_edges, finite_number, picture_id, read_xml
from tscam.formats.voc import voc_objects
from tscam.geometry import Box
from tscam.names import nfc

SOLUTION = "LOC_val_solution.csv"
XML_IN = ("ILSVRC/Annotations/CLS-LOC/val", "Annotations/CLS-LOC/val", "Annotations/val")


@dataclass(frozen=True)
class Annotation:
    """The official annotation of a picture of `val/`; `difficult` counts the boxes that are left out as such."""

    wnid: str
    boxes: Float[np.ndarray, "m 4"]
    difficult: int = 0


def read_annotations(root: Path) -> dict[str, Annotation]:
    """Return the official annotations by the stem of the picture; empty where there are none."""
    if (root / SOLUTION).exists():
        return _csv_annotations(root / SOLUTION)
    for path in XML_IN:
        if (root / path).is_dir():
            files = sorted((root / path).glob("*.xml"))
            return {nfc(file.stem): _xml_annotation(file) for file in files}
    return {}


def _csv_annotations(path: Path) -> dict[str, Annotation]:
    """Read Kaggle's CSV: `ImageId,PredictionString`, the latter `wnid x1 y1 x2 y2` of each box."""
    annotations: dict[str, Annotation] = {}
    for source, text in list_lines(path):
        name, _, rest = text.partition(",")
        if (name, rest) == ("ImageId", "PredictionString"):
            continue
        values = rest.split()
        if len(values) % 5:
            raise DataError(f"{source}: {len(values)} values; expected 'ImageId,wnid x1 y1 x2 y2' of each box")
        boxes = []
        for start in range(0, len(values), 5):
            edges = [finite_number(value, source) for value in values[start + 1 : start + 5]]
            boxes.append(box_of_edges(edges, source))
        if nfc(picture_id(name, source)) in annotations:
            raise DataError(f"{source}: {name!r} is listed twice")
        annotations[nfc(name)] = _annotation(values[::5], boxes, source)
    return annotations


def _xml_annotation(path: Path) -> Annotation:
    objects = voc_objects(read_xml(path), str(path))
    boxes = [voc.sides for voc in objects if not voc.difficult]
    annotation = _annotation([voc.name for voc in objects], boxes, str(path))
    return replace(annotation, difficult=len(objects) - len(boxes))


def _annotation(names: Sequence[str], boxes: Sequence[Box], source: str) -> Annotation:
    wnids = sorted(set(map(nfc, names)))
    if len(wnids) != 1:
        raise DataError(f"{source}: objects of {', '.join(wnids) or 'no class'}; expected those of one class")
    return Annotation(wnids[0], box_array(boxes))
