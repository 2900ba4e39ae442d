"""The held-out part has a fair share of each class, chosen by the seed; no choice uses the test split."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

import tiny_runs
from data_sets import write_cub, write_folder, write_imagenet
from tiny_runs import rows, same_bits, saved_facts, settings
from tscam.datasets import Dataset, Masks, has_boxes, hold_out
from tscam.errors import DataError
from tscam.training.splits import Splits
from tscam.verbs.train import train


def dataset_of(*sizes: int, boxes: bool = True) -> Dataset:
    """A dataset with so many pictures of each class, shuffled; each picture's box begins at its index."""
    labels = np.random.default_rng(9).permutation(np.repeat(np.arange(len(sizes)), sizes))
    return Dataset(
        name="folder", split="train", root=Path("data"), image_root=Path("data"),
        class_names=tuple(f"class {number}" for number in range(len(sizes))),
        image_ids=tuple(f"{number}.png" for number in range(len(labels))),
        labels=labels.astype(np.int64),
        boxes=tuple(np.array([[n, 0.0, n + 4.0, 3.0]]) for n in range(len(labels))) if boxes else None,
        masks=tuple(Masks((Path(f"{number}.mask.png"),)) for number in range(len(labels))),
    )  # fmt: skip


def per_class(dataset: Dataset) -> list[int]:
    return [int((dataset.labels == label).sum()) for label in range(len(dataset.class_names))]


# Holding out


def test_a_fraction_of_each_class_is_held_out_and_small_classes_contribute_in_turn() -> None:
    left, held = hold_out(dataset_of(30, 7, 1, 12, 5, 5, 20), fraction=0.1, seed=3)
    # Owed after each class: 3, 0.7, 0.8, 2.0, 0.5, 1.0, 2.0.
    assert per_class(held) == [3, 0, 0, 2, 0, 1, 2]
    assert per_class(left) == [27, 7, 1, 10, 5, 4, 18]


def test_a_class_keeps_at_least_one_picture_and_the_next_class_contributes_the_rest() -> None:
    left, held = hold_out(dataset_of(1, 2, 1, 9), fraction=0.9, seed=3)
    # Owed after each class: 0.9; 2.7, of which one can go; 2.6, of which none can; 10.7, of which eight can.
    assert per_class(held) == [0, 1, 0, 8]
    assert per_class(left) == [1, 1, 1, 1]


sizes = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda found: max(found) > 1)


@with_settings(deadline=None, max_examples=60)  # Slow machines are no fault.
@given(sizes=sizes, fraction=st.sampled_from([0.01, 0.1, 0.25, 1 / 3, 0.5, 0.9]), seed=st.integers(0, 2**32 - 1))
def test_the_part_has_the_fraction_of_each_class(sizes: list[int], fraction: float, seed: int) -> None:
    dataset = dataset_of(*sizes)
    expected = naive_shares(sizes, fraction)
    if not sum(expected):
        with pytest.raises(DataError, match="too few to hold"):
            hold_out(dataset, fraction=fraction, seed=seed)
        return
    left, held = hold_out(dataset, fraction=fraction, seed=seed)
    assert per_class(held) == expected
    assert sorted([*left.image_ids, *held.image_ids]) == sorted(dataset.image_ids)
    if all(size > 10 for size in sizes) and fraction < 0.9:
        assert all(abs(part - fraction * size) <= 1 for part, size in zip(expected, sizes, strict=True))
        assert sum(expected) == int(Fraction(str(fraction)) * sum(sizes))


def naive_shares(sizes: Sequence[int], fraction: float) -> list[int]:
    shares: list[int] = []
    for number, size in enumerate(sizes):
        owed = Fraction(str(fraction)) * sum(sizes[: number + 1]) - sum(shares)
        shares.append(max(min(int(owed), size - 1), 0))
    return shares


