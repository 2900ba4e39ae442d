"""AdamW over the weights of a model, in groups by weight decay and learning rate."""

from typing import Any

from torch import nn
from torch.optim import AdamW

from tscam.model import LocalizationModel


def create_optimizer(
    model: LocalizationModel, *, learning_rate: float, head_learning_rate: float | None, weight_decay: float
) -> AdamW:
    """AdamW with betas 0.9 and 0.999; biases, other one-dimensional weights and embeddings are not decayed.

    Each group keeps the rate it starts from as `initial_lr`.

    Args:
        head_learning_rate: for the weights of the method; None means the backbone's rate, and two groups in all.

    Source:
        The released TS-CAM code, which follows DeiT: undecayed weights first.
    """
    groups = _groups(model.backbone, model.backbone.undecayed, learning_rate, weight_decay)
    head = _groups(model.method, frozenset(), head_learning_rate or learning_rate, weight_decay)
    if head_learning_rate is None:
        for group, more in zip(groups, head, strict=True):
            group["params"] += more["params"]
    else:
        groups += head
    return AdamW(groups, betas=(0.9, 0.999), eps=1e-8)


def _groups(
    module: nn.Module, undecayed: frozenset[str], learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    spared: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        is_spared = parameter.ndim == 1 or name in undecayed or name.endswith(".bias")
        (spared if is_spared else decayed).append(parameter)
    shared = {"lr": learning_rate, "initial_lr": learning_rate}
    return [
        {"params": spared, "weight_decay": 0.0, **shared},
        {"params": decayed, "weight_decay": weight_decay, **shared},
    ]
