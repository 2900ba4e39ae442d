"""The maps, scores and loss of each method equal naive loops."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tscam.backbones.base import Backbone, Classifier
from tscam.backbones.features import Features, Record, Request
from tscam.errors import ConfigError
from tscam.methods import Method, create_method, methods, supported_methods
from tscam.methods.attention_maps import attention_map
from tscam.methods.ts_cam import couple

# Unequal sizes, so that swapped axes fail.
BATCH, CLASSES, CHANNELS, LAYERS, HEADS, GRID = 2, 5, 6, 4, 3, (3, 7)


def seeded(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features(*, prefix: int = 1) -> Features:
    rows, columns = GRID
    return Features(
        patch_tokens=seeded(BATCH, rows, columns, CHANNELS, seed=1),
        prefix_tokens=seeded(BATCH, prefix, CHANNELS, seed=2),
        class_attention=seeded(LAYERS, BATCH, HEADS, prefix + rows * columns, seed=3).softmax(dim=-1),
        attention=seeded(LAYERS, BATCH, prefix + rows * columns, prefix + rows * columns, seed=6).softmax(dim=-1),
        pooled=seeded(BATCH, CHANNELS, seed=7),
    )


class BackboneWithoutNetwork(Backbone):
    """A backbone with the attributes that methods read, without a network."""

    supports = Record.CLASS_ATTENTION | Record.ATTENTION | Record.POOLED | Record.GRADIENT
    num_features, num_blocks, num_heads = CHANNELS, LAYERS, HEADS


def method(name: str, **args: Any) -> Method:
    torch.manual_seed(4)
    return create_method(name, BackboneWithoutNetwork(), num_classes=CLASSES, args=args).double()


def naive_attention_map(class_attention: Tensor, *, prefix: int) -> list[list[list[float]]]:
    rows, columns = GRID
    maps = [[[0.0] * columns for _ in range(rows)] for _ in range(BATCH)]
    for picture in range(BATCH):
        for row in range(rows):
            for column in range(columns):
                for layer in range(LAYERS):
                    token = prefix + row * columns + column
                    values = [float(class_attention[layer, picture, head, token]) for head in range(HEADS)]
                    maps[picture][row][column] += sum(values) / HEADS
    return maps


def naive_semantic_map(method: Method, tokens: Tensor, *, picture: int, class_id: int) -> list[list[float]]:
    """Return a 3×3 convolution with a border of zeros, at each position of the grid."""
    rows, columns = GRID
    assert method.head.bias is not None
    weight, bias = method.head.weight.detach(), method.head.bias.detach()
    map_ = [[float(bias[class_id])] * columns for _ in range(rows)]
    for row in range(rows):
        for column in range(columns):
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    if 0 <= row + down < rows and 0 <= column + right < columns:
                        token = tokens[picture, row + down, column + right]
                        map_[row][column] += float(token @ weight[class_id, :, 1 + down, 1 + right])
    return map_


@pytest.mark.parametrize("prefix", [1, 2, 5])
def test_the_attention_map_is_the_mean_over_heads_summed_over_layers_without_prefix_tokens(prefix: int) -> None:
    class_attention = features(prefix=prefix).class_attention
    assert class_attention is not None
    ours = attention_map(class_attention, grid=GRID)
    torch.testing.assert_close(
        ours, torch.tensor(naive_attention_map(class_attention, prefix=prefix), dtype=torch.float64), rtol=0, atol=1e-14
    )


def test_attention_only_on_prefix_tokens_gives_a_map_of_zeros() -> None:
    class_attention = torch.zeros(2, 1, 3, 2 + 6)
    class_attention[..., :2] = 0.5
    assert attention_map(class_attention, grid=(2, 3)).tolist() == [[[0, 0, 0], [0, 0, 0]]]


def test_coupling_multiplies_each_class_by_the_same_attention() -> None:
    semantic = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # b=1 c=2 h=1 w=2
    attention = torch.tensor([[[0.5, 0.0]]])  # b=1 h=1 w=2
    assert couple(semantic, attention).tolist() == [[[[0.5, 0.0]], [[1.5, 0.0]]]]


def test_coupling_does_not_mix_pictures_and_keeps_negative_values() -> None:
    semantic = torch.tensor([[[[-1.0, 2.0]]], [[[3.0, -4.0]]]])  # b=2 c=1 h=1 w=2
    attention = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])  # b=2 h=1 w=2
    assert couple(semantic, attention).tolist() == [[[[-1.0, 4.0]]], [[[9.0, -16.0]]]]


def test_the_map_of_cam_is_the_convolution_of_the_chosen_class() -> None:
    cam, outputs, classes = method("cam"), features(), torch.tensor([[4, 0, 4], [1, 2, 3]])
    maps = cam.maps(outputs, classes)
    for picture in range(BATCH):
        for position, class_id in enumerate(classes[picture].tolist()):
            naive = naive_semantic_map(cam, outputs.patch_tokens, picture=picture, class_id=class_id)
            assert torch.allclose(maps[picture, position], torch.tensor(naive, dtype=torch.float64), rtol=0, atol=1e-13)


@pytest.mark.parametrize("prefix", [1, 5])
def test_the_map_of_ts_cam_is_the_semantic_map_times_the_attention_map(prefix: int) -> None:
    ts_cam, outputs, classes = method("ts-cam"), features(prefix=prefix), torch.tensor([[3, 1], [0, 4]])
    assert outputs.class_attention is not None
    attention = naive_attention_map(outputs.class_attention, prefix=prefix)
    maps = ts_cam.maps(outputs, classes)
    for picture in range(BATCH):
        for position, class_id in enumerate(classes[picture].tolist()):
            semantic = naive_semantic_map(ts_cam, outputs.patch_tokens, picture=picture, class_id=class_id)
            for row in range(GRID[0]):
                for column in range(GRID[1]):
                    product = semantic[row][column] * attention[picture][row][column]
                    assert math.isclose(maps[picture, position, row, column].item(), product, abs_tol=1e-13)


def test_negative_evidence_stays_negative_on_the_map_of_ts_cam() -> None:
    ts_cam, outputs = method("ts-cam"), features()
    maps = ts_cam.maps(outputs, torch.arange(CLASSES).expand(BATCH, CLASSES))
    assert maps.min() < 0 < maps.max()


def test_the_map_of_attention_is_equal_for_every_class() -> None:
    outputs = features()
    assert outputs.class_attention is not None
    maps = method("attention").maps(outputs, torch.tensor([[4, 0, 2], [1, 1, 3]]))
    attention = torch.tensor(naive_attention_map(outputs.class_attention, prefix=1), dtype=torch.float64)
    for position in range(3):
        torch.testing.assert_close(maps[:, position], attention, rtol=0, atol=1e-14)


def naive_rollout(attention: Tensor, *, prefix: int, picture: int) -> list[list[float]]:
    """Return the class token's row of the product of (A + I) of all layers, rows normalized, last layer leftmost."""
    rows, columns = GRID
    count = prefix + rows * columns
    product = [[float(row == column) for column in range(count)] for row in range(count)]
    for layer in range(LAYERS):
        mixed = attention[layer, picture].tolist()
        for row in range(count):
            mixed[row][row] += 1
            total = sum(mixed[row])
            mixed[row] = [value / total for value in mixed[row]]
        product = [
            [sum(mixed[row][k] * product[k][column] for k in range(count)) for column in range(count)]
            for row in range(count)
        ]
    return [[product[0][prefix + row * columns + column] for column in range(columns)] for row in range(rows)]


