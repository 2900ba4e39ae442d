"""Pure functions from attention rows and matrices to attention maps."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def attention_map(
    class_attention: Float[Tensor, "l b heads t"],
    *,
    grid: tuple[int, int],
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> Float[Tensor, "b {grid[0]} {grid[1]}"]:
    """Class-agnostic map A* of TS-CAM: how much the class token attends to each patch.

    The mean over heads, summed over layers; the columns of the prefix tokens, which come first, are dropped.

    Args:
        layers, heads: indices from 0 of the layers and heads to use; all by default.

    Source:
        Gao et al., ICCV 2021, equations 4 and 5. Layers are summed as in the released code, not averaged as in the
        paper: min-max normalization removes the factor.
    """
    if layers is not None:
        class_attention = class_attention[list(layers)]
    if heads is not None:
        class_attention = class_attention[:, :, list(heads)]
    return on_grid(class_attention.mean(dim=2).sum(dim=0), grid=grid)


def rollout(attention: Float[Tensor, "l b t t"], *, grid: tuple[int, int]) -> Float[Tensor, "b {grid[0]} {grid[1]}"]:
    """Share of each patch in the class token's output, if attention alone mixed the tokens.

    The class token's row of the product over layers of `(A + I)`, rows normalized. Multiplying from the last layer
    down needs this row alone and no product of matrices.

    Source:
        Abnar & Zuidema, ACL 2020, with the mean over heads.
    """
    row = torch.zeros_like(attention[0, :, 0])
    row[:, 0] = 1
    for layer in attention.flip(0):
        row = row / (layer.sum(dim=2) + 1)
        row = row + torch.einsum("bt,bts->bs", row, layer)
    return on_grid(row, grid=grid)


def on_grid(token_values: Float[Tensor, "b t"], *, grid: tuple[int, int]) -> Float[Tensor, "b {grid[0]} {grid[1]}"]:
    """Arrange the values of the patches in rows and columns; those of the prefix tokens before them are dropped."""
    rows, columns = grid
    return token_values[:, -rows * columns :].unflatten(1, grid)
