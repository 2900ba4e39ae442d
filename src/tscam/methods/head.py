"""Heads, from patch tokens to class scores and semantic maps: a 3×3 convolution, or a linear layer after pooling.

The convolution is never dense: its mean is linear in nine shifted sums of the tokens, so the scores cost 9·d·c
multiplications in place of 9·d·c·h·w, and maps are computed for the chosen classes alone.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tscam.backbones.base import HeadName


class PatchHead(nn.Conv2d):
    """The head of TS-CAM, with the parameters of a 3×3 convolution (padding 1, with bias) from d channels to c classes.

    Its outputs equal those of the dense convolution to float rounding.

    Source:
        Gao et al., ICCV 2021, section 3.3; initialized as PyTorch initializes a convolution, as in their code.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__(num_features, num_classes, kernel_size=3, padding=1)

    def pooled(self, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b c"]:
        """Mean of the convolution over the grid: the logits."""
        # Each of the nine weights meets the grid without its last row or column, the whole grid, or the grid without
        # its first: zero padding adds nothing to the sums.
        exact = torch.promote_types(tokens.dtype, torch.float32)  # bfloat16 tokens are summed in float32
        total = tokens.sum(dim=1, dtype=exact)
        rows = torch.stack([total - tokens[:, -1], total, total - tokens[:, 0]], dim=2)  # [b w 3 d]
        total = rows.sum(dim=1)
        sums = torch.stack([total - rows[:, -1], total, total - rows[:, 0]], dim=2)  # [b 3 3 d]
        means = sums / (tokens.shape[1] * tokens.shape[2])
        return F.linear(means.flatten(1), self.weight.permute(0, 2, 3, 1).flatten(1), self.bias)

    def maps(self, tokens: Float[Tensor, "b h w d"], classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        """Output of the convolution, bias included, for the chosen classes of each picture: their semantic maps."""
        batch, chosen = classes.shape
        grid = tokens.shape[1:3]
        # `fold` scatters each patch's products to its neighbours, where a convolution gathers them: hence the flip.
        weights = self.weight[classes].flip(-2, -1).flatten(3)  # [b k d 9]
        products = torch.einsum("bkdn,bpd->bknp", weights, tokens.flatten(1, 2))
        folded = F.fold(products.flatten(0, 1), output_size=grid, kernel_size=3, padding=1)
        return folded.view(batch, chosen, *grid) + self._bias[classes][:, :, None, None]

    @property
    def _bias(self) -> Tensor:
        assert self.bias is not None
        return self.bias


class LinearHead(nn.Linear):
    """A classifier of the mean token; its weights, applied patch by patch, are the semantic map.

    Source:
        Zhou et al., CVPR 2016 (CAM): the map has no bias.
    """

    def pooled(self, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b c"]:
        """Logits of the mean token."""
        logits: Tensor = self(tokens.mean(dim=(1, 2)))
        return logits

    def maps(self, tokens: Float[Tensor, "b h w d"], classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        """Semantic maps of the chosen classes of each picture."""
        return torch.einsum("bkd,bhwd->bkhw", self.weight[classes], tokens)


Head = PatchHead | LinearHead

heads: Mapping[HeadName, type[Head]] = {"conv3x3": PatchHead, "linear": LinearHead}
