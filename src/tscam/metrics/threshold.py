"""Policies that choose the threshold τ, the fraction of a map's maximum above which is object.

Which one was at work stands beside every number: a τ that was chosen on the scored pictures themselves is an oracle's.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from tscam.errors import ConfigError, did_you_mean

Kind = Literal["model", "fixed", "val", "pseudo", "otsu", "percentile", "oracle"]

_EXPLAINED = {
    "model": "stored with the model",
    "fixed": "given",
    "val": "best on held-out pictures with true boxes",
    "pseudo": "best on held-out pictures with pseudo boxes",
    "otsu": "of each map by itself (Otsu)",
    "percentile": "of each map by itself (percentile of its pixels:",
    "oracle": "ORACLE: best on the scored pictures themselves",
}


@dataclass(frozen=True, kw_only=True)
class ThresholdPolicy:
    """How τ is chosen.

    Attributes:
        kind: `fixed`; `model`: stored with it; `val`, `pseudo`: best on held-out pictures with true boxes, or with
            boxes that nobody drew; `otsu`, `percentile`: a level of each map's own; `oracle`: best on the scored
            pictures.
        value: the fixed τ in (0, 1), or the percentile in (0, 100).
    """

    kind: Kind
    value: float | None = None

    @property
    def name(self) -> str:
        """As it is given: `0.2`, `otsu`, `percentile:80`."""
        if self.kind == "fixed":
            return f"{self.value:g}"
        return self.kind if self.value is None else f"{self.kind}:{self.value:g}"

    @property
    def explained(self) -> str:
        """In words."""
        return _EXPLAINED[self.kind] if self.kind != "percentile" else f"{_EXPLAINED[self.kind]} {self.value:g})"

    @property
    def is_of_each_map(self) -> bool:
        """Has each map a level of its own?"""
        return self.kind in ("otsu", "percentile")

    def level(self, map_: UInt8[np.ndarray, "H W"]) -> int | None:
        """The level of a map's own above which is object; None under a policy of one τ for all.

        Source:
            Otsu, IEEE Trans. SMC 1979; the percentile is that of all pixels of the map.
        """
        if self.kind == "otsu":
            return int(cv2.threshold(map_, 0, 255, cv2.THRESH_OTSU)[0])
        return int(np.percentile(map_, self.value or 0)) if self.kind == "percentile" else None


def threshold_policy(given: float | str | None) -> ThresholdPolicy:
    """The policy that was asked for: a number, a policy's name, `percentile:80`; None is `model`.

    Raises:
        ConfigError: neither.
    """
    if given is None:
        return ThresholdPolicy(kind="model")
    text = str(given).strip()
    try:
        value = float(text)
    except ValueError:
        return _named(text)
    if not 0 < value < 1:
        raise ConfigError(f"threshold {text}; expected a fraction of the map's maximum, between 0 and 1")
    return ThresholdPolicy(kind="fixed", value=value)


def _named(text: str) -> ThresholdPolicy:
    kinds: tuple[Kind, ...] = ("model", "val", "pseudo", "otsu", "oracle")
    for kind in kinds:
        if text == kind:
            return ThresholdPolicy(kind=kind)
    name, _, number = text.partition(":")
    if name == "percentile":
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if 0 < value < 100:
            return ThresholdPolicy(kind="percentile", value=value)
    names = (*kinds, "percentile:80")
    hint = did_you_mean(text, names) or ";"
    raise ConfigError(f"threshold {text!r}{hint} expected a number between 0 and 1, or one of {', '.join(names)}")


def best_threshold(
    hits: Float[np.ndarray, " n"] | Int[np.ndarray, " n"], thresholds: Float[np.ndarray, " n"], *, nearest_to: float
) -> int:
    """The place of the threshold with most hits; of equal ones the nearest to a published one, then the lowest."""
    far = np.round(np.abs(thresholds - nearest_to), 9)  # 0.09 and 0.11 are equally far from 0.1
    return int(np.lexsort((far, -hits))[0])