@pytest.mark.parametrize("prefix", [1, 2, 5])
def test_the_map_of_rollout_is_the_class_tokens_row_of_the_product_of_all_layers_for_every_class(prefix: int) -> None:
    outputs = features(prefix=prefix)
    assert outputs.attention is not None
    maps = method("rollout").maps(outputs, torch.tensor([[4, 0, 2], [1, 1, 3]]))
    for picture in range(BATCH):
        naive = torch.tensor(naive_rollout(outputs.attention, prefix=prefix, picture=picture), dtype=torch.float64)
        for position in range(3):
            torch.testing.assert_close(maps[picture, position], naive, rtol=0, atol=1e-13)


@pytest.mark.parametrize("prefix", [1, 5])
def test_the_map_of_training_free_is_the_classifier_on_each_patch_token_times_attention(prefix: int) -> None:
    reader, outputs, classes = method("training-free"), features(prefix=prefix), torch.tensor([[3, 1], [0, 4]])
    assert outputs.class_attention is not None
    assert outputs.pooled is not None
    attention = naive_attention_map(outputs.class_attention, prefix=prefix)
    assert reader.head.bias is not None
    weight, bias = reader.head.weight.detach(), reader.head.bias.detach()
    assert weight.shape == (CLASSES, CHANNELS)
    maps, logits = reader.maps(outputs, classes), reader.logits(outputs)
    for picture in range(BATCH):
        for class_id in range(CLASSES):  # Scores come from the classifier's input, not from patches.
            score = sum(float(a * b) for a, b in zip(weight[class_id], outputs.pooled[picture], strict=True))
            assert math.isclose(logits[picture, class_id].item(), score + float(bias[class_id]), abs_tol=1e-13)
        for position, class_id in enumerate(classes[picture].tolist()):
            for row in range(GRID[0]):
                for column in range(GRID[1]):
                    token = outputs.patch_tokens[picture, row, column]
                    semantic = sum(float(a * b) for a, b in zip(weight[class_id], token, strict=True))
                    product = semantic * attention[picture][row][column]
                    assert math.isclose(maps[picture, position, row, column].item(), product, abs_tol=1e-13)


