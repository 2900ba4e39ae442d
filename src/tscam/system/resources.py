"""Resources of a machine that a computation may use. Imports no package: the command line reads it for `--help`."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Resources of a machine that a computation may use.

    Attributes:
        device: as PyTorch names it (`cpu`, `cuda`, `cuda:1`); None takes the GPU where there is one.
        precision: of the matrix products.
        batch_size: pictures that are computed together.
        workers: threads or processes that read and judge pictures, beside the one that computes.
    """

    device: str | None = None
    precision: Precision = "fp32"
    batch_size: int = 16
    workers: int = 2
