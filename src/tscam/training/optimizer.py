"""AdamW over the weights of a model, in groups by weight decay and learning rate."""

from collections import defaultdict
from typing import Any

from torch import nn
from torch.optim import AdamW

from tscam.errors import ConfigError
from tscam.model import LocalizationModel


def create_optimizer(
    model: LocalizationModel,
    *,
    learning_rate: float,
    head_learning_rate: float | None = None,
    layer_decay: float = 1.0,
    weight_decay: float,
) -> AdamW:
    """AdamW with betas 0.9 and 0.999; biases, other one-dimensional weights and embeddings are not decayed.

    Each group keeps the rate it starts from as `initial_lr`, and the names of its weights as `param_names`. Weights
    that need no gradient are left out.

    Args:
        head_learning_rate: for the weights of the method; None means the backbone's rate.
        layer_decay: the rate of each layer of the backbone is this much of the next one's.

    Source:
        The released TS-CAM code, which follows DeiT: undecayed weights first. Layer-wise decay: Bao et al., ICLR 2022.
    """
    backbone = model.backbone
    groups: dict[tuple[float, bool], list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inner = name.removeprefix("backbone.")
        if name == inner:
            rate = head_learning_rate or learning_rate
        else:
            rate = learning_rate * layer_decay ** (backbone.num_layers - 1 - backbone.layer_index(inner))
        is_decayed = parameter.ndim > 1 and inner not in backbone.no_weight_decay and not name.endswith(".bias")
        groups[rate, is_decayed].append((name, parameter))
    settings: list[dict[str, Any]] = [
        {"params": named, "weight_decay": weight_decay * is_decayed, "lr": rate, "initial_lr": rate}
        for (rate, is_decayed), named in sorted(groups.items(), key=lambda item: item[0])
    ]
    return AdamW(settings, betas=(0.9, 0.999), eps=1e-8)


def freeze(model: LocalizationModel, *, backbone: bool, blocks: int) -> None:
    """Excludes weights from training: the whole backbone's, or those of its embedding and so many first blocks.

    Raises:
        ConfigError: the backbone has fewer blocks.
    """
    there = model.backbone.num_layers - 2
    if blocks > there:
        raise ConfigError(f"freeze_blocks {blocks}; expected at most {there}, the backbone's blocks")
    last_frozen = model.backbone.num_layers if backbone else blocks if blocks else -1
    for name, parameter in model.backbone.named_parameters():
        if model.backbone.layer_index(name) <= last_frozen:
            parameter.requires_grad_(False)
