"""Protocols: everything on which evaluations of localization differ, named. A number means nothing without its own.

A protocol is data; `tscam.metrics.levels` and `tscam.metrics.pixels` do what it says. Another one is
`dataclasses.replace(MAX_BOX_ACC, ious=(0.75,), name="mine")`.
"""

from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from tscam.metrics.overlap import Edges
from tscam.registry import Registry

# The square in which OpenImages, CUB and ILSVRC maps are compared by wsolevaluation.
_WSOL_VIEW = 224


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all protocols say.

    Attributes:
        name: of the protocol.
        source: where it is defined.
        view: side in pixels of the square in which maps and truths are compared; None is the model's own view.
        resize: how the raw map is brought to that size, before it is scaled to [0, 1].
        precision: of the map when it is cut to bytes, before it meets a threshold.
        map_of: whose map is judged: that of the picture's class, whatever the most likely class is.
        step: between the thresholds of its curve, which are the multiples of it from 0 to below 1.
        threshold: where τ comes from, unless another policy is asked for: the model, or held-out pictures (`val`);
            `best` is no policy but MaxBoxAcc's definition: for each IoU the best on the very pictures that are scored.
    """

    name: str
    source: str
    view: int | None
    resize: Literal["bilinear", "bicubic"]
    precision: Literal["float32", "float64"] = "float32"
    map_of: Literal["label"] = "label"
    step: float
    threshold: Literal["model", "val", "best"]

    @property
    def thresholds(self) -> Float[np.ndarray, " thresholds"]:
        """Fractions of a map's maximum, rising."""
        return np.arange(0, 1, self.step)

    def settings(self) -> dict[str, object]:
        """All of it, as it stands beside every stored number; which threshold was taken stands there by itself."""
        named = {"threshold": "default_threshold"}
        held = {named.get(key, key): value for key, value in asdict(self).items()}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in held.items()}


@dataclass(frozen=True, kw_only=True)
class BoxProtocol(Protocol):
    """Boxes of a map against true boxes.

    Attributes:
        contours: boxes that are compared: that of the largest region, or those of all, of which the best counts.
        clip: do far edges end at the last pixel (size - 1), or may they be the size?
        edges: is the last pixel inside?
        no_box: stands for the box of a map in which nothing is above the threshold.
        truth_rounding: how true boxes become whole view pixels: as in `ts-cam` or in `wsolevaluation`.
        truths: with which of a picture's true boxes a box is compared: the one it overlaps most of all (`any`), or the
            `first`.
        ious: smallest IoU of a box that is right; more than one are averaged.
        at_least: is an IoU of just that right, in GT-known Loc and in MaxBoxAcc?
        top_k_at_least: the same in Top-1 and Top-5 Loc.
        outcomes: are the errors broken down?
    """

    contours: Literal["largest", "all"]
    clip: bool
    edges: Edges = "inclusive"
    no_box: tuple[int, int, int, int]
    truth_rounding: Literal["ts-cam", "wsolevaluation"]
    truths: Literal["any", "first"] = "any"
    ious: tuple[float, ...] = (0.5,)
    at_least: bool = True
    top_k_at_least: bool = False
    outcomes: bool = False


@dataclass(frozen=True, kw_only=True)
class PixelProtocol(Protocol):
    """Values of a map against a mask, pixel by pixel; no threshold, but for the mean IoU of masks beside it."""


TS_CAM = BoxProtocol(
    name="ts-cam", source="Gao et al., ICCV 2021, and their released code", view=None, resize="bilinear", step=0.01,
    threshold="model", contours="largest", clip=False, no_box=(0, 0, 1, 1), truth_rounding="ts-cam", outcomes=True,
)  # fmt: skip

MAX_BOX_ACC = BoxProtocol(
    name="max-box-acc", source="Choe et al., CVPR 2020 (wsolevaluation)", view=_WSOL_VIEW, resize="bicubic",
    precision="float64", step=0.001, threshold="best", contours="largest", clip=True, no_box=(0, 0, 0, 0),
    truth_rounding="wsolevaluation",
)  # fmt: skip

MAX_BOX_ACC_V2 = replace(
    MAX_BOX_ACC, name="max-box-acc-v2", source="Choe et al., TPAMI 2022 (wsolevaluation)", contours="all",
    ious=(0.3, 0.5, 0.7),
)  # fmt: skip

REALISTIC = replace(
    MAX_BOX_ACC, name="realistic", source="arXiv 2404.10034 (WACV 2025), with the boxes of max-box-acc",
    threshold="val", top_k_at_least=True,
)  # fmt: skip

PXAP = PixelProtocol(
    name="pxap", source="Choe et al., CVPR 2020 (wsolevaluation)", view=_WSOL_VIEW, resize="bicubic",
    precision="float64", step=0.001, threshold="model",
)  # fmt: skip

protocols: Registry[BoxProtocol | PixelProtocol] = Registry("protocol")
for _protocol in (TS_CAM, MAX_BOX_ACC, MAX_BOX_ACC_V2, REALISTIC, PXAP):
    protocols.register(_protocol.name)(_protocol)
