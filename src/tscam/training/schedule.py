"""The learning rate of each step, as a factor of the first one."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """Settings of the learning rate's schedule.

    Attributes:
        epochs: epochs of the whole training.
        schedule: `steps` divides by ten at `steps`; `cosine` falls to zero at the end of the last epoch.
        steps: epochs of `steps`: the rate falls at every multiple of one of them.
        warmup_epochs: epochs in which the rate rises linearly from zero.
    """

    epochs: int
    schedule: Literal["steps", "cosine"] = "steps"
    steps: tuple[int, ...] = ()
    warmup_epochs: int = 0


def learning_rate_factor(settings: ScheduleSettings, epoch: int, *, done: float = 0.0) -> float:
    """The factor in an epoch.

    Args:
        epoch: from 1.
        done: fraction of the epoch that has passed.

    Source:
        The released TS-CAM code divides by ten at every multiple, not at the milestones alone: CUB's step 30 applies
        in epochs 30 and 60, ILSVRC's 10 and 12 in 10, 12 and 20. Cosine: Loshchilov and Hutter, ICLR 2017.
    """
    passed = epoch - 1 + done
    warmup = settings.warmup_epochs
    if passed < warmup:
        return passed / warmup
    if settings.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (passed - warmup) / (settings.epochs - warmup)))
    factor = 1.0
    for reached in range(1, epoch + 1):
        if any(reached % step == 0 for step in settings.steps):
            factor *= 0.1
    return factor
