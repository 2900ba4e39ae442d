"""A tiny model, pictures and boxes for it, and naive formulas for its results, shared by unit tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from data_sets import draw_picture
from figures import table
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import save_model
from tscam.datasets import read_dataset
from tscam.errors import WeightsError
from tscam.evaluation.score_maps import map_path, write_map
from tscam.localization import Localization
from tscam.model import LocalizationModel, create_model
from tscam.predictor import ModelFacts

# Facts of predictors that only tests have.
STAND_IN = ModelFacts(model="a stand-in", backbone="none", method="none", method_args={}, view_wh=(32, 32))


def tiny_model(folder: Path, *, label_names: Sequence[str] = ("cat", "dog", "emu")) -> Path:
    """Write a model folder, and return it; the weights are random but always the same."""
    args = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(26)
        model = create_model("vit_tiny_patch16_224", label_names=label_names, image_size=32, backbone_args=args)
    save_model(model, folder)
    return folder


def zero_checkpoint(
    *, width: int = 192, blocks: int = 12, patch: int = 16, positions: int = 197, classes: int = 200
) -> dict[str, Tensor]:
    """Return a checkpoint in the authors' layout, all zeros; each tensor is one number in memory (see `whole`)."""
    shapes = {
        key: shape
        for key, shape in table("state_dict_shapes.json")["deit_tscam_tiny_patch16_224"].items()
        if not key.startswith("blocks.") or int(key.split(".")[1]) < blocks
    }
    scaled = {
        key: [width * axis // 192 if axis % 192 == 0 else axis for axis in shape] for key, shape in shapes.items()
    }
    scaled |= {
        "patch_embed.proj.weight": [width, 3, patch, patch],
        "pos_embed": [1, positions, width],
        "head.weight": [classes, width, 3, 3],
        "head.bias": [classes],
    }
    return {key: torch.zeros(()).expand(shape) for key, shape in scaled.items()}


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with all their numbers, as a file needs them; floats take a byte each, 0 and 1 are exact."""
    return {
        key: (tensor.to(torch.float8_e4m3fn) if tensor.is_floating_point() else tensor).contiguous()
        for key, tensor in tensors.items()
    }


def draw_pictures(folder: Path, count: int) -> list[Path]:
    """Write pictures of unequal sizes with rectangles at unequal positions, and return their paths."""
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        draw_picture(path, class_id=number, seed=number)
    return paths


def save_ramps(data: Path, maps: Path, split: str) -> None:
    """Write a score map for every picture of a split; each rises to a corner with another curvature."""
    for index, image_id in enumerate(read_dataset(data, split=split).image_ids):
        ramp = np.add.outer(np.linspace(0, 1, 224), np.linspace(1, 0, 224) ** (1 + index)).astype(np.float32)
        write_map(map_path(maps, image_id), (ramp - ramp.min()) / (ramp.max() - ramp.min()))


def as_lines(localizations: Sequence[Localization]) -> list[str]:
    return [localization.to_json() for localization in localizations]


def add_second_boxes(root: Path, boxes: Mapping[str, Sequence[int]]) -> None:
    """Add a second box to every third picture, over the left half of its first one."""
    rows = [f"{name},{x0},{y0},{(x0 + x1) // 2},{y1}" for name, (x0, y0, x1, y1) in list(boxes.items())[::3]]
    with (root / "boxes.csv").open("a") as file:
        file.writelines(f"\n{row}" for row in rows)


def naive_area(box: Sequence[float]) -> float:
    return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)


def naive_shared(box: Sequence[float], truth: Sequence[float]) -> float:
    return naive_area([max(box[0], truth[0]), max(box[1], truth[1]), min(box[2], truth[2]), min(box[3], truth[3])])


def naive_iou(box: Sequence[float], truth: Sequence[float]) -> float:
    shared = naive_shared(box, truth)
    return shared / (naive_area(box) + naive_area(truth) - shared)


def names(folder: Path) -> list[str]:
    """Names of the entries of a folder, without the lock of a run."""
    return sorted(entry.name for entry in folder.iterdir() if entry.name != ".lock")


def assert_same(model: LocalizationModel, weights: Mapping[str, Tensor]) -> None:
    ours = model.tensors()
    assert ours.keys() == weights.keys()
    for key, tensor in weights.items():
        assert torch.equal(ours[key], tensor), key


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


class NarrowModel(LocalizationModel):
    """A model that runs out of memory with more than `room` pictures at once."""

    room = 2

    def forward(self, pixels: Tensor, *, draws: Tensor | None = None) -> Tensor:
        self._allocate(len(pixels))
        return super().forward(pixels, draws=draws)

    def loss(
        self, pixels: Tensor, labels: Tensor, *, draws: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        self._allocate(len(pixels))
        return super().loss(pixels, labels, draws=draws, label_smoothing=label_smoothing)

    def localize(self, pixels: Tensor, *, top_k: int, labels: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        self._allocate(len(pixels))
        return super().localize(pixels, top_k=top_k, labels=labels)

    def _allocate(self, pictures: int) -> None:
        if pictures > self.room:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {pictures}.00 GiB.\nMore of it.")
