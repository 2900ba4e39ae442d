"""The parts of training: which weights decay at which rate, what a view shows, an order that workers do not change."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from data_sets import write_folder
from tscam.augmentation import training_view
from tscam.datasets import Dataset, read_dataset
from tscam.image import InputFormat, normalize, read_image
from tscam.model import LocalizationModel, create_model
from tscam.training.optimizer import create_optimizer
from tscam.training.pictures import EpochOrder, TrainingPictures, training_batches
from tscam.training.schedule import learning_rate_factor

TINY: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}

# A view of 20 rows and 36 columns, cut from a square of 48; pixels as they are, but for the scale.
PLAIN = InputFormat(size_hw=(20, 36), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
RESIZED = 48


# The optimizer


def names_of(model: LocalizationModel, parameters: list[Tensor]) -> set[str]:
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    return {by_id[id(parameter)] for parameter in parameters}


def tiny_model(backbone: str = "vit_small_patch14_reg4_dinov2") -> LocalizationModel:
    side = 28 if "patch14" in backbone else 32
    return create_model(backbone, label_names=5, image_size=side, backbone_args=TINY)


SPARED_IN_BACKBONE = {
    "cls_token", "reg_token", "pos_embed", "patch_embed.proj.bias", "norm.weight", "norm.bias",
    *(
        f"blocks.{block}.{part}"
        for block in range(2)
        for part in (
            "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma",
            "attn.qkv.bias", "attn.proj.bias", "mlp.fc1.bias", "mlp.fc2.bias",
        )
    ),
}  # fmt: skip
DECAYED_IN_BACKBONE = {
    "patch_embed.proj.weight",
    *(
        f"blocks.{block}.{part}.weight"
        for block in range(2)
        for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    ),
}


def in_vit(names: set[str]) -> set[str]:
    return {f"backbone.vit.{name}" for name in names}


def test_a_head_of_its_own_rate_gives_four_groups() -> None:
    model = tiny_model()
    optimizer = create_optimizer(model, learning_rate=1e-4, head_learning_rate=3e-3, weight_decay=0.05)
    groups = [
        (names_of(model, group["params"]), group["weight_decay"], group["lr"], group["initial_lr"])
        for group in optimizer.param_groups
    ]
    assert groups == [
        (in_vit(SPARED_IN_BACKBONE), 0.0, 1e-4, 1e-4),
        (in_vit(DECAYED_IN_BACKBONE), 0.05, 1e-4, 1e-4),
        ({"method.head.bias"}, 0.0, 3e-3, 3e-3),
        ({"method.head.weight"}, 0.05, 3e-3, 3e-3),
    ]


def test_a_head_of_the_backbones_rate_shares_its_two_groups() -> None:
    model = tiny_model()
    optimizer = create_optimizer(model, learning_rate=1e-4, head_learning_rate=None, weight_decay=0.05)
    groups = [(names_of(model, group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
    assert groups == [
        (in_vit(SPARED_IN_BACKBONE) | {"method.head.bias"}, 0.0),
        (in_vit(DECAYED_IN_BACKBONE) | {"method.head.weight"}, 0.05),
    ]


@pytest.mark.parametrize("head_learning_rate", [None, 1e-3])
def test_every_weight_is_in_one_group(head_learning_rate: float | None) -> None:
    model = tiny_model("deit_tiny_distilled_patch16_224")
    optimizer = create_optimizer(model, learning_rate=1e-4, head_learning_rate=head_learning_rate, weight_decay=0.05)
    counted = Counter(id(parameter) for group in optimizer.param_groups for parameter in group["params"])
    assert counted == Counter(id(parameter) for parameter in model.parameters())
    spared = names_of(model, [weight for group in optimizer.param_groups[::2] for weight in group["params"]])
    assert "backbone.vit.dist_token" in spared


def test_decay_alone_shrinks_the_decayed_weights_by_rate_times_decay() -> None:
    model = tiny_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = create_optimizer(model, learning_rate=0.01, head_learning_rate=0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        rate = 0.1 if name.startswith("method.") else 0.01
        decayed = name in in_vit(DECAYED_IN_BACKBONE) | {"method.head.weight"}
        expected = before[name] * (1 - rate * 0.5) if decayed else before[name]
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-6, atol=0)


def test_the_learning_rate_falls_at_every_multiple_of_a_step() -> None:
    falls = [
        epoch
        for epoch in range(2, 61)
        if learning_rate_factor(epoch, steps=(30,)) < learning_rate_factor(epoch - 1, steps=(30,))
    ]
    assert falls == [30, 60]
    assert learning_rate_factor(60, steps=(30,)) == pytest.approx(0.01)
    assert [round(learning_rate_factor(epoch, steps=(10, 12)), 6) for epoch in (9, 10, 11, 12, 19, 20)] == [
        1, 0.1, 0.1, 0.01, 0.01, 0.001,
    ]  # fmt: skip
    assert learning_rate_factor(9, steps=()) == 1


# The view


def picture_of_places() -> Image.Image:
    """48 × 48: red says the column, green the row, five levels apart."""
    rows, columns = np.mgrid[0:RESIZED, 0:RESIZED]
    return Image.fromarray(np.stack([5 * columns, 5 * rows, np.full_like(rows, 77)], axis=2).astype(np.uint8))


def drawn_view(seed: int) -> tuple[int, int, bool]:
    """Left and top edge of the crop, and whether it was flipped; checks that it is a whole piece of the picture."""
    view = training_view(picture_of_places(), to=PLAIN, resize_size=RESIZED, random=np.random.default_rng(seed))
    assert view.shape == (3, 20, 36)
    levels = np.rint(view * 255).astype(int)
    columns, rows = levels[0] // 5, levels[1] // 5
    flipped = bool(columns[0, 0] > columns[0, 1])
    if flipped:
        columns = columns[:, ::-1]
    left, top = int(columns[0, 0]), int(rows[0, 0])
    assert np.array_equal(columns, np.tile(np.arange(left, left + 36), (20, 1)))
    assert np.array_equal(rows, np.tile(np.arange(top, top + 20)[:, None], (1, 36)))
    assert (levels[2] == 77).all()
    return left, top, flipped


def test_crops_lie_inside_reach_every_place_and_half_of_them_are_flipped() -> None:
    drawn = [drawn_view(seed) for seed in range(600)]
    assert {left for left, _, _ in drawn} == set(range(RESIZED - 36 + 1))
    assert {top for _, top, _ in drawn} == set(range(RESIZED - 20 + 1))
    assert 260 <= sum(flipped for _, _, flipped in drawn) <= 340  # 300 ± 3.3 standard deviations
    # Left edge, top edge and flip are drawn apart from one another.
    lefts, tops, flips = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    assert np.abs(np.corrcoef([lefts, tops, flips])[np.triu_indices(3, k=1)]).max() < 0.15


def test_a_view_depends_on_its_generator_alone() -> None:
    picture = noise_picture()
    views = []
    for seed in range(6):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        views.append(training_view(picture, to=PLAIN, resize_size=RESIZED, random=np.random.default_rng(7)))
    assert all(np.array_equal(views[0], view) for view in views[1:])
    other = training_view(picture, to=PLAIN, resize_size=RESIZED, random=np.random.default_rng(8))
    assert not np.array_equal(views[0], other)


def noise_picture() -> Image.Image:
    noise = np.random.default_rng(3).integers(0, 256, size=(200, 310, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_the_whole_picture_is_resized_to_a_square_before_it_is_cropped() -> None:
    picture, to = noise_picture(), InputFormat(size_hw=(20, 36))
    view = training_view(picture, to=to, resize_size=RESIZED, random=np.random.default_rng(5))
    square = picture.resize((RESIZED, RESIZED), Image.Resampling.BILINEAR)
    crops = [
        square.crop((left, top, left + 36, top + 20))
        for left in range(RESIZED - 36 + 1)
        for top in range(RESIZED - 20 + 1)
    ]
    every_view = [normalize(turned, to=to) for crop in crops for turned in (crop, ImageOps.mirror(crop))]
    assert sum(np.array_equal(view, one) for one in every_view) == 1


def test_a_crop_of_the_whole_square_is_the_square_flipped_or_not() -> None:
    to = InputFormat(size_hw=(RESIZED, RESIZED))
    picture = noise_picture()
    square = normalize(picture.resize((RESIZED, RESIZED), Image.Resampling.BILINEAR), to=to)
    views = [
        training_view(picture, to=to, resize_size=RESIZED, random=np.random.default_rng(seed)) for seed in range(12)
    ]
    as_it_is = [np.array_equal(view, square) for view in views]
    mirrored = [np.array_equal(view, square[:, :, ::-1]) for view in views]
    assert any(as_it_is)
    assert any(mirrored)
    assert all(one != other for one, other in zip(as_it_is, mirrored, strict=True))


# Order and batches


def order_of(order: EpochOrder, epoch: int) -> list[tuple[int, int]]:
    order.epoch = epoch
    return list(order)


def test_each_epoch_has_every_picture_once_in_an_order_of_its_own() -> None:
    order = EpochOrder(23, seed=5)
    assert len(order) == 23
    first, second = order_of(order, 1), order_of(order, 2)
    for epoch, keys in ((1, first), (2, second)):
        assert sorted(keys) == [(epoch, index) for index in range(23)]
    assert [index for _, index in first] != [index for _, index in second]
    assert [index for _, index in first] != list(range(23))


def test_the_same_seed_and_epoch_give_the_same_order_whatever_came_before() -> None:
    order, later = EpochOrder(23, seed=5), EpochOrder(23, seed=5)
    assert order.epoch == 1
    first = order_of(order, 1)
    third = order_of(order, 3)
    torch.manual_seed(99)
    assert order_of(later, 3) == third
    assert order_of(order, 1) == first
    assert order_of(EpochOrder(23, seed=6), 1) != first


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    write_folder(tmp_path / "data", boxes=None)
    return read_dataset(tmp_path / "data")


def pictures_of(dataset: Dataset, *, seed: int = 5) -> TrainingPictures:
    return TrainingPictures(dataset, to=PLAIN, resize_size=RESIZED, seed=seed)


def test_a_training_picture_depends_on_seed_epoch_and_index_alone(dataset: Dataset) -> None:
    pictures = pictures_of(dataset)
    keys = [(epoch, index) for epoch in (1, 2) for index in range(len(dataset))]
    forwards = {key: pictures[key] for key in keys}
    for key in reversed(keys):
        view, label = pictures_of(dataset)[key]
        assert torch.equal(view, forwards[key][0])
        assert label == forwards[key][1] == dataset.labels[key[1]]
    assert not torch.equal(forwards[1, 0][0], forwards[2, 0][0])
    assert not torch.equal(forwards[1, 0][0], pictures_of(dataset, seed=6)[1, 0][0])


def test_a_training_picture_is_a_view_of_its_file(dataset: Dataset) -> None:
    view, _ = pictures_of(dataset)[2, 3]
    random_of_it = np.random.default_rng([5, 2, 3])
    expected = training_view(read_image(dataset.path(3)), to=PLAIN, resize_size=RESIZED, random=random_of_it)
    assert np.array_equal(view.numpy(), expected)


def batches_of(dataset: Dataset, *, workers: int) -> list[tuple[Tensor, Tensor]]:
    order = EpochOrder(len(dataset), seed=5)
    loader = training_batches(pictures_of(dataset), order, batch_size=4, workers=workers)
    drawn: list[tuple[Tensor, Tensor]] = []
    for epoch in (1, 2, 3):
        order.epoch = epoch
        drawn += [(pixels, labels) for pixels, labels in loader]
    return drawn


def test_workers_change_no_bit_of_any_batch(dataset: Dataset) -> None:
    alone, together = batches_of(dataset, workers=0), batches_of(dataset, workers=2)
    # Six pictures in batches of four: the last, smaller batch is there too.
    assert [len(labels) for _, labels in alone] == [4, 2] * 3
    for (pixels, labels), (others, other_labels) in zip(alone, together, strict=True):
        assert torch.equal(pixels, others)
        assert torch.equal(labels, other_labels)
    assert not torch.equal(alone[0][0], alone[2][0])
    assert sorted(torch.cat([labels for _, labels in alone[:2]]).tolist()) == sorted(dataset.labels.tolist())
