"""Held-out pictures of a training split: a function of the seed, so that all verbs choose the same ones."""

from fractions import Fraction

import numpy as np

from tscam.datasets.base import Dataset
from tscam.errors import DataError


def hold_out(dataset: Dataset, *, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return the training split without a fraction of each class, and that fraction as `val`.

    Fractions of a picture add up over the classes, so that small classes give their share, too; a class keeps at least
    one picture. The choice depends on the seed alone.

    Raises:
        DataError: no class has a picture to spare.
    """
    random = np.random.default_rng(seed)
    held_out: list[int] = []
    owed, share = Fraction(0), Fraction(str(fraction))
    for label in range(len(dataset.class_names)):
        members = random.permutation(np.flatnonzero(dataset.labels == label))
        owed += share * len(members)
        taken = min(int(owed), max(len(members) - 1, 0))
        owed -= taken
        held_out += members[:taken].tolist()
    if not held_out:
        can_spare = max(np.bincount(dataset.labels), default=0) > 1
        raise DataError(
            f"{dataset.root}: {len(dataset)} pictures of {len(dataset.class_names)} classes are too few to hold "
            f"{fraction:g} of them out; {'raise --val-fraction, or ' if can_spare else ''}take --select last"
        )
    kept = np.setdiff1d(np.arange(len(dataset)), held_out)
    return dataset.subset(kept, split=dataset.split), dataset.subset(sorted(held_out), split="val")
