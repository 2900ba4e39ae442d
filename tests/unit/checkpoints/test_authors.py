"""The authors' checkpoints are recognized by their shapes; files of another layout are refused in one line."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from figures import arrays, largest_difference, seeded_weights, table
from tiny_models import assert_same, refusal, whole
from tiny_models import zero_checkpoint as hollow
from tscam.checkpoints.loader import load_model
from tscam.errors import ConfigError

Weights = dict[str, Tensor]


@pytest.mark.parametrize("prefix", ["module.", ""], ids=["of DataParallel", "plain"])
def test_an_authors_file_gives_the_authors_logits_and_maps(prefix: str, tmp_path: Path) -> None:
    name = "deit_tscam_tiny_patch16_224"
    weights = seeded_weights(table("state_dict_shapes.json")[name], seed=8, scale=0.02)
    stored = {prefix + key: tensor for key, tensor in weights.items()}
    torch.save({"epoch": 60, "state_dict": stored, "best_map": 0.7} if prefix else stored, tmp_path / "model_best.pth")
    model = load_model(tmp_path / "model_best.pth").eval()
    assert_same(model, weights)

    pixels = torch.from_numpy(np.random.RandomState(9).standard_normal((1, 3, 224, 224)).astype(np.float32))
    with torch.inference_mode():
        logits, classes, maps = model.localize(pixels, top_k=200)
    figures = arrays(f"{name}.npz")
    assert largest_difference(logits.numpy(), figures["logits"]) < 1e-4
    assert largest_difference(maps[0, classes[0].argsort()][None, :8].numpy(), figures["cams_first8"]) < 1e-4


@pytest.mark.parametrize(
    ("layout", "backbone", "side", "threshold"),
    [
        ({"classes": 200}, "deit_tiny_patch16_224", 224, 0.10),
        ({"classes": 1000}, "deit_tiny_patch16_224", 224, 0.12),
        ({"classes": 37}, "deit_tiny_patch16_224", 224, 0.10),
        ({"positions": 577}, "deit_tiny_patch16_224", 384, 0.10),
        ({"width": 384}, "deit_small_patch16_224", 224, 0.10),
    ],
    ids=str,
)
def test_the_spec_of_an_authors_file_follows_from_its_shapes(
    layout: dict[str, int], backbone: str, side: int, threshold: float, tmp_path: Path
) -> None:
    torch.save({"state_dict": whole(hollow(**layout))}, tmp_path / "w.pth")
    spec = load_model(tmp_path / "w.pth").spec
    assert (spec.backbone, spec.method, spec.image_hw) == (backbone, "ts-cam", (side, side))
    assert spec.label_names == tuple(str(number) for number in range(layout.get("classes", 200)))
    assert spec.threshold == threshold


@pytest.mark.parametrize(
    ("reference", "backbone", "method", "head"),
    [
        ("conformer_tscam_small_patch16", "conformer_small_patch16", "ts-cam", "trans_cls_head.weight"),
        ("vgg16_cam", "vgg16_cam", "cam", "fc.weight"),
    ],
)
def test_files_of_conformer_and_vgg16_are_recognized_by_their_tensor_names(
    reference: str, backbone: str, method: str, head: str, tmp_path: Path
) -> None:
    tensors = reference_checkpoint(reference)
    torch.save({"state_dict": whole(tensors)}, tmp_path / "w.pth")
    model = load_model(tmp_path / "w.pth")
    assert (model.spec.backbone, model.spec.method, model.spec.image_hw) == (backbone, method, (224, 224))
    assert len(model.spec.label_names) == tensors[head].shape[0]
    assert {name: list(tensor.shape) for name, tensor in model.tensors().items()} == table("state_dict_shapes.json")[
        reference
    ]


def test_an_authors_file_can_be_read_by_another_method(tmp_path: Path) -> None:
    torch.save(whole(hollow()), tmp_path / "w.pth")
    assert load_model(tmp_path / "w.pth", method="cam").spec.method == "cam"
    with pytest.raises(ConfigError, match="no method named 'gradcam'"):
        load_model(tmp_path / "w.pth", method="gradcam")


def reference_checkpoint(name: str) -> Weights:
    """Return a checkpoint with every name and shape of the authors' model, all zeros."""
    return {
        key: torch.zeros((), dtype=torch.int64 if key.endswith("num_batches_tracked") else torch.float32).expand(shape)
        for key, shape in table("state_dict_shapes.json")[name].items()
    }


REFUSED: dict[str, tuple[Weights, str]] = {
    "a plain classifier": (
        hollow() | {"head.weight": torch.zeros(200, 192)},
        r"head.weight is \(200, 192\), the head of a plain classifier; .* `tscam train",
    ),
    "a Conformer without a buffer": (
        {
            key: tensor
            for key, tensor in reference_checkpoint("conformer_tscam_small_patch16").items()
            if key != "bn1.running_mean"
        },
        "missing bn1.running_mean; unexpected none",
    ),
    "a VGG16 without its head": (
        {key: tensor for key, tensor in reference_checkpoint("vgg16_cam").items() if not key.startswith("fc.")},
        "not a whole checkpoint of VGG16-CAM: missing fc.weight",
    ),
    "another model": (
        {"fc.weight": torch.zeros(3, 2)},
        "not a TS-CAM checkpoint on DeiT or Conformer, nor VGG16-CAM: missing .* its tensors are fc.weight",
    ),
    "another width": (hollow(width=576), "12 blocks, 576 channels, patch 16, 197 positions are not one of the auth"),
    "fewer blocks": (hollow(blocks=11), "11 blocks, 192 channels"),
    "another patch": (hollow(patch=14), "patch 14"),
    "no square grid": (hollow(positions=1 + 14 * 15), "211 positions"),
    "no positions": (hollow(positions=0), "patch 16, 0 positions"),
    "a distilled model": (
        hollow(positions=198),
        "198 positions, those of a distilled model, .* --backbone deit_tiny_distilled_patch16_224$",
    ),
    "a missing name": (
        {key: tensor for key, tensor in hollow().items() if key != "blocks.3.norm1.weight"},
        "missing blocks.3.norm1.weight; unexpected none",
    ),
    "a left-over name": (hollow() | {"extra.weight": torch.zeros(1)}, "missing none; unexpected extra.weight"),
    "a misshapen block": (
        hollow() | {"blocks.3.mlp.fc1.bias": torch.zeros(767)},
        r"blocks.3.mlp.fc1.bias is \(767,\), the model's is \(768,\)",
    ),
    "flat positions": (hollow() | {"pos_embed": torch.zeros(197)}, "pos_embed"),
    "a flat embedding": (hollow() | {"patch_embed.proj.weight": torch.zeros(())}, "patch_embed.proj.weight"),
    "ten million classes of no numbers": (
        hollow() | {"head.weight": torch.zeros(10_000_000, 192, 0, 3)},
        r"head.weight is \(10000000, 192, 0, 3\); expected at most 1,000,000 classes",
    ),
    "many classes of no numbers": (
        hollow() | {"head.weight": torch.zeros(500_000, 192, 0, 3)},
        r"head.weight is \(500000, 192, 0, 3\), the model's is \(500000, 192, 3, 3\)",
    ),
    "a view of a million pixels": (
        hollow() | {"pos_embed": torch.zeros(1, 65_536**2 + 1, 0)},
        "4294967297 positions are not one of the authors' models",
    ),
    "no classes": (hollow(classes=0), "no classes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_checkpoint_of_another_layout_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    weights, message = REFUSED[case]
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in whole(weights).items()}}, tmp_path / "w.pth")
    assert re.search(message, refusal(tmp_path / "w.pth"))
