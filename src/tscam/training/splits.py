"""The splits of a training run: what is trained on, what the best epoch is chosen on, and what tests the result."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tscam.config import TrainConfig
from tscam.datasets import Dataset, find_reader, has_boxes, hold_out, read_dataset
from tscam.errors import DataError


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Pictures by their purpose.

    Attributes:
        training: trained on.
        choosing: the best epoch is chosen on these; None takes the last one.
        test: the chosen weights are scored on these; None where the data has no such split.
        selection: the choice in words, which stand beside its numbers.
    """

    training: Dataset
    choosing: Dataset | None
    test: Dataset | None
    selection: str

    def notes(self) -> list[str]:
        """What a person should know: splits of which some pictures have boxes, and the test split where none has."""
        said = []
        for dataset in {id(split): split for split in (self.choosing, self.test) if split is not None}.values():
            if dataset.boxes is None or has_boxes(dataset):
                continue
            without = sum(not len(boxes) for boxes in dataset.boxes)
            if without < len(dataset) or dataset is self.test:
                said.append(
                    f"{without} of {len(dataset)} pictures of the split {dataset.split!r} have no box: it is scored by "
                    "accuracy alone; for localization give each a box, or `tscam evaluate --allow-missing`"
                )
        return said

    def data_hash(self) -> str:
        """Hash of names, sizes in bytes, labels and boxes of all pictures."""
        seen = hashlib.sha256()
        for dataset in (self.training, self.choosing, self.test):
            if dataset is None:
                continue
            sizes = [_byte_count(dataset.path(index)) for index in range(len(dataset))]
            boxes = [] if dataset.boxes is None else [of_picture.tolist() for of_picture in dataset.boxes]
            facts = [dataset.split, dataset.class_names, dataset.image_ids, dataset.labels.tolist(), sizes, boxes]
            seen.update(json.dumps(facts).encode())
        return seen.hexdigest()


def read_splits(config: TrainConfig) -> Splits:
    """The splits that the settings ask for.

    Raises:
        DataError: the data set cannot be read, has one class alone, nothing can be held out, or there is no test split
            for `oracle`.
    """
    reader = find_reader(config.data, name=config.dataset)
    training = read_dataset(config.data, name=config.dataset, split=reader.training_split(config.data))
    if len(training.class_names) < 2:
        raise DataError(
            f"{config.data}: one class, {training.class_names[0]!r}, and so nothing to tell apart; add pictures of "
            "another one"
        )
    held = reader.splits(config.data)
    test, test_name = None, next((name for name in ("test", "val") if name in held), None)
    if test_name is not None:
        test = read_dataset(config.data, name=config.dataset, split=test_name)
    if config.select == "last":
        return Splits(training=training, choosing=None, test=test, selection="last epoch")
    if config.select == "oracle":
        if test is None:
            raise DataError(f"{config.data}: no test split for --select oracle; take --select val or last")
        named = f"oracle (epoch of best {_measure(test)} on split {test.split!r})"
        return Splits(training=training, choosing=test, test=test, selection=named)
    if test_name == "test" and "val" in held:
        choosing = read_dataset(config.data, name=config.dataset, split="val")
        named = f"val (epoch of best {_measure(choosing)} on split 'val')"
    else:
        training, choosing = hold_out(training, fraction=config.val_fraction, seed=config.seed)
        named = f"val (epoch of best {_measure(choosing)} on {len(choosing)} pictures held out of {training.split!r})"
    return Splits(training=training, choosing=choosing, test=test, selection=named)


def _byte_count(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _measure(dataset: Dataset) -> str:
    return "gt_known_loc" if has_boxes(dataset) else "top1_cls"
