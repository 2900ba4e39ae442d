"""The learning rate of each epoch, as a factor of the first one."""

from collections.abc import Sequence


def learning_rate_factor(epoch: int, *, steps: Sequence[int]) -> float:
    """The factor of an epoch, from 1: a tenth more for every epoch up to it that is a multiple of one of the steps.

    Source:
        The released TS-CAM code divides by ten at every multiple, not at the milestones alone: CUB's step 30 strikes
        in epochs 30 and 60, ILSVRC's 10 and 12 in 10, 12 and 20.
    """
    factor = 1.0
    for reached in range(1, epoch + 1):
        if any(reached % step == 0 for step in steps):
            factor *= 0.1
    return factor
