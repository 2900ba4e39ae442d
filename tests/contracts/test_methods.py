"""Contract of every registered method, on small backbones with different numbers of prefix tokens."""

from typing import Any

import pytest
import torch
from torch import Tensor

from figures import seeded_weights
from tscam.errors import ConfigError
from tscam.methods import methods
from tscam.model import LocalizationModel, create_model

TINY: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}
BACKBONES = ["deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_small_patch14_reg4_dinov2"]
CLASSES, GRID = 7, (2, 5)

every_method = pytest.mark.parametrize("name", list(methods))
on_every_backbone = pytest.mark.parametrize("backbone", BACKBONES)


def classes_of(name: str) -> int:
    """Return the number of classes of a method's model."""
    return CLASSES if methods[name].has_classifier else 1


def seeded_model(name: str, backbone: str) -> LocalizationModel:
    side = 14 if "patch14" in backbone else 16
    model = create_model(
        backbone,
        label_names=classes_of(name),
        method=name,
        image_size=(GRID[0] * side, GRID[1] * side),
        backbone_args=TINY,
    )
    shapes = {key: tensor.shape for key, tensor in model.tensors().items()}
    model.load_tensors(seeded_weights(shapes, seed=11, scale=0.3), source="the rule")
    return model.eval()


def pixels_for(model: LocalizationModel, *, pictures: int = 2) -> Tensor:
    height, width = model.input_format.size_hw
    return torch.randn(pictures, 3, height, width, generator=torch.Generator().manual_seed(12))


@every_method
@on_every_backbone
def test_logits_and_maps_are_finite_and_not_flat(name: str, backbone: str) -> None:
    model = seeded_model(name, backbone)
    with torch.no_grad():
        logits, classes, maps = model.localize(pixels_for(model), top_k=CLASSES)
    assert classes.sort(dim=1).values.tolist() == [list(range(classes_of(name)))] * 2
    assert torch.isfinite(logits).all()
    assert torch.isfinite(maps).all()
    assert maps.shape[2:] == GRID
    stds = maps.flatten(2).std(dim=2)
    assert (stds.max() if name == "grad-cam" else stds.min()) > 1e-6  # a ReLU empties some of its maps
    spread = logits.std(dim=1 if methods[name].has_classifier else 0)
    assert spread.min() > 1e-3


@every_method
@on_every_backbone
def test_the_map_of_a_class_does_not_depend_on_the_other_chosen_classes(name: str, backbone: str) -> None:
    if not methods[name].has_classifier:
        pytest.skip("one class")
    model = seeded_model(name, backbone)
    with torch.set_grad_enabled(model.needs_gradient):
        features = model.backbone(pixels_for(model), model.method.requests | model.method.training_requests)
        together = model.method.maps(features, torch.tensor([[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0]]))
        for class_id in range(CLASSES):
            alone = model.method.maps(features, torch.tensor([[class_id], [6 - class_id]]))
            torch.testing.assert_close(alone[:, 0], together[:, class_id], rtol=1e-5, atol=1e-6)
        twice = model.method.maps(features, torch.tensor([[3, 3], [3, 0]]))
    torch.testing.assert_close(twice[0, 0], twice[0, 1], rtol=0, atol=0)


@every_method
@on_every_backbone
def test_a_batch_of_two_equals_two_batches_of_one(name: str, backbone: str) -> None:
    model = seeded_model(name, backbone)
    pixels = pixels_for(model)
    with torch.no_grad():
        logits, classes, maps = model.localize(pixels, top_k=3)
        assert not torch.allclose(logits[0], logits[1], atol=1e-3)
        for picture in range(2):
            logits_1, classes_1, maps_1 = model.localize(pixels[picture : picture + 1], top_k=3)
            torch.testing.assert_close(logits_1[0], logits[picture], rtol=1e-5, atol=1e-5)
            assert classes_1[0].tolist() == classes[picture].tolist()
            torch.testing.assert_close(maps_1[0], maps[picture], rtol=1e-5, atol=1e-5)


@every_method
@on_every_backbone
def test_logits_in_training_equal_those_in_localization(name: str, backbone: str) -> None:
    model = seeded_model(name, backbone)
    pixels = pixels_for(model)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), model.localize(pixels, top_k=1)[0], rtol=0, atol=1e-6)


@every_method
@on_every_backbone
def test_the_gradient_of_the_loss_reaches_backbone_and_head(name: str, backbone: str) -> None:
    model = seeded_model(name, backbone).train()
    loss = model.loss(pixels_for(model), torch.tensor([1, 4]) % classes_of(name))
    assert torch.isfinite(loss)
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key


@every_method
def test_a_method_requests_only_records_that_backbones_support(name: str) -> None:
    model = seeded_model(name, BACKBONES[0])
    assert (model.method.requests | model.method.training_requests).records in model.backbone.supports


@every_method
def test_a_method_without_a_classifier_takes_only_one_class(name: str) -> None:
    if methods[name].has_classifier:
        assert seeded_model(name, BACKBONES[0]).method.head.weight.shape[0] == CLASSES
        return
    message = f"method '{name}' tells no classes apart, and the model has 2; give it the one class 'object'"
    with pytest.raises(ConfigError, match=message):
        create_model(BACKBONES[0], label_names=["fox", "owl"], method=name, image_size=32, backbone_args=TINY)


@every_method
def test_maps_of_probabilities_are_in_0_to_1(name: str) -> None:
    model = seeded_model(name, BACKBONES[0])
    with torch.no_grad():
        maps = model.localize(pixels_for(model), top_k=CLASSES)[2]
    if methods[name].maps_are_probabilities:
        assert 0 <= maps.min() < maps.max() <= 1
