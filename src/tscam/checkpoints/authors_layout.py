"""Checkpoints of the TS-CAM authors by the names and shapes of their tensors. No PyTorch."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tscam.bounds import MAX_CLASSES, MAX_VIEW_SIDE
from tscam.errors import WeightsError, first_names
from tscam.weights.index import SUFFIXES, WeightIndex, read_index
from tscam.weights.layouts import distilled_backbone, find_layout

# Names of tensors that tell the authors' models; a project that trains one may keep them under a prefix.
LANDMARKS = frozenset(
    {"trans_cls_head.weight", "conv6.weight", "fc.weight", "patch_embed.proj.weight", "pos_embed", "head.weight"}
)

# The authors' DeiT models by width of a token; all have 12 blocks, patches of 16 pixels and heads of 64 channels.
_DEIT = {192: "deit_tiny_patch16_224", 384: "deit_small_patch16_224", 768: "deit_base_patch16_224"}
_BLOCKS, _PATCH = 12, 16

# The authors' view. A file tells it only by its position embeddings, which Conformer and VGG do not have.
_VIEW = (224, 224)

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class AuthorsLayout:
    """Architecture, method, view and number of classes of a checkpoint of the authors."""

    backbone: str
    method: str
    image_hw: tuple[int, int]
    classes: int


def read_authors_layout(path: Path) -> AuthorsLayout:
    """Return the layout of a checkpoint of TS-CAM on DeiT or Conformer, or of VGG16-CAM, from the file's index.

    Raises:
        WeightsError: not a weight file, weights of another model, or damaged.
    """
    if path.suffix not in SUFFIXES:
        raise WeightsError(
            f"{path}: unknown ending {path.suffix!r}; a MODEL is a folder or ends in {', '.join(SUFFIXES)}"
        )
    return _layout(_shapes(read_index(path)), path)


def _shapes(index: WeightIndex) -> Shapes:
    layout = find_layout(index.tensors, expected=LANDMARKS, at_least=1)
    return {name: index.tensors[stored].shape for name, stored in layout.paths.items()}


def _layout(shapes: Shapes, path: Path) -> AuthorsLayout:
    if "trans_cls_head.weight" in shapes:
        classes = _classes(shapes, "trans_cls_head.weight", axes=4, path=path)
        return AuthorsLayout(backbone="conformer_small_patch16", method="ts-cam", image_hw=_VIEW, classes=classes)
    if "conv6.weight" in shapes:
        classes = _classes(shapes, "fc.weight", axes=2, path=path)
        return AuthorsLayout(backbone="vgg16_cam", method="cam", image_hw=_VIEW, classes=classes)
    return _deit_layout(shapes, path)


def _deit_layout(shapes: Shapes, path: Path) -> AuthorsLayout:
    landmarks = ("patch_embed.proj.weight", "pos_embed", "head.weight")
    missing = [name for name in landmarks if name not in shapes]
    if missing:
        raise WeightsError(
            f"{path}: not a TS-CAM checkpoint on DeiT or Conformer, nor VGG16-CAM: missing {', '.join(missing)}; "
            f"its tensors are {first_names(sorted(shapes), at_most=3) or 'none'}"
        )
    embedding, positions = shapes["patch_embed.proj.weight"], shapes["pos_embed"]
    if (len(embedding), len(positions)) != (4, 3):
        raise WeightsError(
            f"{path}: patch_embed.proj.weight is {embedding}, pos_embed {positions}; "
            "a TS-CAM checkpoint on DeiT has four and three axes there"
        )
    classes = _classes(shapes, "head.weight", axes=4, path=path)
    blocks = len({match[1] for name in shapes if (match := re.match(r"blocks\.(\d+)\.", name))})
    width, patch = embedding[0], embedding[-1]
    side = math.isqrt(max(positions[1] - 1, 0))
    if distilled := distilled_backbone(shapes):
        raise WeightsError(
            f"{path}: {positions[1]} positions, those of a distilled model, and no TS-CAM checkpoint; train from "
            f"this file with `tscam train … --weights` and --backbone {distilled}"
        )
    is_view = side * patch <= MAX_VIEW_SIDE
    if width not in _DEIT or not is_view or (blocks, patch, side**2) != (_BLOCKS, _PATCH, positions[1] - 1):
        raise WeightsError(
            f"{path}: {blocks} blocks, {width} channels, patch {patch}, {positions[1]} positions are not one of "
            f"the authors' models ({_BLOCKS} blocks, 192, 384 or 768 channels, patch {_PATCH})"
        )
    return AuthorsLayout(backbone=_DEIT[width], method="ts-cam", image_hw=(side * patch, side * patch), classes=classes)


def _classes(shapes: Shapes, name: str, *, axes: int, path: Path) -> int:
    """Return the number of classes of a head."""
    shape = shapes.get(name)
    if shape is None:
        raise WeightsError(f"{path}: not a whole checkpoint of VGG16-CAM: missing {name}")
    if len(shape) != axes:
        layer = {2: "a linear layer", 4: "a 3×3 convolution"}[axes]
        raise WeightsError(
            f"{path}: {name} is {shape}, the head of a plain classifier; maps need {layer}. "
            "Train from this file with `tscam train … --weights`"
        )
    if shape[0] > MAX_CLASSES:
        raise WeightsError(f"{path}: {name} is {shape}; expected at most {MAX_CLASSES:,} classes")
    return shape[0]