def test_training_free_uses_the_classifier_of_the_backbones_weights() -> None:
    reader = method("training-free")
    weight, bias = seeded(CLASSES, CHANNELS, seed=8), seeded(CLASSES, seed=9)
    reader.initialize_from(Classifier(weight=weight, bias=bias))
    outputs = features()
    assert outputs.pooled is not None
    torch.testing.assert_close(reader.logits(outputs), outputs.pooled @ weight.T + bias, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["attention", "ts-cam", "training-free"])
def test_chosen_layers_are_summed_and_chosen_heads_averaged(name: str) -> None:
    outputs, classes = features(prefix=2), torch.tensor([[3, 1], [0, 4]])
    assert outputs.class_attention is not None
    chosen = Features(
        patch_tokens=outputs.patch_tokens,
        prefix_tokens=outputs.prefix_tokens,
        class_attention=torch.stack([outputs.class_attention[layer][:, [2, 1]] for layer in (3, 0)]),
    )
    maps = method(name, layers=(3, 0), heads=(2, 1)).maps(outputs, classes)
    torch.testing.assert_close(maps, method(name).maps(chosen, classes), rtol=0, atol=1e-14)
    assert not torch.allclose(maps, method(name).maps(outputs, classes), atol=1e-3)


@pytest.mark.parametrize("name", ["attention", "ts-cam", "training-free"])
def test_all_layers_and_heads_count_by_default_as_published(name: str) -> None:
    outputs, classes = features(), torch.tensor([[3, 1], [0, 4]])
    named = method(name, layers=tuple(range(LAYERS)), heads=tuple(range(HEADS)))
    torch.testing.assert_close(named.maps(outputs, classes), method(name).maps(outputs, classes), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["ts-cam", "training-free"])
