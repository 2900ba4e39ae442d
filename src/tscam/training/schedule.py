"""The learning rate of each step, as a factor of the first one."""

import math
from collections.abc import Sequence
from typing import Literal


def learning_rate_factor(
    epoch: int,
    *,
    done: float = 0.0,
    schedule: Literal["steps", "cosine"] = "steps",
    steps: Sequence[int] = (),
    epochs: int,
    warmup_epochs: int = 0,
) -> float:
    """The factor in an epoch, from 1, of which the fraction `done` has passed.

    It rises linearly through the warm-up. Then `steps` makes it a tenth for every epoch up to this one that is a
    multiple of one of the steps; `cosine` lets it fall along half a wave to nothing at the end of the last epoch.

    Source:
        The released TS-CAM code divides by ten at every multiple, not at the milestones alone: CUB's step 30 strikes
        in epochs 30 and 60, ILSVRC's 10 and 12 in 10, 12 and 20. Cosine: Loshchilov and Hutter, ICLR 2017.
    """
    passed = epoch - 1 + done
    if passed < warmup_epochs:
        return passed / warmup_epochs
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (passed - warmup_epochs) / (epochs - warmup_epochs)))
    factor = 1.0
    for reached in range(1, epoch + 1):
        if any(reached % step == 0 for step in steps):
            factor *= 0.1
    return factor
