"""The mask, loss and statistics of the foreground head equal naive loops."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from data_sets import write_cub, write_folder
from tiny_runs import TINY, losses, rows, settings, tensors
from tscam.backbones.base import Backbone
from tscam.backbones.features import Features
from tscam.checkpoints.loader import load_model
from tscam.config import EvaluateConfig, TrainConfig
from tscam.datasets import read_dataset
from tscam.errors import ConfigError, DataError
from tscam.image import preprocess, read_image
from tscam.methods.foreground import Foreground, above_otsu, attended_patches, smoothed
from tscam.model import LocalizationModel, create_model
from tscam.verbs.evaluate import evaluate
from tscam.verbs.train import train

GRID = (3, 4)


def seeded(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features(*, pictures: int = 2, layers: int = 6, prefix: int = 2, seed: int = 1) -> Features:
    tokens = prefix + GRID[0] * GRID[1]
    return Features(
        patch_tokens=seeded(pictures, *GRID, 5, seed=seed),
        prefix_tokens=seeded(pictures, prefix, 5, seed=seed + 1),
        class_attention=(3 * seeded(layers, pictures, 3, tokens, seed=seed + 2)).softmax(dim=-1),
    )


def foreground(*, seed: int = 8) -> Foreground:
    """Return the method on five channels; its weights and statistics are random, always the same."""
    backbone = Backbone()
    backbone.num_features = 5
    method = Foreground(backbone, 1).double()
    with torch.no_grad():
        method.foreground.weight.copy_(seeded(1, 5, seed=seed))
        method.foreground.bias.copy_(seeded(1, seed=seed + 1))
        method.foreground.mean.copy_(seeded(5, seed=seed + 2))
        method.foreground.std.copy_(seeded(5, seed=seed + 3).abs() + 0.1)
    return method


def tiny(method: str) -> LocalizationModel:
    return create_model(
        "vit_tiny_patch16_224", label_names=["object"], method=method, image_size=32, backbone_args=TINY
    )


def naive_logits(method: Foreground, tokens: Tensor) -> list[list[list[float]]]:
    head = method.foreground
    weight, bias = head.weight[0].tolist(), head.bias.item()
    mean, std = head.mean.tolist(), head.std.tolist()
    return [
        [
            [bias + sum(w * (x - m) / s for w, x, m, s in zip(weight, token, mean, std, strict=True)) for token in row]
            for row in picture
        ]
        for picture in tokens.tolist()
    ]


def naive_otsu(values: list[float]) -> float:
    """Return the value that divides best, by a loop over all values."""
    best, cut = -1.0, max(values)
    for candidate in sorted(set(values))[:-1]:
        low = [value for value in values if value <= candidate]
        high = [value for value in values if value > candidate]
        between = len(low) * len(high) * (sum(low) / len(low) - sum(high) / len(high)) ** 2
        if between > best:
            best, cut = between, candidate
    return cut


def naive_smoothed(rows: list[list[float]]) -> list[list[float]]:
    height, width = len(rows), len(rows[0])
    weights = (0.25, 0.5, 0.25)
    return [
        [
            sum(
                weights[down + 1]
                * weights[right + 1]
                * rows[min(max(row + down, 0), height - 1)][min(max(column + right, 0), width - 1)]
                for down in (-1, 0, 1)
                for right in (-1, 0, 1)
            )
            for column in range(width)
        ]
        for row in range(height)
    ]


def naive_mask(outputs: Features, picture: int) -> list[list[bool]]:
    rows = outputs.class_attention
    assert rows is not None
    layers, heads = rows.shape[0], rows.shape[2]
    first = rows.shape[3] - GRID[0] * GRID[1]
    attention = [
        [
            sum(
                float(rows[layer, picture, head, first + row * GRID[1] + column]) / heads
                for layer in range(max(layers - 4, 0), layers)
                for head in range(heads)
            )
            for column in range(GRID[1])
        ]
        for row in range(GRID[0])
    ]
    smooth = naive_smoothed(attention)
    cut = naive_otsu([value for row in smooth for value in row])
    return [[value > cut for value in row] for row in smooth]


def test_the_map_is_the_sigmoid_of_a_linear_layer_on_standardized_channels() -> None:
    method, outputs = foreground(), features()
    maps = method.maps(outputs, torch.zeros(2, 3, dtype=torch.int64))
    for picture, grid in enumerate(naive_logits(method, outputs.patch_tokens)):
        for row, values in enumerate(grid):
            for column, logit in enumerate(values):
                naive = 1 / (1 + math.exp(-logit))
                assert all(math.isclose(maps[picture, k, row, column].item(), naive, abs_tol=1e-13) for k in range(3))


def test_a_new_head_gives_every_patch_the_probability_one_half() -> None:
    model = tiny("foreground")
    with torch.no_grad():
        maps = model.localize(seeded(2, 3, 32, 32, seed=0).float(), top_k=1)[2]
    assert maps.unique().tolist() == [0.5]
    assert model.spec.threshold == 0.5


@pytest.mark.parametrize("layers", [2, 6])
def test_the_mask_is_otsus_of_the_smoothed_attention_of_the_last_four_blocks(layers: int) -> None:
    outputs = features(pictures=3, layers=layers)
    assert attended_patches(outputs).tolist() == [naive_mask(outputs, picture) for picture in range(3)]


def test_otsus_threshold_is_the_best_of_all_cuts() -> None:
    maps = torch.rand(40, 3, 4, generator=torch.Generator().manual_seed(3)).square()
    maps[7:20] = (maps[7:20] * 4).round() / 4  # equal values, which belong to one side
    for map_, mask in zip(maps, above_otsu(maps), strict=True):
        values = map_.flatten().tolist()
        assert mask.flatten().tolist() == [value > naive_otsu(values) for value in values]


def test_two_groups_are_separated_and_a_flat_map_is_not_divided() -> None:
    two_groups = torch.tensor([[[1.0, 1.2, 9.0], [8.5, 0.9, 1.1]]])
    assert above_otsu(two_groups).tolist() == [[[False, False, True], [True, False, False]]]
    assert not above_otsu(torch.full((1, 3, 4), 2.5)).any()


def test_smoothing_repeats_the_edge() -> None:
    map_ = seeded(1, 2, 5, seed=4)
    torch.testing.assert_close(smoothed(map_)[0], torch.tensor(naive_smoothed(map_[0].tolist()), dtype=torch.float64))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_binary_cross_entropy_of_all_patches(label_smoothing: float) -> None:
    method, outputs = foreground(), features()
    naive = 0.0
    for picture, grid in enumerate(naive_logits(method, outputs.patch_tokens)):
        mask = naive_mask(outputs, picture)
        for row, values in enumerate(grid):
            for column, logit in enumerate(values):
                target = (1 - label_smoothing) * mask[row][column] + label_smoothing / 2
                probability = 1 / (1 + math.exp(-logit))
                naive -= target * math.log(probability) + (1 - target) * math.log(1 - probability)
    naive /= 2 * GRID[0] * GRID[1]
    loss = method.loss(outputs, torch.tensor([4, 0]), label_smoothing=label_smoothing)
    assert math.isclose(loss.item(), naive, rel_tol=1e-12)
    assert loss == method.loss(outputs, torch.tensor([0, 1]), label_smoothing=label_smoothing)  # Labels are not used.


def test_the_statistics_are_those_of_all_patches_of_all_pictures() -> None:
    method, batches = foreground(), [features(pictures=3, seed=20), features(pictures=1, seed=30)]
    method.prepare(iter(batches))
    tokens = torch.cat([batch.patch_tokens.flatten(0, 2) for batch in batches])
    torch.testing.assert_close(method.foreground.mean, tokens.mean(dim=0))
    torch.testing.assert_close(method.foreground.std, tokens.std(dim=0, correction=0))


def test_a_channel_without_variance_does_not_divide_by_zero() -> None:
    method, outputs = foreground(), features()
    constant = replace(outputs, patch_tokens=torch.full_like(outputs.patch_tokens, 3.0))
    method.prepare([constant])
    assert method.maps(constant, torch.zeros(2, 1, dtype=torch.int64)).isfinite().all()


def test_objectness_is_a_linear_layer_on_the_class_token_and_is_reported_only_if_it_has_weights() -> None:
    method, outputs = foreground(), features()
    assert not bool(method.tells_objectness)
    assert method.logits(outputs).tolist() == [[0.0], [0.0]]
    weight, bias = seeded(5, seed=40), seeded(1, seed=41)[0]
    method.objectness.weight.copy_(weight)
    method.objectness.bias.copy_(bias)
    assert bool(method.tells_objectness)
    naive = [
        sum(w * x for w, x in zip(weight.tolist(), token, strict=True)) + bias.item()
        for token in outputs.prefix_tokens[:, 0].tolist()
    ]
    assert method.logits(outputs)[:, 0].tolist() == pytest.approx(naive, abs=1e-12)


def run_settings(data: Path, out: Path, **changes: Any) -> TrainConfig:
    return settings(data, out, method="foreground", freeze_backbone=True, drop_path=0.0, **changes)


def test_training_computes_the_statistics_of_all_training_pictures_and_keeps_the_backbone(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"train": 3, "test": 1})
    run = train(run_settings(tmp_path / "data", tmp_path / "run", learning_rate=1e-2))
    model = load_model(run)
    assert model.spec.label_names == ("object",)
    assert losses(run)[0] > losses(run)[-1]
    dataset = read_dataset(tmp_path / "data", split="train")
    views = [preprocess(read_image(dataset.path(index)), to=model.input_format)[0] for index in range(len(dataset))]
    with torch.no_grad():
        outputs = model.backbone(torch.from_numpy(np.stack(views)), model.method.requests)
    tokens = outputs.patch_tokens.flatten(0, 2)
    stored = tensors(run)
    torch.testing.assert_close(stored["foreground.mean"], tokens.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stored["foreground.std"], tokens.std(dim=0, correction=0), rtol=1e-4, atol=1e-5)
    assert stored["foreground.weight"].abs().max() > 0


def test_one_class_is_enough_and_no_epoch_can_be_chosen_without_boxes(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", class_names=["cat"], splits={"train": 4}, boxes=None)
    message = (
        "has no boxes, and the method has no classifier: there is nothing to choose an epoch by; take --select last"
    )
    with pytest.raises(DataError, match=message):
        train(run_settings(tmp_path / "data", tmp_path / "run", select="val", val_fraction=0.25))
    train(run_settings(tmp_path / "data", tmp_path / "run"))


def test_an_evaluation_states_localization_and_no_class_scores(tmp_path: Path) -> None:
    write_cub(tmp_path / "data", classes=3, train=3, test=2)
    run = train(run_settings(tmp_path / "data", tmp_path / "run", select="val", samples_every=1, val_fraction=0.4))
    assert [(row["top1_cls"], row["top1_loc"]) for row in rows(run)] == [("", "")] * 2
    assert all(0 <= float(row["gt_known_loc"]) <= 100 for row in rows(run))
    assert (run / "samples" / "epoch-0002.jpg").is_file()
    evaluation = evaluate(str(run), EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", device="cpu"))
    assert "GT-known loc" in evaluation.describe()
    assert "top-1" not in evaluation.describe()
    lines = [json.loads(line) for line in (tmp_path / "out" / "per_image.jsonl").read_text().splitlines()]
    assert [line["top_classes"] for line in lines] == [[]] * 6
    assert {line["label"] for line in lines} == {0, 1, 2}
    assert "cls_wrong" not in {line["protocols"]["ts-cam"]["outcome"] for line in lines}


def test_a_classifier_cannot_read_a_foreground_heads_weights_and_vice_versa() -> None:
    with pytest.raises(ConfigError, match="method 'ts-cam' needs another head than weights trained for 'foreground'"):
        tiny("foreground").with_method("ts-cam")
    with pytest.raises(ConfigError, match="'foreground' needs another head than weights trained for 'ts-cam' have"):
        tiny("ts-cam").with_method("foreground")
