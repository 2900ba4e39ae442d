"""Start weights of Conformer, VGG16-CAM, DeiT at 384 pixels and CNNs: published files load, gaps are named."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor
from torchvision.models import vgg16

from figures import seeded_weights
from tscam.backbones import create_backbone
from tscam.backbones.features import Request
from tscam.errors import ConfigError, WeightsError
from tscam.model import LocalizationModel, create_model

Weights = dict[str, Tensor]

CONFORMER: dict[str, Any] = {"base": 4, "width": 24, "depth": 3, "heads": 2}


def conformer(classes: int, weights: Path | None = None) -> LocalizationModel:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return create_model(
            "conformer_small_patch16", label_names=classes, image_size=(32, 48), weights=weights,
            backbone_args=CONFORMER,
        )  # fmt: skip


def conformer_classifier(classes: int) -> Weights:
    """Return a classification file as the authors of Conformer publish it, with a linear head of the tokens."""
    shapes = {key: tuple(tensor.shape) for key, tensor in conformer(classes).tensors().items()}
    return seeded_weights(shapes | {"trans_cls_head.weight": (classes, 24)}, seed=5, scale=0.1)


def test_conformers_classification_weights_start_a_model_and_its_heads_where_they_fit(tmp_path: Path) -> None:
    weights = conformer_classifier(9)
    save_file(weights, tmp_path / "Conformer.safetensors")
    torch.save({"model": weights}, tmp_path / "Conformer.pth")
    for name in ("Conformer.safetensors", "Conformer.pth"):
        started = conformer(9, tmp_path / name).tensors()
        expected = conformer(9).tensors()["trans_cls_head.weight"].shape
        assert started["trans_cls_head.weight"].shape == expected == (9, 24, 3, 3)
        loaded = weights.keys() - {"trans_cls_head.weight"}
        assert started.keys() == weights.keys()
        for key in loaded:
            assert torch.equal(started[key], weights[key]), key
    other = conformer(5, tmp_path / "Conformer.pth").tensors()
    assert other["conv_cls_head.weight"].shape == (5, 64)
    assert other["conv_cls_head.bias"].abs().max() < weights["conv_cls_head.bias"].abs().max()
    assert torch.equal(
        other["conv_trans_2.trans_block.attn.qkv.weight"], weights["conv_trans_2.trans_block.attn.qkv.weight"]
    )


def test_conformers_score_is_the_sum_of_its_two_heads() -> None:
    model = conformer(5).eval()
    pixels = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = model.backbone(pixels, Request())
        token_scores = model.method.head(features.patch_tokens.permute(0, 3, 1, 2)).mean(dim=(2, 3))
        assert model.method.branch_head is not None
        branch_scores = model.method.branch_head(features.branch)
        torch.testing.assert_close(model(pixels), token_scores + branch_scores, rtol=1e-5, atol=1e-6)
    assert token_scores.std() > 1e-4
    assert branch_scores.std() > 1e-4


@pytest.mark.parametrize("missing", ["bn1.running_mean", "conv_trans_2.fusion_block.bn2.running_var"])
def test_a_conformer_file_without_a_buffer_is_refused_and_names_it(missing: str, tmp_path: Path) -> None:
    weights = conformer_classifier(9)
    del weights[missing]
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=rf"w\.safetensors: .* missing {missing}; unexpected none$"):
        conformer(9, tmp_path / "w.safetensors")


def test_conformer_has_no_weights_on_timms_hub_and_its_refusal_names_the_page_with_them() -> None:
    with pytest.raises(WeightsError, match=r"docs/model_zoo\.md says where\) and pass it with --weights FILE"):
        create_backbone("conformer_small_patch16", image_hw=(32, 48), weights="pretrained", args=CONFORMER)
    assert "github.com/pengzhiliang/Conformer" in (Path(__file__).parents[3] / "docs" / "model_zoo.md").read_text()


def vgg_features() -> Weights:
    with torch.device("meta"):
        features = vgg16(weights=None).features
    return {f"features.{key}": torch.full(tensor.shape, 0.01) for key, tensor in features.state_dict().items()}


def test_vgg16_cam_starts_from_torchvisions_vgg16_without_its_classifier(tmp_path: Path) -> None:
    weights = vgg_features()
    stubs = {f"classifier.{number}.{part}": torch.zeros(2) for number in (0, 3, 6) for part in ("weight", "bias")}
    torch.save(weights | stubs, tmp_path / "vgg16-397923af.pth")
    model = create_model(
        "vgg16_cam", method="cam", label_names=3, image_size=32, weights=tmp_path / "vgg16-397923af.pth"
    )
    tensors = model.tensors()
    assert tensors.keys() == weights.keys() | {"conv6.weight", "conv6.bias", "fc.weight", "fc.bias"}
    assert all(torch.equal(tensors[key], tensor) for key, tensor in weights.items())
    assert tensors["conv6.weight"].std() > 1e-3  # random: torchvision's file has none


def test_a_vgg16_file_without_a_convolution_is_refused_and_names_it(tmp_path: Path) -> None:
    weights = vgg_features()
    del weights["features.28.bias"]
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"missing features\.28\.bias; unexpected none"):
        create_backbone("vgg16_cam", image_hw=(32, 32), weights=tmp_path / "w.safetensors")


def test_vgg16_cam_takes_no_arguments() -> None:
    with pytest.raises(ConfigError, match="backbone 'vgg16_cam' takes no arguments; got depth"):
        create_backbone("vgg16_cam", image_hw=(32, 32), args={"depth": 3})


@pytest.mark.parametrize(("file_size", "view_size"), [(384, 384), (224, 384), (384, 224)])
def test_deit_at_384_pixels_starts_from_weights_of_either_size(file_size: int, view_size: int, tmp_path: Path) -> None:
    tiny: dict[str, Any] = {"embed_dim": 12, "depth": 1, "num_heads": 2}
    theirs = timm.create_model("deit_base_patch16_384", img_size=file_size, **tiny)
    weights = seeded_weights({key: tensor.shape for key, tensor in theirs.state_dict().items()}, seed=5, scale=0.3)
    save_file(weights, tmp_path / "w.safetensors")
    backbone = create_backbone(
        "deit_base_patch16_384", image_hw=(view_size, view_size), weights=tmp_path / "w.safetensors", args=tiny
    )
    grid = view_size // 16
    positions = backbone.state_dict()["vit.pos_embed"]
    assert positions.shape == (1, 1 + grid**2, 12)
    resized = resample_abs_pos_embed(weights["pos_embed"], new_size=[grid, grid], num_prefix_tokens=1)
    assert torch.equal(positions, resized)
    assert torch.equal(backbone.state_dict()["vit.blocks.0.attn.qkv.weight"], weights["blocks.0.attn.qkv.weight"])


# CNNs of timm: plain, with layers after the last map, and with squeeze-and-excitation blocks.
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "mobilenetv3_small_050"])
def test_a_cnns_tokens_are_timms_last_map_and_every_weight_belongs_to_a_layer(name: str, tmp_path: Path) -> None:
    theirs: Any = timm.create_model(name, num_classes=7).eval()
    shapes = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    weights = seeded_weights(shapes, seed=3, scale=0.1)
    theirs.load_state_dict(weights)
    save_file(weights, tmp_path / "w.safetensors")
    backbone = create_backbone(name, image_hw=(96, 160), weights=tmp_path / "w.safetensors").eval()
    pixels = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = backbone(pixels, Request())
        map_ = theirs.forward_features(pixels)
    assert features.grid == map_.shape[2:] == (3, 5)
    assert map_.std() > 1e-4
    torch.testing.assert_close(features.patch_tokens.permute(0, 3, 1, 2), map_, rtol=0, atol=1e-6)
    assert {backbone.layer_index(parameter) for parameter, _ in backbone.named_parameters()} <= set(
        range(backbone.num_layers)
    )


def test_a_cnns_classifier_is_loaded_and_scores_as_in_timm(tmp_path: Path) -> None:
    theirs: Any = timm.create_model("test_resnet", num_classes=7).eval()
    weights = seeded_weights({key: tensor.shape for key, tensor in theirs.state_dict().items()}, seed=3, scale=0.1)
    theirs.load_state_dict(weights)
    save_file(weights, tmp_path / "w.safetensors")
    model = create_model(
        "test_resnet", method="cam", label_names=7, image_size=(96, 160), weights=tmp_path / "w.safetensors"
    ).eval()
    pixels = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits, classes, maps = model.localize(pixels, top_k=7)
        expected = theirs(pixels)
        last = theirs.forward_features(pixels)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    for picture in range(2):
        for index, class_id in enumerate(classes[picture].tolist()):
            cam = (weights["fc.weight"][class_id, :, None, None] * last[picture]).sum(dim=0)
            torch.testing.assert_close(maps[picture, index], cam, rtol=1e-4, atol=1e-5)


def test_a_view_too_small_for_a_cnn_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"'inception_v3' cannot take views of 32×32 pixels \(.*\); use larger ones"):
        create_backbone("inception_v3", image_hw=(32, 32))
