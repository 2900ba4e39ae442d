"""One pass through a backbone: softmax rows, fused attention, stochastic depth, and the records of a request.

Knows no family of backbones: each block passes its projections.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tscam.backbones.features import Features, Record, Request
from tscam.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Queries, keys and values of an attention layer, normed and rotated as the layer does.

    Attributes:
        scale: factor of the products of query and key.
        bias: added to the scaled products before the softmax, such as relative position biases.
    """

    query: Float[Tensor, "b heads t e"]
    key: Float[Tensor, "b heads t e"]
    value: Float[Tensor, "b heads t e"]
    scale: float
    bias: Float[Tensor, "1 heads t t"] | None = None

    def class_row(self) -> Float[Tensor, "b heads t"]:
        """Softmax row of the first token, the class token: one row of the t that the matrix has."""
        # Multiplied and summed: a matrix product would copy all keys first, which costs more than the row.
        scores = (self.query[:, :, :1] * self.scale * self.key).sum(dim=-1)
        return (scores if self.bias is None else scores + self.bias[:, :, 0]).softmax(dim=-1)

    def mean_matrix(self) -> Float[Tensor, "b t t"]:
        """Softmax matrix, averaged over the heads; a row is a query."""
        scores = self.query @ self.key.transpose(-2, -1) * self.scale
        return (scores if self.bias is None else scores + self.bias).softmax(dim=-1).mean(dim=1)

    def mix(self, *, dropout: float = 0.0) -> Float[Tensor, "b t d"]:
        """Return the values mixed by the softmax, heads side by side."""
        mixed = F.scaled_dot_product_attention(
            self.query, self.key, self.value, attn_mask=self.bias, dropout_p=dropout, scale=self.scale
        )
        return mixed.transpose(1, 2).flatten(2)


class Walk:
    """One pass of a batch through a backbone: records what a request asks for and drops residual branches.

    Args:
        num_blocks: attention blocks of the backbone; 0 for a CNN.
        drop_rates: rate of each residual branch, in the order of the request's draws.
    """

    def __init__(self, request: Request, *, num_blocks: int = 0, drop_rates: tuple[float, ...] = ()) -> None:
        self._request = request
        self._num_blocks = num_blocks
        self._drop_rates = drop_rates
        self._class_rows: list[Tensor] = []
        self._matrices: list[Tensor] = []
        self._leaf: Tensor | None = None

    def before_leaf(self) -> AbstractContextManager[object]:
        """The context of everything before the leaf: it builds no graph if gradients are requested."""
        return torch.no_grad() if self._request.needs_gradient else nullcontext()

    def enter_attention(self, tokens: Float[Tensor, "b t e"], *, block: int) -> Float[Tensor, "b t e"]:
        """Return the normed tokens that enter the attention of a block; those of the last block are the leaf."""
        return self._as_leaf(tokens) if block == self._num_blocks - 1 else tokens

    def attend(self, attn: Any, tokens: Float[Tensor, "b t d"], heads: Heads) -> Float[Tensor, "b t d"]:
        """Record the attention of a timm layer, and return the layer's output: mix, norm, gate, project.

        Args:
            attn: the layer.
            tokens: its input.
            heads: its projections.
        """
        if self.requests(Record.CLASS_ATTENTION):
            self._class_rows.append(heads.class_row())
        if self.requests(Record.ATTENTION):
            self._matrices.append(heads.mean_matrix())
        mixed = heads.mix(dropout=attn.attn_drop.p if attn.training else 0.0)
        if hasattr(attn, "norm"):
            mixed = attn.norm(mixed)
        if getattr(attn, "gate", None) is not None:
            mixed = mixed * attn.gate(tokens).sigmoid()
        projected: Tensor = attn.proj_drop(attn.proj(mixed))
        return projected

    def drop_path(self, branch: Float[Tensor, "b *rest"], *, index: int) -> Float[Tensor, "b *rest"]:
        """Return a residual branch, zero for pictures whose draw drops it and scaled for the others to keep the mean.

        Args:
            index: of the branch, from 0: two a block, attention first.
        """
        draws, rate = self._request.draws, self._drop_rates[index]
        if draws is None or rate == 0:
            return branch
        factor = (draws[:, index] >= rate).to(branch.dtype) / (1 - rate)
        return branch * factor.view(-1, *[1] * (branch.ndim - 1))

    def requests(self, record: Record) -> bool:
        """True if the request asks for this record."""
        return record in self._request.records

    def features(
        self,
        *,
        patch_tokens: Float[Tensor, "b h w d"],
        prefix_tokens: Float[Tensor, "b p d"],
        pooled: Float[Tensor, "b d"] | None = None,
        branch: Float[Tensor, "b e"] | None = None,
    ) -> Features:
        """Return the backbone's outputs together with the records of the walk."""
        return Features(
            patch_tokens=patch_tokens,
            prefix_tokens=prefix_tokens,
            class_attention=torch.stack(self._class_rows) if self._class_rows else None,
            attention=torch.stack(self._matrices) if self._matrices else None,
            pooled=pooled,
            branch=branch,
            leaf=self._leaf,
        )

    def map_features(self, map_: Float[Tensor, "b d h w"]) -> Features:
        """Return the last map of a CNN as features: its pixels are the patch tokens, and the leaf."""
        tokens = self._as_leaf(map_.flatten(2).transpose(1, 2))
        return self.features(patch_tokens=tokens.unflatten(1, map_.shape[2:]), prefix_tokens=tokens[:, :0])

    def _as_leaf(self, tokens: Float[Tensor, "b t e"]) -> Float[Tensor, "b t e"]:
        """Return the tokens; if gradients are requested, as the leaf of a new graph."""
        if self._request.needs_gradient:
            tokens = self._leaf = tokens.detach().requires_grad_()
        return tokens


def split_heads(attn: Any, qkv: Float[Tensor, "b t e3"]) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value `[b heads t e]` of a layer's joint projection."""
    query, key, value = qkv.unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return query, key, value


def block_drop_rates(highest: float, *, depth: int) -> tuple[float, ...]:
    """Stochastic depth of a Vision Transformer: the rate of each residual branch, two a block.

    Rates rise from 0 at the first block to `highest` at the last.
    """
    return tuple(highest * (branch // 2) / max(depth - 1, 1) for branch in range(2 * depth))


def require_whole_patches(image_hw: tuple[int, int], patch_hw: tuple[int, int]) -> None:
    """Refuse a view whose sides are not multiples of the patch.

    Raises:
        ConfigError: names the side and the nearest multiples.
    """
    for side, patch in zip(image_hw, patch_hw, strict=True):
        if side < patch or side % patch:
            below = side // patch * patch
            near = f"{below} or {below + patch}" if below else f"{patch}"
            raise ConfigError(f"image size {side} is not a multiple of the patch, {patch} pixels; take {near}")
