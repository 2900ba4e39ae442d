"""Protocols: every choice on which evaluations of localization differ, named. No number means anything without one.

A protocol is data; `tscam.metrics.levels` and `tscam.metrics.pixels` compute by it. A new one is
`dataclasses.replace(MAX_BOX_ACC, ious=(0.75,), name="mine")`.
"""

from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from tscam.metrics.overlap import Edges
from tscam.registry import Registry

# Side of the square in which wsolevaluation compares maps of OpenImages, CUB and ILSVRC.
_WSOL_VIEW = 224


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The choices that every protocol makes.

    Attributes:
        name: name of the protocol in the registry.
        source: paper or code that defines it.
        view: side in pixels of the square in which maps and truths are compared; None takes the model's view.
        resize: interpolation of the raw map to that size, before it is scaled to [0, 1].
        precision: precision of the map when it is cut to bytes, before it is compared with a threshold.
        map_of: class whose map is judged: the picture's class, whatever the most likely class is.
        step: distance between the thresholds of the curve, which are its multiples from 0 to below 1.
        threshold: origin of τ unless a policy is requested: the model, or held-out pictures (`val`); `best` is no
            policy but MaxBoxAcc's definition: for each IoU the best τ on the scored pictures themselves.
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
        """Thresholds of the curve: fractions of a map's maximum, ascending."""
        return np.arange(0, 1, self.step)

    def settings(self) -> dict[str, object]:
        """All choices as JSON values, for the files; `threshold` is named `default_threshold` there."""
        names = {"threshold": "default_threshold"}
        return {
            names.get(key, key): list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class BoxProtocol(Protocol):
    """A protocol that compares boxes of a map with true boxes.

    Attributes:
        contours: boxes of a map that are compared: the `largest` region's, or those of `all` regions, of which the best
            one counts.
        clip: True if far edges end at the last pixel (size - 1); else they may equal the size.
        edges: meaning of a far edge: the last pixel inside, or the edge behind it.
        no_box: the box of a map in which nothing is above the threshold.
        truth_rounding: rule by which true boxes become whole view pixels: of `ts-cam` or of `wsolevaluation`.
        truths: true boxes that a box is compared with: all, of which the best one counts (`any`), or the `first`.
        ious: smallest IoU of a right box; the scores of several are averaged.
        at_least: True if an IoU of exactly that value is right, in GT-known Loc and in MaxBoxAcc.
        top_k_at_least: True if it is right in Top-1 and Top-5 Loc.
        outcomes: True if errors are broken down.
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
    """A protocol that compares values of a map with a mask, pixel by pixel; only its mean IoU needs a threshold."""


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
