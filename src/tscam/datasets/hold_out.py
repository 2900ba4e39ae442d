"""Held-out pictures of a training split: a function of the seed, so that all verbs choose the same ones."""

from fractions import Fraction

import numpy as np

from tscam.datasets.base import Dataset
from tscam.datasets.copies import find_copies
from tscam.errors import DataError


def hold_out(dataset: Dataset, *, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return the training split without a fraction of each class, and that fraction as `val`.

    Fractions of a picture add up over the classes, so that small classes give their share, too; a class keeps at least
    one picture. Copies of a picture are on one side; those of two classes are kept. Without copies, the choice depends
    on the seed alone.

    Raises:
        DataError: no class has a picture to spare.
    """
    random = np.random.default_rng(seed)
    units = _units(dataset)
    held_out: list[int] = []
    owed, share = Fraction(0), Fraction(str(fraction))
    for label in range(len(dataset.class_names)):
        members = random.permutation(np.flatnonzero(dataset.labels == label))
        owed += share * len(members)
        wanted = min(int(owed), max(len(members) - 1, 0))
        taken: list[int] = []
        for index in members.tolist():
            unit = units.get(index, [index])
            if len(unit) <= wanted - len(taken):
                taken += unit
        owed -= len(taken)
        held_out += taken
    if not held_out:
        can_spare = max(np.bincount(dataset.labels), default=0) > 1
        raise DataError(
            f"{dataset.root}: {len(dataset)} pictures of {len(dataset.class_names)} classes are too few to hold "
            f"{fraction:g} of them out; {'raise --val-fraction, or ' if can_spare else ''}take --select last"
        )
    kept = np.setdiff1d(np.arange(len(dataset)), held_out)
    return dataset.subset(kept, split=dataset.split), dataset.subset(sorted(held_out), split="val")


def _units(dataset: Dataset) -> dict[int, list[int]]:
    """Return, for each picture that has copies, the pictures that are held out with it.

    These are all copies with the first of them, and none with the others, nor with copies that are of two classes.
    """
    units: dict[int, list[int]] = {}
    for copies in find_copies(dataset):
        units |= {index: [] for index in copies}
        if len(set(dataset.labels[copies].tolist())) == 1:
            units[copies[0]] = copies
    return units
