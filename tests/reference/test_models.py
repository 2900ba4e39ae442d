"""Weights, logits, attention and maps agree with the official implementation, and so do three training steps."""

import numpy as np
import pytest
import torch

from figures import arrays, largest_difference, seeded_weights, table
from tscam.backbones.features import Features, Record, Request
from tscam.methods.head import PatchHead
from tscam.model import LocalizationModel, create_model
from tscam.training.optimizer import OptimizerSettings, create_optimizer

SMALL = arrays("deit_tiny_grid.npz")
# By the official name: our name, its view and its method.
FULL_SIZE = {
    "deit_tscam_tiny_patch16_224": ("deit_tiny_patch16_224", 224, "ts-cam"),
    "deit_tscam_small_patch16_224": ("deit_small_patch16_224", 224, "ts-cam"),
    "deit_tscam_base_patch16_224": ("deit_base_patch16_224", 224, "ts-cam"),
    "deit_tscam_base_patch16_384": ("deit_base_patch16_384", 384, "ts-cam"),
    "conformer_tscam_small_patch16": ("conformer_small_patch16", 224, "ts-cam"),
    "vgg16_cam": ("vgg16_cam", 224, "cam"),
}


def small_model() -> LocalizationModel:
    model = create_model(
        "deit_tiny_patch16_224", label_names=7, image_size=64,
        backbone_args={"embed_dim": 48, "depth": 3, "num_heads": 3},
    )  # fmt: skip
    shapes = {name.removeprefix("trained."): SMALL[name].shape for name in SMALL if name.startswith("trained.")}
    model.load_tensors(seeded_weights(shapes, seed=7, scale=0.15), source="the rule")
    return model


def small_features(model: LocalizationModel) -> Features:
    with torch.inference_mode():
        features: Features = model.eval().backbone(
            torch.from_numpy(SMALL["input"]), Request(records=Record.CLASS_ATTENTION)
        )
    return features


def test_the_small_models_tokens_and_attention_rows_agree() -> None:
    features = small_features(small_model())
    assert largest_difference(features.patch_tokens.flatten(1, 2).numpy(), SMALL["patch_tokens"]) < 1e-5
    assert largest_difference(features.prefix_tokens[:, 0].numpy(), SMALL["cls_token"]) < 1e-5
    assert features.class_attention is not None
    for layer, rows in enumerate(features.class_attention):
        assert largest_difference(rows.numpy(), SMALL[f"attention.{layer}"][:, :, 0]) < 1e-5


def test_the_small_models_logits_and_maps_agree() -> None:
    model = small_model()
    features = small_features(model)
    every_class = torch.arange(7).expand(3, 7)
    with torch.inference_mode():
        logits = model.method.logits(features)
        semantic_maps = model.method.head.maps(features.patch_tokens, every_class)
        maps = model.method.maps(features, every_class)
    assert largest_difference(logits.numpy(), SMALL["logits"]) < 1e-5
    assert largest_difference(semantic_maps.numpy(), SMALL["semantic_maps"]) < 1e-5
    assert largest_difference(maps.numpy(), SMALL["cams"]) < 1e-5


def test_the_small_models_rollout_agrees() -> None:
    model = small_model().with_method("rollout").eval()
    with torch.inference_mode():
        _, _, maps = model.localize(torch.from_numpy(SMALL["input"]), top_k=1)
    assert largest_difference(maps[:, 0].flatten(1).numpy(), SMALL["rollout"][:, 0, 1:]) < 1e-5


def test_three_training_steps_give_the_official_losses_and_weights() -> None:
    model = small_model().train()
    optimizer = create_optimizer(model, OptimizerSettings(learning_rate=5e-5, weight_decay=0.05))
    groups = [[group["weight_decay"], len(group["params"])] for group in optimizer.param_groups]
    assert groups == SMALL["optimizer.groups"].tolist()
    pixels, labels = torch.from_numpy(SMALL["input"]), torch.from_numpy(SMALL["train.target"])
    losses = []
    for _ in range(3):
        loss = model.loss(pixels, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert largest_difference(np.array(losses), SMALL["train.losses"]) < 1e-5
    for name, tensor in model.tensors().items():
        ours, theirs = tensor.numpy(), SMALL[f"trained.{name}"]
        if name.endswith("attn.qkv.bias"):
            # The bias of the keys shifts all logits of a softmax row equally. Its gradient is zero except for rounding,
            # from which AdamW makes steps of up to the learning rate. The middle third is such noise.
            assert np.abs(ours - theirs)[48:96].max() < 2 * 3 * 5e-5
            ours, theirs = np.delete(ours, np.s_[48:96]), np.delete(theirs, np.s_[48:96])
        assert largest_difference(ours, theirs) < 1e-5, name


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_models_have_the_official_names_and_shapes_and_agree(name: str) -> None:
    backbone, image_size, method = FULL_SIZE[name]
    model = create_model(backbone, label_names=200, image_size=image_size, method=method).eval()
    shapes = table("state_dict_shapes.json")[name]
    assert {key: list(tensor.shape) for key, tensor in model.tensors().items()} == shapes

    model.load_tensors(seeded_weights(shapes, seed=8, scale=0.02), source="the rule")
    pixels = np.random.RandomState(9).standard_normal((1, 3, image_size, image_size)).astype(np.float32)
    with torch.inference_mode():
        logits, classes, maps = model.localize(torch.from_numpy(pixels), top_k=200)
    by_class = maps[0, classes[0].argsort()].numpy()
    figures = arrays(f"{name}.npz")
    assert largest_difference(logits.numpy(), figures["logits"]) < 1e-4
    assert largest_difference(by_class[None, :8], figures["cams_first8"]) < 1e-4
    assert largest_difference(by_class.sum(axis=(1, 2))[None], figures["cams_sum"]) < 1e-4
    assert largest_difference(np.abs(by_class).max(axis=(1, 2))[None], figures["cams_absmax"]) < 1e-4


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (4, 1), (2, 2), (3, 4), (14, 14), (5, 8)])
def test_the_pooled_head_equals_the_dense_convolution(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    head, tokens = PatchHead(6, 5).double(), torch.randn(2, *grid, 6, dtype=torch.float64)
    dense = head(tokens.permute(0, 3, 1, 2))
    classes = torch.tensor([[4, 0, 4], [1, 2, 3]])
    chosen = torch.stack([dense[picture, ids] for picture, ids in enumerate(classes)])
    assert torch.allclose(head.pooled(tokens), dense.mean(dim=(2, 3)), rtol=0, atol=1e-14)
    assert torch.allclose(head.maps(tokens, classes), chosen, rtol=0, atol=1e-14)
