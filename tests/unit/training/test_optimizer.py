"""Weight decay, learning rate and freezing of each weight."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from tiny_runs import learner_of, seeded_model, steps
from tscam.errors import ConfigError
from tscam.model import LocalizationModel, create_model
from tscam.training.optimizer import OptimizerSettings, create_optimizer, freeze

TINY: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}


def names_of(model: LocalizationModel, parameters: list[Tensor]) -> set[str]:
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    return {by_id[id(parameter)] for parameter in parameters}


def tiny_model(backbone: str = "vit_small_patch14_reg4_dinov2") -> LocalizationModel:
    side = 28 if "patch14" in backbone else 32
    return create_model(backbone, label_names=5, image_size=side, backbone_args=TINY)


UNDECAYED_IN_BACKBONE = {
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


def test_a_head_with_its_own_rate_gives_four_groups() -> None:
    model = tiny_model()
    settings = OptimizerSettings(learning_rate=1e-4, head_learning_rate=3e-3, weight_decay=0.05)
    optimizer = create_optimizer(model, settings)
    groups = [
        (names_of(model, group["params"]), group["weight_decay"], group["lr"], group["initial_lr"])
        for group in optimizer.param_groups
    ]
    assert groups == [
        (in_vit(UNDECAYED_IN_BACKBONE), 0.0, 1e-4, 1e-4),
        (in_vit(DECAYED_IN_BACKBONE), 0.05, 1e-4, 1e-4),
        ({"method.head.bias"}, 0.0, 3e-3, 3e-3),
        ({"method.head.weight"}, 0.05, 3e-3, 3e-3),
    ]


def test_a_head_at_the_backbones_rate_shares_its_two_groups() -> None:
    model = tiny_model()
    settings = OptimizerSettings(learning_rate=1e-4, head_learning_rate=None, weight_decay=0.05)
    optimizer = create_optimizer(model, settings)
    groups = [(names_of(model, group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
    assert groups == [
        (in_vit(UNDECAYED_IN_BACKBONE) | {"method.head.bias"}, 0.0),
        (in_vit(DECAYED_IN_BACKBONE) | {"method.head.weight"}, 0.05),
    ]


@pytest.mark.parametrize("head_learning_rate", [None, 1e-3])
def test_every_weight_is_in_one_group(head_learning_rate: float | None) -> None:
    model = tiny_model("deit_tiny_distilled_patch16_224")
    settings = OptimizerSettings(learning_rate=1e-4, head_learning_rate=head_learning_rate, weight_decay=0.05)
    optimizer = create_optimizer(model, settings)
    counted = Counter(id(parameter) for group in optimizer.param_groups for parameter in group["params"])
    assert counted == Counter(id(parameter) for parameter in model.parameters())
    undecayed = names_of(model, [weight for group in optimizer.param_groups[::2] for weight in group["params"]])
    assert "backbone.vit.dist_token" in undecayed


def test_without_a_gradient_decayed_weights_shrink_by_rate_times_decay() -> None:
    model = tiny_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = create_optimizer(model, OptimizerSettings(learning_rate=0.01, head_learning_rate=0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        rate = 0.1 if name.startswith("method.") else 0.01
        decayed = name in in_vit(DECAYED_IN_BACKBONE) | {"method.head.weight"}
        expected = before[name] * (1 - rate * 0.5) if decayed else before[name]
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-6, atol=0)


# Layer-wise decay of the rate


def test_each_layer_learns_at_a_fraction_of_the_next_layers_rate() -> None:
    model = tiny_model()
    settings = OptimizerSettings(learning_rate=0.8, head_learning_rate=3e-3, layer_decay=0.5, weight_decay=0.05)
    optimizer = create_optimizer(model, settings)
    # By hand: four layers, the last one at the full rate.
    rate_of = {
        "patch_embed.proj.weight": 0.1, "patch_embed.proj.bias": 0.1, "cls_token": 0.1, "reg_token": 0.1,
        "pos_embed": 0.1,
        "blocks.0.attn.qkv.weight": 0.2, "blocks.0.norm1.weight": 0.2, "blocks.0.ls2.gamma": 0.2,
        "blocks.1.attn.qkv.weight": 0.4, "blocks.1.mlp.fc2.bias": 0.4, "blocks.1.ls1.gamma": 0.4,
        "norm.weight": 0.8, "norm.bias": 0.8,
    }  # fmt: skip
    group_of: dict[str, tuple[float, float]] = {}
    for group in optimizer.param_groups:
        assert group["lr"] == group["initial_lr"]
        assert names_of(model, group["params"]) == set(group["param_names"])
        group_of |= dict.fromkeys(group["param_names"], (group["lr"], group["weight_decay"]))
    assert {name: group_of[f"backbone.vit.{name}"][0] for name in rate_of} == pytest.approx(rate_of)
    # The head is not a layer of the backbone.
    assert {group_of[f"method.head.{name}"][0] for name in ("weight", "bias")} == {3e-3}
    decayed = {name for name, (_, decay) in group_of.items() if decay}
    assert decayed == in_vit(DECAYED_IN_BACKBONE) | {"method.head.weight"}
    assert group_of.keys() == dict(model.named_parameters()).keys()


def test_a_head_without_its_own_rate_learns_at_the_full_rate() -> None:
    model = tiny_model()
    optimizer = create_optimizer(model, OptimizerSettings(learning_rate=0.8, layer_decay=0.5, weight_decay=0.05))
    rates = {name: group["lr"] for group in optimizer.param_groups for name in group["param_names"]}
    assert (rates["method.head.weight"], rates["backbone.vit.norm.weight"]) == (0.8, 0.8)
    assert sorted({*rates.values()}) == pytest.approx([0.1, 0.2, 0.4, 0.8])


# Freezing

EMBEDDING = ("patch_embed.", "cls_token", "pos_embed")


@pytest.mark.parametrize(
    ("changes", "frozen"),
    [
        ({}, ()),
        ({"freeze_blocks": 1}, (*EMBEDDING, "blocks.0.")),
        ({"freeze_blocks": 3}, (*EMBEDDING, "blocks.")),
        ({"freeze_backbone": True}, ("",)),
        ({"freeze_backbone": True, "freeze_blocks": 1}, ("",)),
    ],
    ids=str,
)
def test_frozen_weights_keep_their_bits_and_all_others_change(changes: dict[str, Any], frozen: tuple[str, ...]) -> None:
    model = seeded_model(depth=3)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    learner = learner_of(model, ema=0.5, **changes)
    steps(learner, 2)
    frozen_names = {name for name in before if name.startswith(tuple(f"backbone.vit.{part}" for part in frozen))}
    assert bool(frozen_names) == bool(frozen)
    for tensors in (model.state_dict(), learner.evaluated_model.state_dict()):
        for name, tensor in before.items():
            assert torch.equal(tensors[name], tensor) == (name in frozen_names), name
    trained = {name for group in learner.optimizer.param_groups for name in group["param_names"]}
    assert trained == before.keys() - frozen_names


def test_more_blocks_than_the_backbone_has_cannot_be_frozen() -> None:
    with pytest.raises(ConfigError, match=r"^freeze_blocks 4; expected at most 3, the backbone's blocks$"):
        freeze(seeded_model(depth=3), OptimizerSettings(learning_rate=1e-4, weight_decay=0.05, freeze_blocks=4))
