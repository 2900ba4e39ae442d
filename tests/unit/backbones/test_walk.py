"""A walk records softmax rows and matrices, drops residual branches and cuts the graph as naive loops do."""

import math

import pytest
import torch
from timm.layers.attention import Attention
from torch import Tensor

from tscam.backbones.features import Record, Request
from tscam.backbones.walk import Heads, Walk, block_drop_rates

# b=2, heads=3, t=4, e=5: no two are equal.
BATCH, HEADS, TOKENS, CHANNELS = 2, 3, 4, 5


def seeded(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seeded_heads(*, biased: bool = False) -> Heads:
    query, key, value = (seeded(BATCH, HEADS, TOKENS, CHANNELS, seed=seed) for seed in (1, 2, 3))
    bias = seeded(1, HEADS, TOKENS, TOKENS, seed=4) if biased else None
    return Heads(query=query, key=key, value=value, scale=0.7, bias=bias)


def naive_softmax(heads: Heads, *, picture: int, head: int, query: int) -> list[float]:
    scores = []
    for key in range(TOKENS):
        products = (heads.query[picture, head, query] * heads.key[picture, head, key]).tolist()
        bias = 0.0 if heads.bias is None else heads.bias[0, head, query, key].item()
        scores.append(math.exp(0.7 * sum(products) + bias))
    return [score / sum(scores) for score in scores]


def attend(walk: Walk, heads: Heads) -> Tensor:
    """Return the output of a layer whose projection is the identity: the mixed values."""
    layer = Attention(HEADS * CHANNELS, num_heads=HEADS).eval()
    with torch.no_grad():
        layer.proj.weight.copy_(torch.eye(HEADS * CHANNELS))
        layer.proj.bias.zero_()
        return walk.attend(layer, torch.zeros(BATCH, TOKENS, HEADS * CHANNELS), heads)


def recorded(walk: Walk) -> tuple[Tensor | None, Tensor | None]:
    tokens = torch.zeros(BATCH, 1, TOKENS - 1, CHANNELS)
    features = walk.features(patch_tokens=tokens, prefix_tokens=tokens[:, 0, :1])
    return features.class_attention, features.attention


@pytest.mark.parametrize("biased", [False, True])
def test_a_layer_mixes_values_by_the_softmax_and_records_its_rows_and_mean_matrix(biased: bool) -> None:
    heads, walk = seeded_heads(biased=biased), Walk(Request(records=Record.CLASS_ATTENTION | Record.ATTENTION))
    mixed = attend(walk, heads)
    rows, matrices = recorded(walk)
    assert rows is not None
    assert matrices is not None
    assert rows.shape == (1, BATCH, HEADS, TOKENS)
    for picture in range(BATCH):
        for query in range(TOKENS):
            softmax = [naive_softmax(heads, picture=picture, head=head, query=query) for head in range(HEADS)]
            mean = [sum(column) / HEADS for column in zip(*softmax, strict=True)]
            assert matrices[0, picture, query].tolist() == pytest.approx(mean, abs=1e-6)
            if query == 0:
                torch.testing.assert_close(rows[0, picture], torch.tensor(softmax), rtol=0, atol=1e-6)
            expected = torch.cat([torch.tensor(softmax[head]) @ heads.value[picture, head] for head in range(HEADS)])
            torch.testing.assert_close(mixed[picture, query], expected, rtol=0, atol=1e-5)


def test_layers_are_recorded_in_their_order_and_only_on_request() -> None:
    first, second = seeded_heads(), seeded_heads(biased=True)
    walk, silent = Walk(Request(records=Record.CLASS_ATTENTION)), Walk(Request())
    for heads in (first, second):
        attend(walk, heads)
        attend(silent, heads)
    rows, matrices = recorded(walk)
    assert rows is not None
    assert rows.tolist() == [first.class_row().tolist(), second.class_row().tolist()]
    assert matrices is None
    assert recorded(silent) == (None, None)


def test_a_branch_is_dropped_below_its_rate_and_divided_by_its_probability_otherwise() -> None:
    draws = torch.tensor([[0.9, 0.1], [0.1, 0.8], [0.25, 0.5]])  # 3 pictures, 2 branches
    walk = Walk(Request(draws=draws), num_blocks=1, drop_rates=(0.25, 0.5))
    branch = torch.ones(3, 2, 1)
    assert walk.drop_path(branch, index=0)[:, 0, 0].tolist() == pytest.approx([1 / 0.75, 0, 1 / 0.75])
    assert walk.drop_path(branch, index=1)[:, 1, 0].tolist() == [0, 2, 2]


def test_no_branch_is_dropped_without_draws_or_without_a_rate() -> None:
    branch = seeded(3, 2, 1, seed=5)
    assert Walk(Request(), num_blocks=1, drop_rates=(0.9, 0.9)).drop_path(branch, index=1) is branch
    without_rate = Walk(Request(draws=torch.zeros(3, 2)), num_blocks=1, drop_rates=(0.0, 0.9))
    assert without_rate.drop_path(branch, index=0) is branch
    assert not without_rate.drop_path(branch, index=1).any()


@pytest.mark.parametrize(
    ("depth", "rates"), [(1, [0, 0]), (2, [0, 0, 0.3, 0.3]), (4, [0, 0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3])]
)
def test_rates_of_stochastic_depth_rise_from_block_to_block(depth: int, rates: list[float]) -> None:
    assert block_drop_rates(0.3, depth=depth) == pytest.approx(rates)


def test_requested_gradients_are_those_of_the_last_blocks_input_and_no_graph_is_built_before_it() -> None:
    weight = torch.ones(CHANNELS, requires_grad=True)
    walk = Walk(Request(records=Record.GRADIENT), num_blocks=2, drop_rates=(0.0,) * 4)
    with walk.before_leaf():
        tokens = walk.enter_attention(seeded(BATCH, TOKENS, CHANNELS, seed=6) * weight, block=0)
    assert not tokens.requires_grad
    tokens = walk.enter_attention(tokens * weight, block=1)
    features = walk.features(patch_tokens=(3 * tokens)[:, None, 1:], prefix_tokens=tokens[:, :1])
    assert features.leaf is tokens
    (gradient,) = torch.autograd.grad(features.patch_tokens.sum(), tokens)
    assert gradient[:, 0].unique().tolist() == [0]
    assert gradient[:, 1:].unique().tolist() == [3]


def test_without_requested_gradients_the_graph_reaches_all_blocks() -> None:
    weight = torch.ones(CHANNELS, requires_grad=True)
    walk = Walk(Request(), num_blocks=1, drop_rates=(0.0,) * 2)
    with walk.before_leaf():
        tokens = seeded(BATCH, TOKENS, CHANNELS, seed=6) * weight
    tokens = walk.enter_attention(tokens, block=0)
    walk.features(patch_tokens=tokens[:, None], prefix_tokens=tokens[:, :0]).patch_tokens.sum().backward()
    assert weight.grad is not None


def test_a_map_of_convolutions_becomes_patches_row_by_row() -> None:
    map_ = seeded(2, 5, 3, 4, seed=7)  # b=2 d=5 h=3 w=4
    features = Walk(Request(records=Record.GRADIENT)).map_features(map_)
    assert features.grid == (3, 4)
    assert features.prefix_tokens.shape == (2, 0, 5)
    assert features.leaf is not None
    for row in range(3):
        for column in range(4):
            assert torch.equal(features.patch_tokens[:, row, column], map_[:, :, row, column])
            assert torch.equal(features.leaf[:, 4 * row + column], map_[:, :, row, column])


def test_a_union_of_requests_has_the_records_of_both_and_the_draws_of_either() -> None:
    draws = torch.zeros(2, 4)
    for_maps, for_training = Request(records=Record.CLASS_ATTENTION), Request(records=Record.POOLED, draws=draws)
    for union in (for_maps | for_training, for_training | for_maps):
        assert union.records == Record.CLASS_ATTENTION | Record.POOLED
        assert union.draws is draws
    assert Request() | Request() == Request()
    assert [request.needs_gradient for request in (for_maps, Request(records=Record.GRADIENT))] == [False, True]