def test_relu_removes_only_the_semantic_maps_negative_values_and_is_off_by_default(name: str) -> None:
    outputs, classes = features(), torch.arange(CLASSES).expand(BATCH, CLASSES)
    as_published, clipped = method(name).maps(outputs, classes), method(name, relu=True).maps(outputs, classes)
    assert as_published.min() < 0 < as_published.max()
    assert torch.equal(
        clipped, as_published.clamp(min=0)
    )  # Attention is positive, so the sign is that of the semantic map.
    assert torch.equal(method(name, relu=False).maps(outputs, classes), as_published)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ts-cam", {"layers": (4,)}, "layers [4]; expected a list of different integers from 0 to 3, such as [3]"),
        ("ts-cam", {"layers": (0, -1)}, "layers [0, -1]; expected a list of different integers from 0 to 3"),
        ("ts-cam", {"layers": (0, 0)}, "layers [0, 0]; expected a list of different"),
        ("ts-cam", {"layers": ()}, "layers []; expected a list"),
        ("ts-cam", {"heads": (0, 3)}, "heads [0, 3]; expected a list of different integers from 0 to 2, such as [2]"),
        ("training-free", {"layers": (True,)}, "layers [True]; expected"),
        ("attention", {"relu": True}, "method 'attention' has no option 'relu'; it has layers, heads"),
        ("cam", {"layers": (0,)}, "method 'cam' has no option 'layers'; it has none"),
    ],
    ids=str,
)
def test_an_option_out_of_range_is_refused_with_the_range(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_method(name, BackboneWithoutNetwork(), num_classes=CLASSES, args=options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


class WithoutClassToken(BackboneWithoutNetwork):
    supports = Record.POOLED | Record.GRADIENT


@pytest.mark.parametrize("name", ["attention", "rollout", "training-free", "ts-cam"])
def test_a_method_of_attention_is_refused_without_a_class_token_and_usable_methods_are_named(name: str) -> None:
    message = f"method '{name}' reads the class token's attention, .* no class token; use one of cam, grad-cam$"
    with pytest.raises(ConfigError, match=message):
        create_method(name, WithoutClassToken(), num_classes=CLASSES, args={})
    for other in ("cam", "grad-cam"):
        create_method(other, WithoutClassToken(), num_classes=CLASSES, args={})


class PooledScores(Method):
    """A method that reads the classifier's input in training only."""

    training_requests = Request(records=Record.POOLED)


def test_a_method_is_refused_if_a_record_for_its_training_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Convolutions(BackboneWithoutNetwork):
        supports = Record.GRADIENT

    monkeypatch.setitem(methods._entries, "pooled-scores", PooledScores)  # registered for this test alone
    assert "pooled-scores" in supported_methods(BackboneWithoutNetwork())
    assert supported_methods(Convolutions()) == ["cam", "grad-cam"]
    message = (
        r"^method 'pooled-scores' needs records that this backbone does not return \(POOLED\); use one of cam, grad"
    )
    with pytest.raises(ConfigError, match=message):
        create_method("pooled-scores", Convolutions(), num_classes=CLASSES, args={})


@pytest.mark.parametrize(
    ("name", "records", "training_records"),
    [
        ("cam", Record.NOTHING, Record.NOTHING),
        ("attention", Record.CLASS_ATTENTION, Record.NOTHING),
        ("ts-cam", Record.CLASS_ATTENTION, Record.NOTHING),
        ("rollout", Record.ATTENTION, Record.NOTHING),
        ("grad-cam", Record.GRADIENT, Record.NOTHING),
        ("training-free", Record.CLASS_ATTENTION, Record.POOLED),
    ],
)
def test_a_method_requests_the_records_that_its_maps_and_its_training_need(
    name: str, records: Record, training_records: Record
) -> None:
    assert methods[name].requests == Request(records=records)
    assert methods[name].training_requests == Request(records=training_records)


def test_cam_needs_no_attention() -> None:
    outputs = features()
    tokens_only = Features(patch_tokens=outputs.patch_tokens, prefix_tokens=outputs.prefix_tokens, class_attention=None)
    classes = torch.tensor([[0], [1]])
    assert torch.equal(method("cam").maps(tokens_only, classes), method("cam").maps(outputs, classes))


@pytest.mark.parametrize("name", ["cam", "attention", "ts-cam"])
def test_the_score_of_a_class_is_the_mean_of_its_semantic_map(name: str) -> None:
    reader, outputs = method(name), features()
    logits = reader.logits(outputs)
    for picture in range(BATCH):
        for class_id in range(CLASSES):
            map_ = naive_semantic_map(reader, outputs.patch_tokens, picture=picture, class_id=class_id)
            mean = sum(map(sum, map_)) / (GRID[0] * GRID[1])
            assert math.isclose(logits[picture, class_id].item(), mean, abs_tol=1e-13)


@pytest.mark.parametrize("name", [name for name in methods if methods[name].has_classifier])
def test_the_loss_is_the_mean_cross_entropy_of_the_logits(name: str) -> None:
    trained, labels = method(name), torch.tensor([3, 0])
    logits = trained.logits(features())
    naive = 0.0
    for picture, label in enumerate(labels.tolist()):
        exponentials = [math.exp(logit) for logit in logits[picture].tolist()]
        naive -= math.log(exponentials[label] / sum(exponentials)) / BATCH
    assert trained.loss(features(), labels).item() == pytest.approx(naive, abs=1e-12)


def test_the_loss_of_scores_in_half_precision_is_computed_in_single_precision() -> None:
    tokens = seeded(BATCH, *GRID, CHANNELS, seed=1).float()
    coarse = Features(patch_tokens=tokens, prefix_tokens=tokens[:, 0, :0])
    trained, labels = method("cam").float(), torch.tensor([3, 0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, loss = trained.logits(coarse), trained.loss(coarse, labels)
    assert logits.dtype == torch.bfloat16
    assert torch.equal(loss, F.cross_entropy(logits.float(), labels))


def test_a_classifiers_bias_of_another_length_is_ignored() -> None:
    ts_cam = method("ts-cam")
    bias = ts_cam.head.bias
    assert bias is not None
    before = bias.detach().clone()
    ts_cam.initialize_from(Classifier(weight=None, bias=torch.full((CLASSES + 1,), 7.0, dtype=torch.float64)))
    assert torch.equal(bias, before)
    ts_cam.initialize_from(Classifier(weight=None, bias=torch.arange(CLASSES, dtype=torch.float64)))
    assert bias.tolist() == [0, 1, 2, 3, 4]
    assert bias.requires_grad


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"no method named 'tscam'; did you mean 'ts-cam'\? Registered: .*cam"):
        methods["tscam"]
