"""The threshold τ, the fraction of a map's maximum above which is object: policies that choose it, and its value.

The policy is written beside every number: a τ that was chosen on the scored pictures themselves is an oracle's.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from tscam.errors import ConfigError, did_you_mean, quoted

PolicyName = Literal["model", "fixed", "val", "pseudo", "otsu", "percentile", "oracle", "best"]

# These words are part of `metrics.json`.
_EXPLAINED: dict[PolicyName, str] = {
    "model": "stored with the model",
    "fixed": "given",
    "val": "best on held-out pictures with true boxes",
    "pseudo": "best on held-out pictures with pseudo boxes",
    "otsu": "of each map by itself (Otsu)",
    "percentile": "of each map by itself (percentile of its pixels:",
    "oracle": "ORACLE: best on the scored pictures themselves",
    "best": "best on the scored pictures, by definition",
}


@dataclass(frozen=True, kw_only=True)
class ThresholdPolicy:
    """How τ is chosen.

    Attributes:
        name: `fixed`; `model`: stored with the model; `val`, `pseudo`: best on held-out pictures with true boxes, or
            with pseudo boxes; `otsu`, `percentile`: computed for every map; `oracle`: best on the scored pictures;
            `best`: the same where a protocol defines it so, for each of its IoUs.
        parameter: the fixed τ in (0, 1), or the percentile in (0, 100).
    """

    name: PolicyName
    parameter: float | None = None

    @property
    def label(self) -> str:
        """The policy as a user writes it: `0.2`, `otsu`, `percentile:80`."""
        if self.name == "fixed":
            return f"{self.parameter:g}"
        return self.name if self.parameter is None else f"{self.name}:{self.parameter:g}"

    @property
    def explained(self) -> str:
        """The policy in words."""
        explained = _EXPLAINED[self.name]
        return explained if self.name != "percentile" else f"{explained} {self.parameter:g})"

    @property
    def is_per_map(self) -> bool:
        """True if every map gets its own threshold (`otsu`, `percentile`)."""
        return self.name in ("otsu", "percentile")

    @property
    def needs_held_out(self) -> bool:
        """True if held-out pictures choose the threshold (`val`, `pseudo`)."""
        return self.name in ("val", "pseudo")

    def level(self, map_: UInt8[np.ndarray, "H W"]) -> int | None:
        """The level of this map above which is object; None under a policy with one τ for all maps.

        Source:
            Otsu, IEEE Trans. SMC 1979; the percentile is that of all pixels of the map.
        """
        if self.name == "otsu":
            return int(cv2.threshold(map_, 0, 255, cv2.THRESH_OTSU)[0])
        return int(np.percentile(map_, self.parameter or 0)) if self.name == "percentile" else None


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The threshold under which a protocol scores: its policy, its value, and where the value comes from.

    Attributes:
        value: τ; None where every map gets its own, where the scored pictures choose it, and until held-out pictures
            have chosen it.
        explained: origin of the value, in words.
    """

    policy: ThresholdPolicy
    value: float | None = None
    explained: str


def threshold_policy(text: float | str) -> ThresholdPolicy:
    """The policy that a user names: a number, a policy's name, or `percentile:80`.

    Raises:
        ConfigError: neither a fraction nor the name of a policy.
    """
    name = str(text).strip()
    try:
        value = float(name)
    except ValueError:
        return _named(name)
    if not 0 < value < 1:
        raise ConfigError(f"threshold {name}; expected a fraction of the map's maximum, between 0 and 1")
    return ThresholdPolicy(name="fixed", parameter=value)


def _named(text: str) -> ThresholdPolicy:
    plain: tuple[PolicyName, ...] = ("model", "val", "pseudo", "otsu", "oracle")
    for name in plain:
        if text == name:
            return ThresholdPolicy(name=name)
    prefix, _, number = text.partition(":")
    if prefix == "percentile":
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if 0 < value < 100:
            return ThresholdPolicy(name="percentile", parameter=value)
    names = (*plain, "percentile:80")
    hint = did_you_mean(text, names) or ";"
    raise ConfigError(f"threshold {quoted(text)}{hint} expected a number between 0 and 1, or one of {', '.join(names)}")


def best_threshold(
    hits: Float[np.ndarray, " n"] | Int[np.ndarray, " n"], thresholds: Float[np.ndarray, " n"], *, nearest_to: float
) -> int:
    """The index of the threshold with most hits; among equal ones the nearest to a published one, then the lowest."""
    distances = np.round(np.abs(thresholds - nearest_to), 9)  # 0.09 and 0.11 are equally far from 0.1
    return int(np.lexsort((distances, -hits))[0])
