"""Pseudo boxes, for choosing a threshold where there are no true ones: the picture's own edges complete its map.

GrabCut separates object from background by their colours. It starts from the model's map: what is far above the rest
is object, what is far below is not, and the picture decides on the pixels between.
"""

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from tscam.boxes import find_boxes, localization_map
from tscam.evaluation.judging import Task
from tscam.evaluation.map_sources import MappedSplit
from tscam.evaluation.score_maps import read_map
from tscam.geometry import View

_SIDE = 224  # of the square in which object and background are separated
_SURE, _LIKELY, _UNLIKELY = 0.5, 0.2, 0.05  # of the map; docs/evaluation.md says how they were chosen
_ROUNDS = 3


def with_pseudo_boxes(split: MappedSplit, *, start: int = 0) -> MappedSplit:
    """The split with one pseudo box a picture, made of its map and its pixels; true boxes are not used.

    Args:
        start: index of the first picture that gets a box; those before it have none.
    """
    dataset = split.dataset
    indices = range(start, len(dataset))
    tasks = zip(indices, split.tasks(indices), strict=True)
    boxes = (_box(task, dataset.read(index)) for index, task in tasks)
    return replace(split, dataset=replace(dataset, boxes=(*[np.empty((0, 4))] * start, *boxes)))


def pseudo_mask(picture: UInt8[np.ndarray, "H W 3"], map_: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """1 on the object, else 0.

    Args:
        picture: RGB.
        map_: localization map of the same size, in [0, 1].

    Source:
        Rother et al., SIGGRAPH 2004 (GrabCut).
    """
    seeds = np.full(map_.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    seeds[map_ >= _LIKELY] = cv2.GC_PR_FGD
    seeds[map_ >= _SURE] = cv2.GC_FGD
    seeds[map_ < _UNLIKELY] = cv2.GC_BGD
    if len(np.unique(seeds)) < 2 or not (seeds == cv2.GC_FGD).any():
        return (map_ >= _LIKELY).astype(np.uint8)
    cv2.setRNGSeed(0)  # its clusters begin at random
    bgr, whole = np.ascontiguousarray(picture[..., ::-1]), (0, 0, 1, 1)  # OpenCV ignores the rectangle in this mode
    cv2.grabCut(bgr, seeds, whole, np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def _box(task: Task, picture: Image.Image) -> Float[np.ndarray, "1 4"]:
    side = (_SIDE, _SIDE)
    if isinstance(task.map, np.ndarray):
        map_ = localization_map(task.map, size_wh=side)
    else:
        map_ = localization_map(read_map(task.map), size_wh=side)
    mask = pseudo_mask(np.asarray(picture.resize(side, Image.Resampling.BILINEAR)), map_)
    boxes = find_boxes(mask.astype(np.float32), View(picture_wh=task.picture_wh, view_wh=side), threshold=0.5)
    return boxes[:1] if len(boxes) else np.array([[0.0, 0.0, *task.picture_wh]])