def test_both_parts_keep_order_labels_boxes_and_masks() -> None:
    dataset = dataset_of(8, 5, 11)
    left, held = hold_out(dataset, fraction=0.25, seed=3)
    assert (left.split, held.split) == ("train", "val")
    for part in (left, held):
        numbers = [int(name.removesuffix(".png")) for name in part.image_ids]
        assert numbers == sorted(numbers)
        assert part.labels.tolist() == dataset.labels[numbers].tolist()
        assert part.boxes is not None
        assert [box[0, 0] for box in part.boxes] == numbers
        assert part.masks == tuple(Masks((Path(f"{number}.mask.png"),)) for number in numbers)
        assert part.class_names == dataset.class_names


def test_the_seed_alone_decides_which_pictures_are_held_out() -> None:
    def held(seed: int) -> tuple[str, ...]:
        return hold_out(dataset_of(8, 5, 11), fraction=0.25, seed=seed)[1].image_ids

    np.random.seed(1)
    first = held(26)
    np.random.seed(2)
    assert held(26) == first
    assert len({held(seed) for seed in range(10)}) > 5


@pytest.mark.parametrize(("sizes", "fraction"), [((1, 1, 1), 0.5), ((4, 4), 0.1), ((1,), 0.9)])
def test_too_few_pictures_to_hold_any_out_are_refused_with_both_ways_out(
    sizes: tuple[int, ...], fraction: float
) -> None:
    with pytest.raises(DataError) as refused:
        hold_out(dataset_of(*sizes), fraction=fraction, seed=3)
    assert str(refused.value) == (
        f"data: {sum(sizes)} pictures of {len(sizes)} classes are too few to hold {fraction} of them out; "
        f"{'raise --val-fraction, or ' if max(sizes) > 1 else ''}take --select last"
    )


# The splits of a run


def splits_of(root: Path, **changes: object) -> Splits:
    return tiny_runs.splits_of(settings(root, root / "run", **changes))


def facts(dataset: Dataset | None) -> tuple[str, int] | None:
    return None if dataset is None else (dataset.split, len(dataset))


def test_epochs_are_chosen_on_a_val_split_if_there_is_one(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 4, "val": 3, "test": 2})
    splits = splits_of(tmp_path, select="val")
    assert [facts(part) for part in (splits.training, splits.choosing, splits.test)] == [
        ("train", 12), ("val", 9), ("test", 6),
    ]  # fmt: skip
    assert splits.selection == "val (epoch of best gt_known_loc on split 'val')"


@pytest.mark.parametrize("layout", ["train and test", "train and val", "train", "all", "cub", "imagenet"])
def test_without_a_val_split_a_part_of_the_training_split_is_held_out(tmp_path: Path, layout: str) -> None:
    if layout == "cub":
        write_cub(tmp_path, train=4, test=2)
    elif layout == "imagenet":
        write_imagenet(tmp_path, train=4, val=2)
    else:
        names = layout.split(" and ")
        write_folder(tmp_path, splits={"" if name == "all" else name: 2 + 2 * (name == names[0]) for name in names})
    splits = splits_of(tmp_path, select="val", val_fraction=0.5)
    whole = "all" if layout == "all" else "train"
    # ImageNet's and a folder's `val`, where there is no `test`, is what others report on: it stays the test split.
    test = {"all": None, "train": None, "imagenet": ("val", 6), "train and val": ("val", 6)}.get(layout, ("test", 6))
    assert [facts(part) for part in (splits.training, splits.choosing, splits.test)] == [(whole, 6), ("val", 6), test]
    assert splits.choosing is not None
    assert per_class(splits.choosing) == [2, 2, 2]
    measure = "top1_cls" if layout == "imagenet" else "gt_known_loc"  # ImageNet's training pictures have no boxes.
    assert splits.selection == f"val (epoch of best {measure} on 6 pictures held out of {whole!r})"


def test_the_last_epoch_and_the_oracle_train_on_the_whole_training_split(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 4, "val": 3, "test": 2})
    last, oracle = (splits_of(tmp_path, select=select) for select in ("last", "oracle"))
    assert [facts(part) for part in (last.training, last.choosing, last.test)] == [("train", 12), None, ("test", 6)]
    assert facts(oracle.training) == ("train", 12)
    assert oracle.choosing is oracle.test
    assert oracle.selection == "oracle (epoch of best gt_known_loc on split 'test')"


