"""Attention rows → attention map. Pure functions."""

from jaxtyping import Float
from torch import Tensor


def attention_map(
    class_attention: Float[Tensor, "l b heads t"], *, grid: tuple[int, int]
) -> Float[Tensor, "b {grid[0]} {grid[1]}"]:
    """The class-agnostic map A* of TS-CAM: how much the class token attends to each patch.

    The mean over heads, summed over layers; the columns of prefix tokens, which come first, are dropped.

    Source:
        Gao et al., ICCV 2021, equations 4 and 5. Layers are summed as in the released code, not averaged as in the
        paper: min-max normalization removes the factor.
    """
    rows, columns = grid
    of_tokens = class_attention.mean(dim=2).sum(dim=0)
    return of_tokens[:, -rows * columns :].unflatten(1, grid)
