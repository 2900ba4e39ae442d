"""AdamW over the weights of a model, in groups by weight decay and learning rate; frozen weights."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import AdamW

from tscam.errors import ConfigError
from tscam.model import LocalizationModel


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Settings of the optimizer.

    Attributes:
        learning_rate: learning rate of the backbone's last layer before any schedule.
        head_learning_rate: learning rate of the method's own weights; None takes `learning_rate`.
        layer_decay: ratio of each layer's learning rate to that of the layer after it.
        weight_decay: weight decay of all weights but biases, norms, class token and position embeddings.
        clip_norm: largest norm of the gradient; None does not clip.
        freeze_backbone: exclude the whole backbone from training.
        freeze_blocks: exclude the embedding and this many first blocks from training.
    """

    learning_rate: float
    weight_decay: float
    head_learning_rate: float | None = None
    layer_decay: float = 1.0
    clip_norm: float | None = None
    freeze_backbone: bool = False
    freeze_blocks: int = 0


def create_optimizer(model: LocalizationModel, settings: OptimizerSettings) -> AdamW:
    """AdamW with betas 0.9 and 0.999; biases, other one-dimensional weights and embeddings are not decayed.

    Each group keeps its learning rate as `initial_lr` and the names of its weights as `param_names`. Weights that need
    no gradient are left out.

    Source:
        The released TS-CAM code, which follows DeiT: undecayed weights first. Layer-wise decay: Bao et al., ICLR 2022.
    """
    backbone = model.backbone
    weights: dict[tuple[float, bool], list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inner = name.removeprefix("backbone.")
        if name == inner:
            rate = settings.head_learning_rate or settings.learning_rate
        else:
            layers_after = backbone.num_layers - 1 - backbone.layer_index(inner)
            rate = settings.learning_rate * settings.layer_decay**layers_after
        is_decayed = parameter.ndim > 1 and inner not in backbone.no_weight_decay and not name.endswith(".bias")
        weights[rate, is_decayed].append((name, parameter))
    groups: list[dict[str, Any]] = [
        {"params": named, "weight_decay": settings.weight_decay * is_decayed, "lr": rate, "initial_lr": rate}
        for (rate, is_decayed), named in sorted(weights.items(), key=lambda item: item[0])
    ]
    return AdamW(groups, betas=(0.9, 0.999), eps=1e-8)


def freeze(model: LocalizationModel, settings: OptimizerSettings) -> None:
    """Exclude weights from training: the whole backbone's, or those of its embedding and first blocks.

    Raises:
        ConfigError: the backbone has fewer blocks.
    """
    backbone, blocks = model.backbone, settings.freeze_blocks
    block_count = backbone.num_layers - 2
    if blocks > block_count:
        raise ConfigError(f"freeze_blocks {blocks}; expected at most {block_count}, the backbone's blocks")
    last_frozen = backbone.num_layers if settings.freeze_backbone else blocks if blocks else -1
    for name, parameter in backbone.named_parameters():
        if backbone.layer_index(name) <= last_frozen:
            parameter.requires_grad_(False)
