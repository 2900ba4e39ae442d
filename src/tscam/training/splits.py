"""The splits of a training run: for training, for choosing the best epoch, and for testing the result."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tscam.datasets import Dataset, find_reader, has_boxes, hold_out, read_dataset
from tscam.datasets.fingerprint import hash_datasets
from tscam.decoding import MAX_PIXELS, DecodeSettings, PixelRange
from tscam.errors import DataError


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """Settings of the splits.

    Attributes:
        data: folder of the dataset.
        dataset: name of the dataset reader; None detects it from the folder.
        select: split that the best epoch is chosen on: `val`, `oracle` (the test split), or none (`last`).
        val_fraction: fraction of each class's training pictures that is held out for `val` if there is no such split.
        seed: seed of what is held out.
        max_pixels: pixels of the largest picture that is read.
        has_classifier: False if the model tells no classes apart, so that it is scored by boxes alone.
    """

    data: Path
    dataset: str | None
    select: Literal["val", "last", "oracle"]
    val_fraction: float
    seed: int
    max_pixels: int = MAX_PIXELS
    has_classifier: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Pictures by their purpose.

    Attributes:
        training: pictures to train on.
        choosing: pictures that the best epoch is chosen on; None takes the last epoch.
        test: pictures that the chosen weights are scored on; None if the dataset has no such split.
        selection: the choice in words, which stand beside its numbers.
        chooses_threshold: True if the threshold is chosen with the epoch, which an oracle does not do.
    """

    training: Dataset
    choosing: Dataset | None
    test: Dataset | None
    selection: str
    chooses_threshold: bool

    @property
    def all(self) -> tuple[Dataset, ...]:
        """The splits that there are, each once: an oracle chooses on the test split."""
        by_id = {id(split): split for split in (self.training, self.choosing, self.test) if split is not None}
        return tuple(by_id.values())

    def scaled_by(self, pixel_range: PixelRange | None) -> "Splits":
        """Return the splits with a range for pictures of more than eight bits."""
        scaled = {id(split): split.scaled_by(pixel_range) for split in self.all}
        choosing = None if self.choosing is None else scaled[id(self.choosing)]
        test = None if self.test is None else scaled[id(self.test)]
        return replace(self, training=scaled[id(self.training)], choosing=choosing, test=test)

    def notes(self) -> list[str]:
        """Messages about what reading left out, and about splits of which not all pictures have an object."""
        notes = [*self.training.notes]
        for dataset in (self.choosing, self.test):
            if dataset is not None:
                notes += dataset.describe_gaps() if has_boxes(dataset) or dataset is self.test else dataset.notes
        return list(dict.fromkeys(notes))

    def data_hash(self) -> str:
        """Hash of names, sizes in bytes, labels and boxes of all pictures."""
        return hash_datasets(dataset for dataset in (self.training, self.choosing, self.test) if dataset is not None)


def read_splits(settings: SplitSettings) -> Splits:
    """Read the splits that the settings ask for.

    Raises:
        DataError: the dataset cannot be read or has a single class, nothing can be held out, or `oracle` has no test
            split; or a model without a classifier has no boxes to choose an epoch by.
    """
    root, name, decode = settings.data, settings.dataset, DecodeSettings(max_pixels=settings.max_pixels)
    reader = find_reader(root, name=name)
    training = read_dataset(root, name=name, split=reader.training_split(root), decode=decode)
    if settings.has_classifier and len(training.class_names) < 2:
        raise DataError(
            f"{root}: one class, {training.class_names[0]!r}, and so nothing to tell apart; add pictures of another one"
        )
    split_names = reader.splits(root)
    test, test_name = None, next((split for split in ("test", "val") if split in split_names), None)
    if test_name is not None:
        test = read_dataset(root, name=name, split=test_name, decode=decode)
    if settings.select == "last":
        choosing, selection = None, "last epoch"
    elif settings.select == "oracle":
        if test is None:
            raise DataError(f"{root}: no test split for --select oracle; take --select val or last")
        choosing, selection = test, f"oracle (epoch of best {_measure(test)} on split {test.split!r})"
    elif test_name == "test" and "val" in split_names:
        choosing = read_dataset(root, name=name, split="val", decode=decode)
        selection = f"val (epoch of best {_measure(choosing)} on split 'val')"
    else:
        training, choosing = hold_out(training, fraction=settings.val_fraction, seed=settings.seed)
        pictures = f"{len(choosing)} pictures held out of {training.split!r}"
        selection = f"val (epoch of best {_measure(choosing)} on {pictures})"
    if choosing is not None and not settings.has_classifier and not has_boxes(choosing):
        raise DataError(
            f"{root}: split {choosing.split!r} has no boxes, and the method has no classifier: there is nothing to "
            "choose an epoch by; take --select last"
        )
    return Splits(
        training=training, choosing=choosing, test=test, selection=selection,
        chooses_threshold=settings.select == "val",
    )  # fmt: skip


def _measure(dataset: Dataset) -> str:
    return "gt_known_loc" if has_boxes(dataset) else "top1_cls"
