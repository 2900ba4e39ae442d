"""Contract of every registered data set reader, checked on a small example of each."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from data_sets import EXAMPLES
from tscam.datasets import Dataset, check_dataset, dataset_readers, read_dataset, recognize
from tscam.errors import DataError
from tscam.image import image_size_wh

pytestmark = pytest.mark.parametrize("name", list(dataset_readers))


@pytest.fixture
def root(name: str, tmp_path: Path) -> Path:
    assert name in EXAMPLES, f"tests/helpers/data_sets.py: EXAMPLES has no example of {name!r}"
    EXAMPLES[name](tmp_path)
    return tmp_path


def every_split(root: Path, name: str) -> list[Dataset]:
    return [read_dataset(root, name=name, split=split) for split in dataset_readers[name].splits(root)]


def test_the_layout_is_recognized(name: str, root: Path) -> None:
    assert recognize(root) == name


def test_splits_have_the_names_that_verbs_ask_for(name: str, root: Path) -> None:
    reader = dataset_readers[name]
    assert set(reader.splits(root)) <= {"train", "val", "test", "all"}
    assert reader.training_split(root) in reader.splits(root)
    assert reader.test_split(root) in reader.splits(root)


def test_a_data_set_names_its_reader_its_split_and_its_root(name: str, root: Path) -> None:
    for dataset, split in zip(every_split(root, name), dataset_readers[name].splits(root), strict=True):
        assert (dataset.name, dataset.split, dataset.root) == (name, split, root)


def test_ids_are_unique_relative_and_lead_to_files(name: str, root: Path) -> None:
    for dataset in every_split(root, name):
        assert len(set(dataset.image_ids)) == len(dataset)
        for index, image_id in enumerate(dataset.image_ids):
            assert not Path(image_id).is_absolute()
            assert dataset.path(index).is_file()
            assert dataset.path(index).resolve().is_relative_to(root.resolve())


def test_labels_are_classes_and_classes_are_the_same_in_every_split(name: str, root: Path) -> None:
    datasets = every_split(root, name)
    for dataset in datasets:
        assert dataset.class_names == datasets[0].class_names
        assert set(dataset.labels.tolist()) <= set(range(len(dataset.class_names)))


def test_boxes_are_half_open_and_inside_the_picture(name: str, root: Path) -> None:
    count = 0
    for dataset in every_split(root, name):
        for index, boxes in enumerate(dataset.boxes or ()):
            assert boxes.dtype == np.float64
            width, height = image_size_wh(dataset.path(index))
            assert (boxes[:, :2] >= 0).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert (boxes[:, 2:] <= (width, height)).all()
            count += len(boxes)
    assert count > 0


def test_each_picture_has_one_set_of_masks(name: str, root: Path) -> None:
    for dataset in every_split(root, name):
        assert dataset.masks is None or len(dataset.masks) == len(dataset)


def test_stated_sizes_are_those_of_the_pictures(name: str, root: Path) -> None:
    for dataset in every_split(root, name):
        for index, size_wh in enumerate(dataset.sizes_wh if dataset.sizes_wh is not None else ()):
            assert tuple(size_wh) == image_size_wh(dataset.path(index))


def test_splits_share_no_file(name: str, root: Path) -> None:
    datasets = every_split(root, name)
    paths = [{dataset.path(index) for index in range(len(dataset))} for dataset in datasets]
    assert all(one.isdisjoint(other) for one, other in combinations(paths, 2))


def corrupted(content: bytes, random: np.random.Generator) -> bytes:
    """Replace characters by others that occur in lists, and sometimes remove a piece."""
    changed = bytearray(content)
    for position in random.integers(0, len(changed), size=random.integers(1, 4)):
        changed[position] = random.choice(list(b'0199-./ \t\n,"<>{}[]e\0\xff'))
    if random.random() < 0.3:
        start = int(random.integers(0, len(changed)))
        del changed[start : start + int(random.integers(1, 40))]
    return bytes(changed)


def test_corrupt_lists_are_read_or_refused_without_another_error(name: str, root: Path) -> None:
    random = np.random.default_rng(4)
    lists = sorted(path for path in root.rglob("*") if path.suffix in {".txt", ".csv", ".json", ".xml"})
    refusals: list[str] = []
    for path in lists:
        original = path.read_bytes()
        for _ in range(40):
            path.write_bytes(corrupted(original, random))
            try:
                every_split(root, name)
            except DataError as refusal:
                refusals.append(str(refusal))
        path.write_bytes(original)
    assert refusals
    assert not any("\n" in refusal for refusal in refusals)


def test_the_example_is_usable(name: str, root: Path) -> None:
    report = check_dataset(root, name=name)
    assert report.usable
    assert not report.shared
    assert not report.untrained_classes
