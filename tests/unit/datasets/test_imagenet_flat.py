"""A flat `val/` of ImageNet takes its labels from `val.txt` or from the development kit, as they are downloaded."""

import builtins
import zlib
from pathlib import Path

import numpy as np
import pytest

from data_sets import draw_picture, val_name, wnid, write_kaggle_imagenet
from tscam.datasets import check_dataset, read_dataset, recognize
from tscam.errors import DataError

io = pytest.importorskip("scipy.io")

LABELS = (2, 0, 1, 2, 0)  # Of the pictures of `val/`, by the number of the class in the order of sorted wnids.


def write_flat(root: Path, *, train: bool = True) -> Path:
    """Write `train/` with three classes, and a flat `val/` without labels."""
    for class_id in range(3 if train else 0):
        draw_picture(root / "train" / wnid(class_id) / f"{class_id}.JPEG", class_id=class_id)
    for index, label in enumerate(LABELS):
        draw_picture(root / "val" / f"{val_name(index)}.JPEG", class_id=label, seed=index)
    return root


def write_val_txt(path: Path, row: str = "{name}.JPEG {label}") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row.format(name=val_name(index), label=label, wnid=wnid(label)) for index, label in enumerate(LABELS)]
    path.write_text("\n".join(rows) + "\n")


def write_devkit(folder: Path, *, ids: dict[int, str], labels: tuple[int, ...]) -> None:
    """Write the ground truth, and `meta.mat` with a wnid for each id; the kit does not number sorted wnids."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{label}\n" for label in labels))
    synsets = np.zeros((len(ids), 1), dtype=[("ILSVRC2012_ID", object), ("WNID", object), ("words", object)])
    for row, (number, name) in enumerate(ids.items()):
        synsets[row, 0] = (float(number), name, "a word, n00000000")
    io.savemat(folder / "meta.mat", {"synsets": synsets}, do_compression=True)


@pytest.mark.parametrize("row", ["{name}.JPEG {label}", "val/{name}.JPEG {label}", "{name}.JPEG {wnid}"])
@pytest.mark.parametrize("place", ["val.txt", "val/val.txt", "ILSVRC2012_list/val.txt", "caffe_ilsvrc12/val.txt"])
def test_val_txt_labels_pictures_by_sorted_wnids(tmp_path: Path, place: str, row: str) -> None:
    write_val_txt(write_flat(tmp_path) / place, row)
    assert recognize(tmp_path) == "imagenet"
    dataset = read_dataset(tmp_path)
    assert dataset.class_names == (wnid(0), wnid(1), wnid(2))
    assert dataset.labels.tolist() == list(LABELS)
    assert dataset.boxes is None
    assert dataset.notes == ()
    assert check_dataset(tmp_path).usable


def test_numbers_follow_the_order_of_wnids_where_train_txt_has_another_one(tmp_path: Path) -> None:
    write_val_txt(write_flat(tmp_path) / "val.txt")
    (tmp_path / "ILSVRC2012_list").mkdir()
    rows = [f"{wnid(class_id)}/{class_id}.JPEG {number}" for number, class_id in enumerate((1, 2, 0))]
    (tmp_path / "ILSVRC2012_list" / "train.txt").write_text("\n".join(rows))
    dataset = read_dataset(tmp_path)
    assert dataset.class_names == (wnid(1), wnid(2), wnid(0))
    assert [dataset.class_names[label] for label in dataset.labels] == [wnid(label) for label in LABELS]


@pytest.mark.parametrize("row", ["{name}.JPEG {label}", "{name}.JPEG {wnid}"])
def test_val_alone_is_read(tmp_path: Path, row: str) -> None:
    write_val_txt(write_flat(tmp_path, train=False) / "val.txt", row)
    dataset = read_dataset(tmp_path)
    assert dataset.class_names == (("0", "1", "2") if "label" in row else (wnid(0), wnid(1), wnid(2)))
    assert dataset.labels.tolist() == list(LABELS)


def test_kaggles_tree_takes_val_txt_beside_its_pictures(tmp_path: Path) -> None:
    write_kaggle_imagenet(tmp_path, classes=3, val=1, boxes="none")
    rows = [f"{val_name(class_id)}.JPEG {class_id}" for class_id in range(3)]
    (tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "val.txt").write_text("\n".join(rows))
    assert read_dataset(tmp_path, split="val").labels.tolist() == [0, 1, 2]


def test_annotations_come_before_val_txt_and_may_not_contradict_it(tmp_path: Path) -> None:
    write_kaggle_imagenet(tmp_path, classes=3, val=1)
    rows = [f"{val_name(class_id)}.JPEG {class_id}" for class_id in range(3)]
    (tmp_path / "val.txt").write_text("\n".join(rows))
    dataset = read_dataset(tmp_path, split="val")
    assert [len(boxes) for boxes in dataset.boxes or ()] == [1, 1, 1]
    (tmp_path / "val.txt").write_text("\n".join([*rows[:2], f"{val_name(2)}.JPEG 0"]))
    with pytest.raises(DataError, match=rf"val\.txt: {val_name(2)} is of {wnid(0)}, but annotated as {wnid(2)}"):
        read_dataset(tmp_path, split="val")


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (f"{val_name(0)}.JPEG", r"val\.txt:1: 'ILSVRC2012_val_00000001\.JPEG'; expected 'name\.JPEG label'"),
        (f"{val_name(0)}.JPEG x", r"val\.txt:1: 'x' is not a whole number"),
        (f"{val_name(0)}.JPEG 3", r"val\.txt:1: label 3; expected 0 to 2, the number of a wnid of train/ in order"),
        (f"{val_name(0)}.JPEG n99999999", r"val\.txt:1: n99999999 is none of the 3 classes of train/"),
        (f"{val_name(0)}.JPEG 1\n{val_name(0)}.JPEG 1", r"val\.txt:2: 'ILSVRC2012_val_00000001\.JPEG' is listed twice"),
        (f"{val_name(0)}.JPEG 1", r"val/ILSVRC2012_val_00000002\.JPEG: no label in .*val\.txt"),
        ("../a.JPEG 1", r"val\.txt:1: '\.\./a\.JPEG' leads out of the data set"),
    ],
)  # fmt: skip
def test_a_broken_val_txt_is_named(tmp_path: Path, text: str, refusal: str) -> None:
    (write_flat(tmp_path) / "val.txt").write_text(text)
    with pytest.raises(DataError, match=refusal):
        read_dataset(tmp_path)


def test_without_any_labels_the_ways_out_are_named(tmp_path: Path) -> None:
    write_flat(tmp_path)
    with pytest.raises(
        DataError, match=r"no label; expected pictures in val/<wnid>/, or .*val\.txt.*ground_truth\.txt"
    ):
        read_dataset(tmp_path)


# The development kit

IDS = {1: wnid(2), 2: wnid(0), 3: wnid(1), 4: "n00000001"}  # The last one is a higher synset without pictures.


@pytest.mark.parametrize("place", ["", "data", "ILSVRC2012_devkit_t12/data"])
@pytest.mark.parametrize("train", [True, False])
def test_the_ground_truth_of_the_kit_is_read_by_its_own_numbers(tmp_path: Path, place: str, *, train: bool) -> None:
    write_flat(tmp_path, train=train)
    numbers = {name: number for number, name in IDS.items()}
    write_devkit(tmp_path / place, ids=IDS, labels=tuple(numbers[wnid(label)] for label in LABELS))
    dataset = read_dataset(tmp_path)
    assert dataset.class_names == (wnid(0), wnid(1), wnid(2))
    assert dataset.labels.tolist() == list(LABELS)


def test_a_part_of_the_pictures_keeps_its_lines(tmp_path: Path) -> None:
    write_flat(tmp_path)
    numbers = {name: number for number, name in IDS.items()}
    write_devkit(tmp_path, ids=IDS, labels=tuple(numbers[wnid(label)] for label in LABELS))
    (tmp_path / "val" / f"{val_name(1)}.JPEG").unlink()
    assert read_dataset(tmp_path).labels.tolist() == [LABELS[0], *LABELS[2:]]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda folder: (folder / "meta.mat").unlink(), r".txt: its numbers are not in the order of wnids.*; add"),
        (lambda folder: (folder / "meta.mat").write_bytes(b"x" * 300), r"meta\.mat: not the file of the development"),
        (lambda folder: io.savemat(folder / "meta.mat", {"a": 1}), r"meta\.mat: not the file of the development kit"),
        (lambda folder: _rewrite(folder, "7\n" * 5), r"ground_truth\.txt:1: number 7; meta\.mat has 1 to 4"),
        (lambda folder: _rewrite(folder, "1\n2\n"), r"00000003\.JPEG: no line 3 in .*ground_truth\.txt"),
        (lambda folder: draw_picture(folder / "val" / "mine.JPEG"), r"mine\.JPEG: no number of a line .*truth\.txt"),
    ],
)  # fmt: skip
def test_a_broken_kit_is_named(tmp_path: Path, change: object, refusal: str) -> None:
    assert callable(change)
    write_flat(tmp_path)
    write_devkit(tmp_path, ids=IDS, labels=(1, 2, 3, 1, 2))
    change(tmp_path)
    with pytest.raises(DataError, match=refusal):
        read_dataset(tmp_path)


def _rewrite(folder: Path, text: str) -> None:
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(text)


def test_a_meta_mat_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    write_flat(tmp_path)
    write_devkit(tmp_path, ids=IDS, labels=(1, 2, 3, 1, 2))
    packed = zlib.compress(b"\0" * 200_000_000, 9)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    element = (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed
    (tmp_path / "meta.mat").write_bytes(header + element)
    with pytest.raises(DataError, match=r"meta\.mat: unpacks to more than"):
        read_dataset(tmp_path)


def test_without_scipy_the_ways_out_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_flat(tmp_path)
    write_devkit(tmp_path, ids=IDS, labels=(1, 2, 3, 1, 2))
    real_import = builtins.__import__

    def without_scipy(name: str, *args: object) -> object:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real_import(name, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(DataError, match=r"meta\.mat: scipy is needed to read it; `pip install scipy`, or add val\.txt"):
        read_dataset(tmp_path)
