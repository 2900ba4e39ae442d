"""Checkpoints of other projects start a backbone with the weights that these projects evaluate; the rest is named."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from checkpoints_of_others import (
    ARGUMENTS,
    averaged,
    deit_checkpoint,
    dino_checkpoint,
    dinov2_checkpoint,
    lightning_checkpoint,
    mae_checkpoint,
    moco_checkpoint,
    optimizer_state,
    prefixed,
    projection_head,
    timm_checkpoint,
    without_classifier,
)
from figures import seeded_weights
from tiny_models import whole, zero_checkpoint
from tscam.backbones import create_backbone
from tscam.backbones.base import Backbone
from tscam.checkpoints.loader import load_model
from tscam.errors import WeightsError

Weights = dict[str, Tensor]

NAME = "vit_tiny_patch16_224"
TINY: dict[str, Any] = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


def timm_weights(name: str = NAME, *, args: Mapping[str, Any] = TINY, side: int = 32) -> Weights:
    model = timm.create_model(name, img_size=side, num_classes=5, **args)
    return seeded_weights({key: tensor.shape for key, tensor in model.state_dict().items()}, seed=5, scale=0.3)


def started(path: Path, *, name: str = NAME, args: Mapping[str, Any] = TINY, side: int = 32) -> Backbone:
    return create_backbone(name, image_hw=(side, side), weights=path, args=args)


def assert_has(backbone: Backbone, weights: Mapping[str, Tensor]) -> None:
    state = {key.removeprefix(backbone.published_prefix): tensor for key, tensor in backbone.state_dict().items()}
    assert state.keys() == weights.keys()
    for key, tensor in weights.items():
        assert torch.equal(state[key], tensor), key


# How a project saves weights, whether it evaluates an average of them, and what is said about the file.
PROJECTS: dict[str, tuple[Callable[[Weights], object], bool, str]] = {
    "timm": (timm_checkpoint, True, "weights of 'state_dict_ema'; left out: state_dict, optimizer, objects"),
    "DeiT": (deit_checkpoint, True, "weights of 'model_ema'; left out: model, optimizer, objects of argparse"),
    "DINO": (dino_checkpoint, True, "weights of 'teacher.backbone'; left out: student, teacher.head, optimizer, d"),
    "DINOv2": (dinov2_checkpoint, False, "weights of 'teacher.backbone'; left out: teacher.dino_head, teacher.ibot"),
    "MAE": (mae_checkpoint, False, "weights of 'model'; left out: decoder_pos_embed, decoder_embed, decoder_blo"),
    "MoCo": (moco_checkpoint, False, "weights of 'state_dict.base_encoder'; left out: optimizer, state_dict.mom"),
    "Lightning": (lightning_checkpoint, False, "weights of 'state_dict.model'; left out: state_dict.criterion, callb"),
    "Lightning, net": (partial(lightning_checkpoint, attribute="net"), False, "weights of 'state_dict.net'; left out"),
    "Lightning, compiled": (
        partial(lightning_checkpoint, attribute="model._orig_mod"), False, "weights of 'state_dict.model'; left out"
    ),
    "torch.compile": (partial(prefixed, "_orig_mod."), False, ""),
    "DataParallel": (partial(prefixed, "module."), False, ""),
    "compiled in DataParallel": (partial(prefixed, "module._orig_mod."), False, ""),
    "a frozen part": (lambda weights: {"encoder": prefixed("vit.", weights)}, False, "weights of 'encoder.vit'"),
    "an average alone": (lambda weights: {"model_ema": prefixed("module.", averaged(weights))}, True, "'model_ema'"),
    "a state dict beside an optimizer": (
        lambda weights: dict(weights) | {"optimizer": optimizer_state(weights)}, False, "weights; left out: optimizer"
    ),
}  # fmt: skip


@pytest.mark.parametrize("project", PROJECTS)
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_checkpoint_starts_a_backbone_as_its_project_evaluates_it(project: str, is_zip: bool, tmp_path: Path) -> None:
    save, is_average, note = PROJECTS[project]
    weights = timm_weights()
    torch.save(save(weights), tmp_path / "w.pth", _use_new_zipfile_serialization=is_zip)
    backbone = started(tmp_path / "w.pth")
    assert_has(backbone, without_classifier(averaged(weights) if is_average else weights))
    assert note in backbone.start_note
    assert bool(note) == bool(backbone.start_note)
    assert "\n" not in backbone.start_note
    assert len(backbone.start_note.removeprefix(str(tmp_path))) < 200


def test_the_classifier_of_a_nested_checkpoint_is_kept_for_a_head_of_as_many_classes(tmp_path: Path) -> None:
    weights = timm_weights()
    torch.save(lightning_checkpoint(weights), tmp_path / "w.pth")
    classifier = started(tmp_path / "w.pth").classifier
    assert classifier is not None
    assert classifier.bias is not None
    assert torch.equal(classifier.bias, weights["head.bias"])


def test_blocks_of_dinov2_are_numbered_through_whatever_their_chunks(tmp_path: Path) -> None:
    args: dict[str, Any] = {"embed_dim": 24, "depth": 3, "num_heads": 2}
    weights = timm_weights("vit_small_patch14_dinov2", args=args, side=42)
    torch.save(dinov2_checkpoint(weights), tmp_path / "w.pth")
    backbone = started(tmp_path / "w.pth", name="vit_small_patch14_dinov2", args=args, side=42)
    assert_has(backbone, without_classifier(weights))


@pytest.mark.parametrize(
    ("name", "args", "side"),
    [("test_resnet", {}, 96), ("conformer_small_patch16", {"base": 4, "width": 24, "depth": 3, "heads": 2}, 32)],
)
def test_other_families_take_nested_checkpoints_too(name: str, args: dict[str, Any], side: int, tmp_path: Path) -> None:
    backbone = create_backbone(name, image_hw=(side, side), args=args)
    weights = {
        key.removeprefix(backbone.published_prefix): tensor + 1 if tensor.is_floating_point() else tensor
        for key, tensor in backbone.state_dict().items()
    }
    torch.save(lightning_checkpoint(weights), tmp_path / "w.pth")
    assert_has(started(tmp_path / "w.pth", name=name, args=args, side=side), weights)


@pytest.mark.parametrize(
    ("weights", "backbone"),
    [
        ({"positions": 198}, "deit_tiny_distilled_patch16_224"),
        ({"positions": 198, "width": 384}, "deit_small_distilled_patch16_224"),
        ({"positions": 578, "width": 768}, "deit_base_distilled_patch16_384"),
    ],
)
def test_a_distilled_file_for_a_plain_transformer_names_the_distilled_backbone(
    weights: dict[str, int], backbone: str, tmp_path: Path
) -> None:
    width = weights.get("width", 192)
    small = {key: tensor for key, tensor in zero_checkpoint(**weights).items() if not key.startswith("blocks.")}
    torch.save({"model": whole(small | {"dist_token": torch.zeros(1, 1, width)})}, tmp_path / "w.pth")
    args = {"embed_dim": width, "depth": 1, "num_heads": 3}
    with pytest.raises(WeightsError, match=f"w.pth: weights of a distilled model; take --backbone {backbone}$"):
        started(tmp_path / "w.pth", args=args, side=224)


def test_a_model_that_pools_its_patches_is_named_with_the_argument_that_builds_it(tmp_path: Path) -> None:
    weights = timm_weights(args=TINY | {"global_pool": "avg"})
    assert "fc_norm.weight" in weights
    torch.save({"model": weights, "args": ARGUMENTS}, tmp_path / "mae_finetuned.pth")
    with pytest.raises(
        WeightsError, match=r"fc_norm in place of norm\); add --backbone-args '\{\"global_pool\": \"avg"
    ):
        started(tmp_path / "mae_finetuned.pth")
    pooled = started(tmp_path / "mae_finetuned.pth", args=TINY | {"global_pool": "avg"})
    assert_has(pooled, without_classifier(weights))


def test_what_is_neither_backbone_nor_head_is_still_refused_by_name(tmp_path: Path) -> None:
    torch.save({"model": timm_weights() | {"adapter.down.weight": torch.zeros(2)}}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"missing none; unexpected adapter\.down\.weight$"):
        started(tmp_path / "w.pth")


def test_the_student_alone_is_taken_where_there_is_no_teacher(tmp_path: Path) -> None:
    weights = without_classifier(timm_weights())
    student = prefixed("module.backbone.", weights) | prefixed("module.head.", projection_head(32))
    torch.save({"student": student}, tmp_path / "w.pth")
    assert_has(started(tmp_path / "w.pth"), weights)


@pytest.mark.parametrize(
    "save", [lightning_checkpoint, timm_checkpoint, partial(prefixed, "module._orig_mod.")], ids=["l", "t", "c"]
)
def test_a_model_that_was_trained_in_another_framework_is_found_under_its_prefix(
    save: Callable[[Weights], object], tmp_path: Path
) -> None:
    weights = whole(zero_checkpoint(classes=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("checkpoints_of_others.averaged", lambda weights: prefixed("", weights))
        patch.setattr("checkpoints_of_others.optimizer_state", lambda _: {})
        torch.save(save(weights), tmp_path / "w.pth")
    spec = load_model(tmp_path / "w.pth").spec
    assert (spec.backbone, spec.method, len(spec.label_names)) == ("deit_tiny_patch16_224", "ts-cam", 3)
