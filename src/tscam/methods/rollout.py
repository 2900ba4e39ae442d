"""Attention rollout: the share of each patch in the class token after all layers; the same map for every class."""

from jaxtyping import Float, Int
from torch import Tensor

from tscam.backbones.features import Features, Record, Request
from tscam.methods.attention_maps import rollout
from tscam.methods.base import Method, methods


@methods.register("rollout")
class Rollout(Method):
    """The map of every class is the rollout of the attention matrices.

    Source:
        Abnar & Zuidema, ACL 2020.
    """

    requests = Request(records=Record.ATTENTION)

    def maps(self, features: Features, classes: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        assert features.attention is not None
        return rollout(features.attention, grid=features.grid)[:, None].expand(-1, classes.shape[1], -1, -1)
