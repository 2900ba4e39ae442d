"""Checkpoints of the TS-CAM authors; the names and shapes of their tensors tell the architecture."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from tscam.backbones.tensors import distilled_backbone
from tscam.errors import ConfigError, WeightsError
from tscam.model import LocalizationModel, ModelSpec
from tscam.weights.index import SUFFIXES
from tscam.weights.reading import read_named_tensors

# The authors' DeiT models by width of a token; all have 12 blocks, patches of 16 pixels and heads of 64 channels.
_DEIT = {192: "deit_tiny_patch16_224", 384: "deit_small_patch16_224", 768: "deit_base_patch16_224"}
_BLOCKS, _PATCH = 12, 16

# Names of tensors that tell the authors' models; a project that trains one may keep them under a prefix.
_LANDMARKS = frozenset(
    {"trans_cls_head.weight", "conv6.weight", "fc.weight", "patch_embed.proj.weight", "pos_embed", "head.weight"}
)

# The authors' view. A file tells it only by its position embeddings, which Conformer and VGG do not have.
_VIEW = (224, 224)

# Published thresholds by number of classes: ILSVRC's 1000; CUB's for all others.
_THRESHOLD, _THRESHOLDS = 0.10, {1000: 0.12}


def read_authors_file(path: Path) -> LocalizationModel:
    """Read the model of a checkpoint of TS-CAM on DeiT or Conformer, or of VGG16-CAM.

    Raises:
        WeightsError: not a weight file, weights of another model, or damaged.
    """
    if path.suffix not in SUFFIXES:
        raise WeightsError(
            f"{path}: unknown ending {path.suffix!r}; a MODEL is a folder or ends in {', '.join(SUFFIXES)}"
        )
    tensors = read_named_tensors(path, expected=_LANDMARKS, at_least=1).tensors
    try:
        model = LocalizationModel(infer_spec(tensors, path))
    except ConfigError as fault:
        raise WeightsError(f"{path}: {fault}") from fault
    model.load_tensors(tensors, source=str(path))
    return model


def infer_spec(tensors: Mapping[str, Tensor], path: Path) -> ModelSpec:
    """Return architecture, view and classes of a checkpoint of TS-CAM on DeiT or Conformer, or of VGG16-CAM.

    Args:
        path: the file, for messages.

    Raises:
        WeightsError: weights of another model.
    """
    if "trans_cls_head.weight" in tensors:
        head = _head(tensors, "trans_cls_head.weight", axes=4, path=path)
        return _spec("conformer_small_patch16", "ts-cam", head, _VIEW)
    if "conv6.weight" in tensors:
        return _spec("vgg16_cam", "cam", _head(tensors, "fc.weight", axes=2, path=path), _VIEW)
    return _deit_spec(tensors, path)


def _deit_spec(tensors: Mapping[str, Tensor], path: Path) -> ModelSpec:
    landmarks = ("patch_embed.proj.weight", "pos_embed", "head.weight")
    missing = [name for name in landmarks if name not in tensors]
    if missing:
        raise WeightsError(
            f"{path}: not a TS-CAM checkpoint on DeiT or Conformer, nor VGG16-CAM: missing {', '.join(missing)}; "
            f"its tensors are {', '.join(sorted(tensors)[:4])} …"
        )
    embedding, positions = tensors["patch_embed.proj.weight"], tensors["pos_embed"]
    if (embedding.ndim, positions.ndim) != (4, 3):
        raise WeightsError(
            f"{path}: patch_embed.proj.weight is {tuple(embedding.shape)}, pos_embed {tuple(positions.shape)}; "
            "a TS-CAM checkpoint on DeiT has four and three axes there"
        )
    head = _head(tensors, "head.weight", axes=4, path=path)
    blocks = len({match[1] for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))})
    width, patch = embedding.shape[0], embedding.shape[-1]
    side = math.isqrt(max(positions.shape[1] - 1, 0))
    if distilled := distilled_backbone(tensors):
        raise WeightsError(
            f"{path}: {positions.shape[1]} positions, those of a distilled model, and no TS-CAM checkpoint; train from "
            f"this file with `tscam train … --weights` and --backbone {distilled}"
        )
    if width not in _DEIT or (blocks, patch, side**2) != (_BLOCKS, _PATCH, positions.shape[1] - 1):
        raise WeightsError(
            f"{path}: {blocks} blocks, {width} channels, patch {patch}, {positions.shape[1]} positions are not one of "
            f"the authors' models ({_BLOCKS} blocks, 192, 384 or 768 channels, patch {_PATCH})"
        )
    return _spec(_DEIT[width], "ts-cam", head, (side * patch, side * patch))


def _head(tensors: Mapping[str, Tensor], name: str, *, axes: int, path: Path) -> Tensor:
    head = tensors.get(name)
    if head is None:
        raise WeightsError(f"{path}: not a whole checkpoint of VGG16-CAM: missing {name}")
    if head.ndim != axes:
        layer = {2: "a linear layer", 4: "a 3×3 convolution"}[axes]
        raise WeightsError(
            f"{path}: {name} is {tuple(head.shape)}, the head of a plain classifier; maps need {layer}. "
            "Train from this file with `tscam train … --weights`"
        )
    return head


def _spec(backbone: str, method: str, head: Tensor, image_hw: tuple[int, int]) -> ModelSpec:
    classes = head.shape[0]
    return ModelSpec(
        backbone=backbone,
        method=method,
        label_names=tuple(str(number) for number in range(classes)),
        image_hw=image_hw,
        threshold=_THRESHOLDS.get(classes, _THRESHOLD),
    )
