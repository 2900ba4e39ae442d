"""Grad-CAM gives the maps of pytorch-grad-cam and of torchcam, on the same model and the same layer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn import functional as F
from torchcam.methods import GradCAM as TorchCamGradCAM
from torchvision.models import vgg16

from figures import seeded_weights
from tscam.boxes import localization_map
from tscam.model import LocalizationModel, create_model

CLASSES = 7
# One class for each of three pictures; they differ, so that a score of one picture cannot change another's map.
CHOSEN = [4, 0, 6]
TINY: dict[str, Any] = {"embed_dim": 24, "depth": 3, "num_heads": 2}
CONFORMER: dict[str, Any] = {"base": 8, "width": 24, "depth": 3, "heads": 2}

# By name: arguments, and the layer that both libraries advise to read, the first norm of the last block.
TRANSFORMERS: dict[str, tuple[dict[str, Any], str]] = {
    "deit_tiny_patch16_224": (TINY, "vit.blocks.2.norm1"),
    "deit_tiny_distilled_patch16_224": (TINY, "vit.blocks.2.norm1"),
    "vit_small_patch14_reg4_dinov2": (TINY, "vit.blocks.2.norm1"),
    "eva02_tiny_patch14_224": (TINY, "vit.blocks.2.norm1"),
    "vit_small_patch16_dinov3": (TINY, "vit.blocks.2.norm1"),
    "beit_base_patch16_224": (TINY, "vit.blocks.2.norm1"),
    "vit_base_patch16_siglip_224": (TINY, "vit.blocks.2.norm1"),
    "conformer_small_patch16": (CONFORMER, "conv_trans_3.trans_block.norm1"),  # scores of both branches
}
GRID = (3, 5)


def ours(model: LocalizationModel, pixels: Tensor) -> Tensor:
    """Return our maps of the chosen classes."""
    with torch.no_grad():
        _, classes, maps = model.localize(pixels, top_k=1, labels=torch.tensor(CHOSEN))
    assert classes[:, -1].tolist() == CHOSEN
    return maps[:, -1]


def assert_same_maps(
    maps: Tensor, network: nn.Module, layer: nn.Module, pixels: Tensor, on_grid: Callable[[Tensor], Tensor] | None
) -> None:
    """Assert that both libraries compute our maps from a network and the output of one of its layers."""
    # A ReLU may empty a map; most are not empty, so that agreement means something.
    assert (maps.amax(dim=(1, 2)) > 1e-3).sum() >= 2

    with TorchCamGradCAM(network, layer, reshape_transform=on_grid) as extractor:
        (theirs,) = extractor(CHOSEN, network(pixels), normalized=False)
    torch.testing.assert_close(maps, theirs, rtol=0, atol=1e-4 * maps.max().item())

    # pytorch-grad-cam returns maps of the picture's size from 0 to 1, as ours are before boxes are found.
    height, width = pixels.shape[2:]
    large = np.stack([localization_map(map_.numpy(), size_wh=(width, height)) for map_ in maps])
    reader = GradCAM(network, [layer], reshape_transform=on_grid)
    theirs_large = reader(pixels, [ClassifierOutputTarget(class_id) for class_id in CHOSEN])
    assert np.abs(large - theirs_large).max() < 1e-4


def pixels_of(height: int, width: int) -> Tensor:
    return torch.randn(len(CHOSEN), 3, height, width, generator=torch.Generator().manual_seed(12))


def seed(model: LocalizationModel, *, scale: float) -> dict[str, Tensor]:
    weights = seeded_weights({key: tensor.shape for key, tensor in model.tensors().items()}, seed=11, scale=scale)
    model.load_tensors(weights, source="the rule")
    model.eval()
    return weights


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_map_on_a_vision_transformer_is_that_of_both_libraries(name: str) -> None:
    args, layer = TRANSFORMERS[name]
    patch = 14 if "patch14" in name else 16
    size = (GRID[0] * patch, GRID[1] * patch)
    model = create_model(name, label_names=CLASSES, method="grad-cam", image_size=size, backbone_args=args)
    seed(model, scale=0.3)
    pixels = pixels_of(*size)

    def on_grid(tokens: Tensor) -> Tensor:
        """Reshape tokens as the libraries' guides for Vision Transformers do: without prefix tokens, channels first."""
        prefix = tokens.shape[1] - GRID[0] * GRID[1]
        return tokens[:, prefix:].reshape(len(tokens), *GRID, -1).permute(0, 3, 1, 2)

    assert_same_maps(ours(model, pixels), model, model.backbone.get_submodule(layer), pixels, on_grid)


def test_the_map_on_a_cnn_is_that_of_both_libraries_on_timms_own_model() -> None:
    model = create_model("test_resnet", label_names=CLASSES, method="grad-cam", image_size=(96, 160))
    weights = seed(model, scale=0.1)
    theirs: Any = timm.create_model("test_resnet", num_classes=CLASSES).eval()
    theirs.load_state_dict(weights)
    pixels = pixels_of(96, 160)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), theirs(pixels), rtol=1e-5, atol=1e-5)
    maps = ours(model, pixels)
    assert maps.shape[1:] == (3, 5)
    assert_same_maps(maps, theirs, theirs.layer4, pixels, None)


class NaiveVggCam(nn.Module):
    """VGG16-CAM built from torchvision's VGG16, with a module for its last ReLU."""

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):  # Its classifier of 124 million weights is not used.
            self.features = vgg16(weights=None).features[:-1]
            self.conv6 = nn.Conv2d(512, 1024, 3, padding=1)
            self.fc = nn.Linear(1024, CLASSES)
        self.relu = nn.ReLU()

    def forward(self, pixels: Tensor) -> Tensor:
        map_ = self.relu(self.conv6(self.features(pixels)))
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(map_, 1).flatten(1))
        return logits


def test_the_map_on_vgg16_cam_is_that_of_both_libraries_and_equals_cam_where_that_is_positive() -> None:
    model = create_model("vgg16_cam", label_names=CLASSES, method="grad-cam", image_size=(48, 80))
    weights = seed(model, scale=0.03)
    theirs = NaiveVggCam().eval()
    theirs.load_state_dict(weights, assign=True)
    pixels = pixels_of(48, 80)
    maps = ours(model, pixels)
    assert_same_maps(maps, theirs, theirs.relu, pixels, None)
    # The gradient of a linear classifier of the mean map is its weight divided by the number of cells.
    cam = ours(model.with_method("cam").eval(), pixels)
    torch.testing.assert_close(maps, cam.relu() / 15, rtol=1e-4, atol=1e-6)
