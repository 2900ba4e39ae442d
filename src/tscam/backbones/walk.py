"""What backbones share that walk through attention blocks: softmax rows, fused attention, stochastic depth.

Knows no model: it is given what a block's projections made.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tscam.errors import ConfigError
from tscam.features import Record


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Queries, keys and values of an attention layer, normed and turned as the layer does.

    Attributes:
        scale: of the products of query and key.
        bias: added to the scaled products before the softmax, such as relative positions'.
    """

    query: Float[Tensor, "b heads t e"]
    key: Float[Tensor, "b heads t e"]
    value: Float[Tensor, "b heads t e"]
    scale: float
    bias: Float[Tensor, "1 heads t t"] | None = None

    def class_row(self) -> Float[Tensor, "b heads t"]:
        """The softmax row of the first token, which is the class token: one row where the whole matrix has t."""
        # Multiplied and summed, not a matrix product: that would copy all keys first, which costs more than the row.
        scores = (self.query[:, :, :1] * self.scale * self.key).sum(dim=-1)
        return (scores if self.bias is None else scores + self.bias[:, :, 0]).softmax(dim=-1)

    def mean_matrix(self) -> Float[Tensor, "b t t"]:
        """The whole softmax, averaged over the heads."""
        scores = self.query @ self.key.transpose(-2, -1) * self.scale
        return (scores if self.bias is None else scores + self.bias).softmax(dim=-1).mean(dim=1)

    def attend(self, *, dropout: float = 0.0) -> Float[Tensor, "b t d"]:
        """Values mixed by the softmax, heads side by side."""
        mixed = F.scaled_dot_product_attention(
            self.query, self.key, self.value, attn_mask=self.bias, dropout_p=dropout, scale=self.scale
        )
        return mixed.transpose(1, 2).flatten(2)


@dataclass(kw_only=True)
class Recorder:
    """Keeps of a walk what was asked for, and nothing else."""

    records: Record
    awaits_leaf: bool = False
    leaf: Float[Tensor, "b t e"] | None = None
    _rows: list[Tensor] = field(default_factory=list)
    _matrices: list[Tensor] = field(default_factory=list)

    def see(self, heads: Heads) -> None:
        """A layer's attention."""
        if Record.CLASS_ATTENTION in self.records:
            self._rows.append(heads.class_row())
        if Record.ATTENTION in self.records:
            self._matrices.append(heads.mean_matrix())

    def before_leaf(self) -> AbstractContextManager[object]:
        """The context of all that comes before the leaf: no graph is built there where one is asked for after it."""
        return torch.no_grad() if Record.GRADIENT in self.records else nullcontext()

    def leaf_of(self, tokens: Float[Tensor, "b t e"]) -> Float[Tensor, "b t e"]:
        """The same tokens; where the leaf is awaited, these are it."""
        if self.awaits_leaf:
            tokens = self.leaf = tokens.detach().requires_grad_()
        return tokens

    @property
    def class_attention(self) -> Float[Tensor, "l b heads t"] | None:
        return torch.stack(self._rows) if self._rows else None

    @property
    def attention(self) -> Float[Tensor, "l b t t"] | None:
        return torch.stack(self._matrices) if self._matrices else None


def heads_of(attn: Any, qkv: Float[Tensor, "b t e3"]) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value `[b heads t e]` of a joint projection."""
    query, key, value = qkv.unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return query, key, value


def finish_attention(attn: Any, tokens: Float[Tensor, "b t d"], heads: Heads) -> Float[Tensor, "b t d"]:
    """What a timm attention layer does after its projections: mix, norm, gate, project."""
    mixed = heads.attend(dropout=attn.attn_drop.p if attn.training else 0.0)
    if hasattr(attn, "norm"):
        mixed = attn.norm(mixed)
    if getattr(attn, "gate", None) is not None:
        mixed = mixed * attn.gate(tokens).sigmoid()
    projected: Tensor = attn.proj_drop(attn.proj(mixed))
    return projected


def keep_some(
    branch: Float[Tensor, "b *rest"], draws: Float[Tensor, "b branches"] | None, number: int, rate: float
) -> Float[Tensor, "b *rest"]:
    """The residual branch where a picture's draw keeps it, scaled so that the mean stays; nothing where it does not."""
    if draws is None or rate == 0:
        return branch
    kept = (draws[:, number] >= rate).to(branch.dtype) / (1 - rate)
    return branch * kept.view(-1, *[1] * (branch.ndim - 1))


def drop_rates(highest: float, depth: int) -> list[float]:
    """Stochastic depth of each block, rising from 0 at the first to `highest` at the last."""
    return [highest * number / max(depth - 1, 1) for number in range(depth)]


def require_whole_patches(image_hw: tuple[int, int], patch_hw: tuple[int, int]) -> None:
    """Refuses a view whose sides are not multiples of the patch.

    Raises:
        ConfigError: names the side and the nearest that would do.
    """
    for side, patch in zip(image_hw, patch_hw, strict=True):
        if side < patch or side % patch:
            below = side // patch * patch
            near = f"{below} or {below + patch}" if below else f"{patch}"
            raise ConfigError(f"image size {side} is not a multiple of the patch, {patch} pixels; take {near}")