def test_an_oracle_needs_a_test_split(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    message = f"^{tmp_path / 'data'}: no test split for --select oracle; take --select val or last$"
    with pytest.raises(DataError, match=message):
        train(settings(tmp_path / "data", tmp_path / "run", select="oracle"))
    assert not (tmp_path / "run").exists()


def test_a_split_has_boxes_where_a_picture_has_one() -> None:
    whole = dataset_of(2, 2)
    assert whole.boxes is not None
    assert has_boxes(whole)
    assert not has_boxes(dataset_of(2, 2, boxes=False))
    assert has_boxes(replace(whole, boxes=(np.empty((0, 4)), *whole.boxes[1:])))
    assert not has_boxes(replace(whole, boxes=(np.empty((0, 4)),) * len(whole)))


def test_splits_with_boxes_for_some_pictures_are_noted(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 4, "val": 3, "test": 2})
    boxes = (tmp_path / "boxes.csv").read_text().splitlines()

    def notes(*without: str) -> list[str]:
        (tmp_path / "boxes.csv").write_text("\n".join(row for row in boxes if not row.startswith(without)))
        return [note.partition(" have an object")[0] for note in splits_of(tmp_path, select="val").notes()]

    assert notes("none") == []
    assert notes("train/") == []
    assert notes("test/emu", "val/dog/dog_1_0") == [
        "split 'val': 8 of 9 pictures", "split 'test': 4 of 6 pictures",
    ]  # fmt: skip
    assert notes("test/", "val/") == [  # Few data sets have boxes to choose by.
        "split 'test': no picture has a box, which training does not need; it counts for classification alone"
    ]


def test_a_dataset_of_one_class_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", class_names=("cat",))
    with pytest.raises(
        DataError, match="data: one class, 'cat', and so nothing to tell apart; add pictures of another"
    ):
        train(settings(tmp_path / "data", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# What the run knows its data by


def test_the_hash_of_the_data_depends_on_names_sizes_labels_and_boxes_alone(tmp_path: Path) -> None:
    def hash_of(root: Path) -> str:
        return splits_of(root, select="val", val_fraction=0.5).data_hash()

    for name in ("data", "elsewhere"):
        write_folder(tmp_path / name, splits={"train": 4, "test": 2})
    data = tmp_path / "data"
    hashes = [hash_of(data)]
    assert hash_of(tmp_path / "elsewhere") == hashes[0]
    boxes = (data / "boxes.csv").read_text()
    second = boxes.replace("\n", "\n" + boxes.splitlines()[-1] + "\n", 1)  # The last picture has a second box.
    (data / "boxes.csv").write_text(second)
    hashes.append(hash_of(data))
    (data / "boxes.csv").write_text(boxes)
    picture = min((data / "test" / "emu").iterdir())
    with picture.open("ab") as file:
        file.write(b"\0")
    hashes.append(hash_of(data))
    picture.rename(picture.with_name("other.png"))
    (data / "boxes.csv").write_text(boxes.replace(picture.name, "other.png"))
    hashes.append(hash_of(data))
    (data / "train" / "cat").rename(data / "train" / "fox")
    (data / "boxes.csv").unlink()
    hashes.append(hash_of(data))
    assert len({*hashes}) == 5


# Honesty


def test_another_test_split_changes_no_bit_of_the_chosen_weights(tmp_path: Path) -> None:
    for name, count in (("one", 2), ("other", 3)):
        write_folder(tmp_path / name, splits={"train": 4, "test": count})
    one, other = (
        train(settings(tmp_path / name, tmp_path / f"run {name}", select="val", val_fraction=0.3))
        for name in ("one", "other")
    )
    assert rows(one) == rows(other)
    assert same_bits(one, other, "best")
    assert saved_facts(one, "best") == saved_facts(other, "best")
    scores = [(run / "test" / "metrics.json").read_text() for run in (one, other)]
    assert ['"pictures": 6' in scores[0], '"pictures": 9' in scores[1]] == [True, True]
