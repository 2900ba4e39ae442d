"""Grad-CAM: the last layer's activations, weighted by the gradient of a class score."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tscam.backbones.features import Features, Record, Request
from tscam.methods.attention_maps import on_grid
from tscam.methods.base import Method, methods


@methods.register("grad-cam")
class GradCam(Method):
    """The map of a class is `ReLU(Σ_d w_d A_d)`, with `w_d` the mean over patches of the score's gradient.

    `A` are the patch tokens as they enter the attention of the last block (after its first norm), or the last map of a
    CNN. The features must be computed with gradients enabled.

    Source:
        Selvaraju et al., ICCV 2017.
    """

    requests = Request(records=Record.GRADIENT)

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        leaf, grid = features.leaf, features.grid
        assert leaf is not None
        scores = self.logits(features).gather(1, classes)
        patches = leaf.detach()[:, -grid[0] * grid[1] :]
        maps = []
        for score in scores.unbind(dim=1):
            (gradient,) = torch.autograd.grad(score.sum(), leaf, retain_graph=True)
            weights = gradient[:, -grid[0] * grid[1] :].mean(dim=1)
            maps.append(on_grid(torch.einsum("bd,btd->bt", weights, patches).relu(), grid=grid))
        return torch.stack(maps, dim=1)
