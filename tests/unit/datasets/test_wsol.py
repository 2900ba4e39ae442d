"""wsolevaluation's metadata: lists → columns, every broken line refused by file and line; and columns → lists."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_sets import WSOL_LISTS, write_cub, write_folder, write_wsol
from tscam.datasets import Dataset, Masks, check_dataset, read_dataset, read_masks, recognize, write_wsol_metadata
from tscam.errors import DataError
from tscam.image import image_size_wh


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_wsol(tmp_path)
    return tmp_path


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    write_wsol(tmp_path, name="OpenImages", masks=True)
    return tmp_path


def replace_line(path: Path, number: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines))


def list_file(root: Path, name: str, *, of: str = "CUB") -> Path:
    return root / "metadata" / of / "test" / f"{name}.txt"


# Reading


def test_pictures_labels_boxes_and_sizes_come_from_the_lists(root: Path) -> None:
    test = read_dataset(root)
    assert (test.name, test.split, len(test)) == ("wsol", "test", 6)
    assert test.image_ids[1] == "001.Bird_1/test_4.png"
    assert test.path(1) == root / "dataset" / "CUB" / "001.Bird_1" / "test_4.png"
    assert test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert test.boxes is not None
    assert [len(boxes) for boxes in test.boxes] == [1, 2, 1, 2, 1, 2]
    assert test.boxes[1][1].tolist() == [1.0, 2.0, 13.0, 11.0]
    assert test.sizes_wh is not None
    assert [tuple(size) for size in test.sizes_wh.tolist()] == [image_size_wh(test.path(index)) for index in range(6)]
    assert test.masks is None


def test_edges_are_read_without_a_shift(root: Path) -> None:
    replace_line(list_file(root, "localization"), 1, "001.Bird_1/test_3.png,60,27.5,385,331")
    boxes = read_dataset(root).boxes
    assert boxes is not None
    np.testing.assert_array_equal(boxes[0], [[60.0, 27.5, 385.0, 331.0]])


def test_masks_are_the_objects_and_the_ignore_mask_of_a_picture(masked: Path) -> None:
    test = read_dataset(masked)
    folder = masked / "dataset" / "OpenImages" / "001.Bird_1"
    assert (test.boxes, test.sizes_wh) == (None, None)
    assert test.masks is not None
    assert test.masks[0] == Masks((folder / "test_3_m0.png",), folder / "test_3_ignore.png")
    assert test.masks[1] == Masks((folder / "test_4_m0.png", folder / "test_4_m1.png"), folder / "test_4_ignore.png")
    foreground, ignored = read_masks(test.masks[1], size_wh=(224, 224), picture_wh=image_size_wh(test.path(1)))
    assert foreground.any()
    assert ignored.any()


def test_an_ignore_mask_that_is_an_object_counts_as_none(masked: Path) -> None:
    path = list_file(masked, "localization", of="OpenImages")
    replace_line(path, 1, "001.Bird_1/test_3.png,001.Bird_1/test_3_m0.png,001.Bird_1/test_3_m0.png")
    masks = read_dataset(masked).masks
    assert masks is not None
    assert masks[0].ignore is None


@pytest.mark.parametrize(("name", "threshold"), [("CUB", 0.10), ("ILSVRC", 0.12), ("OpenImages", 0.10), ("mine", 0.10)])
def test_the_threshold_is_the_published_one(tmp_path: Path, name: str, threshold: float) -> None:
    write_wsol(tmp_path, name=name)
    dataset = read_dataset(tmp_path)
    assert (dataset.threshold, dataset.box_rule) == (threshold, "ilsvrc")


def test_sizes_and_localization_are_optional_lists(root: Path) -> None:
    for name in ("image_sizes", "localization"):
        list_file(root, name).unlink()
    test = read_dataset(root)
    assert (test.boxes, test.masks, test.sizes_wh) == (None, None, None)


def test_an_empty_localization_list_gives_no_boxes(root: Path) -> None:
    list_file(root, "localization").write_text("\n")
    assert read_dataset(root).boxes is None


def test_a_picture_without_a_line_has_no_box(root: Path) -> None:
    replace_line(list_file(root, "localization"), 1, "")
    boxes = read_dataset(root).boxes
    assert boxes is not None
    assert [len(picture_boxes) for picture_boxes in boxes] == [0, 2, 1, 2, 1, 2]


def test_a_subset_keeps_masks_and_sizes_of_its_pictures(root: Path) -> None:
    dataset = replace(read_dataset(root), masks=tuple(Masks((Path(f"{number}.png"),)) for number in range(6)))
    assert dataset.sizes_wh is not None
    part = dataset.subset([4, 1], split="val")
    assert part.masks == (Masks((Path("4.png"),)), Masks((Path("1.png"),)))
    assert part.sizes_wh is not None
    assert part.sizes_wh.tolist() == dataset.sizes_wh[[4, 1]].tolist()


# Folders


def test_the_metadata_folder_is_a_root_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recognize(root / "metadata" / "CUB") == "wsol"
    assert read_dataset(root / "metadata" / "CUB").path(0) == root / "dataset" / "CUB" / "001.Bird_1" / "test_3.png"
    monkeypatch.chdir(root / "metadata")
    assert read_dataset(Path("CUB")).path(0).is_file()
    assert read_dataset(Path("CUB", "..", "CUB")).path(0).is_file()


def test_among_several_metadata_the_one_with_pictures_is_read(root: Path) -> None:
    shutil.copytree(root / "metadata" / "CUB", root / "metadata" / "ILSVRC")
    assert read_dataset(root).image_root.name == "CUB"
    (root / "dataset" / "ILSVRC").mkdir()
    with pytest.raises(
        DataError, match=r": metadata of CUB, ILSVRC; --data takes one of them, such as .*metadata/CUB$"
    ):
        read_dataset(root)
    assert read_dataset(root / "metadata" / "ILSVRC").image_root == root / "dataset" / "ILSVRC"


def test_metadata_without_pictures_are_read(root: Path) -> None:
    shutil.rmtree(root / "dataset")
    assert len(read_dataset(root)) == 6


def test_splits_are_the_existing_folders(root: Path) -> None:
    shutil.rmtree(root / "metadata" / "CUB" / "train")
    assert [split.split for split in check_dataset(root).splits] == ["val", "test"]


def test_a_folder_without_metadata_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    with pytest.raises(
        DataError, match=r": no metadata/<NAME>/<split>/image_ids\.txt; expected wsolevaluation's layout$"
    ):
        read_dataset(tmp_path, name="wsol")


# Class names


def test_a_class_is_named_by_the_folder_of_its_pictures_alone(root: Path) -> None:
    assert read_dataset(root).class_names == ("001.Bird_1", "002.Bird_2", "003.Bird_3")


def move(root: Path, split: str, old: str, new: str) -> None:
    for path in (root / "metadata" / "CUB" / split).iterdir():
        path.write_text(path.read_text().replace(old, new))


def test_the_first_split_with_one_folder_a_class_gives_the_names(root: Path) -> None:
    move(root, "train", "002.Bird_2", "001.Bird_1/x/001.Bird_1")
    move(root, "test", "001.", "others/001.")
    assert read_dataset(root).class_names == ("001.Bird_1", "002.Bird_2", "003.Bird_3")
    move(root, "val", "001.", "val2/n")
    assert read_dataset(root).class_names == ("nBird_1", "002.Bird_2", "003.Bird_3")


def test_without_such_a_split_classes_are_numbers(root: Path) -> None:
    for split in ("train", "val", "test"):
        for number in (1, 2, 3):
            move(root, split, f"00{number}.Bird_{number}/", f"flat/{number}_")
    assert read_dataset(root).class_names == ("0", "1", "2")


def test_a_class_without_pictures_in_any_split_is_refused(root: Path) -> None:
    for split in ("train", "val", "test"):
        move(root, split, ".png,1\n", ".png,7\n")
    with pytest.raises(DataError, match=r"CUB: classes run from 0 to 7 with gaps; expected 0, 1, 2 …"):
        read_dataset(root)


# Refusals


@pytest.mark.parametrize(
    ("name", "line", "text", "refusal"),
    [
        ("image_ids", 2, "001.Bird_1/test_3.png", r"image_ids\.txt:2: '001.Bird_1/test_3.png' is listed twice"),
        ("image_ids", 2, "../../etc/passwd", r"image_ids\.txt:2: '../../etc/passwd' leads out of the data set"),
        ("image_ids", 2, "/etc/passwd", r"image_ids\.txt:2: '/etc/passwd' leads out"),
        ("image_ids", 2, "a,b.png", r"image_ids\.txt:2: 'a,b\.png' has 2 values; expected path$"),
        ("image_ids", 2, "x.png", r"class_labels\.txt:2: '001.Bird_1/test_4.png' is not in image_ids\.txt"),
        ("class_labels", 3, "", r"class_labels\.txt: no line for '002.Bird_2/test_3.png' of image_ids\.txt"),
        ("class_labels", 3, "x.png,1", r"class_labels\.txt:3: 'x\.png' is not in image_ids\.txt"),
        ("class_labels", 3, "002.Bird_2/test_3.png", r"class_labels\.txt:3: .* has 1 values; expected path,class$"),
        ("class_labels", 3, "002.Bird_2/test_3.png,owl", r"class_labels\.txt:3: 'owl' is not a whole number"),
        ("class_labels", 3, "002.Bird_2/test_3.png,-1", r"class_labels\.txt:3: -1; expected 0 to 1000000"),
        ("class_labels", 3, "002.Bird_2/test_3.png,9999999", r"class_labels\.txt:3: 9999999; expected 0 to 1000000"),
        ("class_labels", 3, "002.Bird_2/test_4.png,1", r"class_labels\.txt:4: '002.Bird_2/test_4.png' is listed twice"),
        ("image_sizes", 4, "", r"image_sizes\.txt: no line for '002.Bird_2/test_4.png' of image_ids\.txt"),
        ("image_sizes", 4, "002.Bird_2/test_4.png,0,40", r"image_sizes\.txt:4: 0; expected 1 to 1000000"),
        ("image_sizes", 4, "002.Bird_2/test_4.png,40", r"image_sizes\.txt:4: .* has 2 values; expected path,width,h"),
        ("localization", 1, "x.png,1,2,3,4", r"localization\.txt:1: 'x\.png' is not in image_ids\.txt"),
        ("localization", 1, "001.Bird_1/test_3.png,1,2,3", r"localization\.txt:1: .* has 4 values; expected path,x0"),
        ("localization", 1, "001.Bird_1/test_3.png,9,2,3,4", r"localization\.txt:1: box \(9, 2, 3, 4\) runs backwards"),
        ("localization", 1, "001.Bird_1/test_3.png,1,2,3,nan", r"localization\.txt:1: 'nan' is not a finite number"),
        (
            "localization",
            2,
            "001.Bird_1/test_3.png,a.png,",
            r"localization\.txt:2: .* has 3 values; expected path,x0",
        ),
    ],
)
def test_a_broken_line_is_refused_by_file_and_line(root: Path, name: str, line: int, text: str, refusal: str) -> None:
    replace_line(list_file(root, name), line, text)
    with pytest.raises(DataError, match=refusal):
        read_dataset(root)


@pytest.mark.parametrize(
    ("line", "text", "refusal"),
    [
        (1, "", r"localization\.txt: no line for '001.Bird_1/test_3.png' of image_ids\.txt"),
        (1, "x.png,a.png,", r"localization\.txt:1: 'x\.png' is not in image_ids\.txt"),
        (1, "001.Bird_1/test_3.png,../a.png,", r"localization\.txt:1: '../a\.png' leads out of the data set"),
        (1, "001.Bird_1/test_3.png,,b.png", r"localization\.txt:1: '' leads out of the data set"),
        (1, "001.Bird_1/test_3.png,a.png,/b.png", r"localization\.txt:1: '/b\.png' leads out of the data set"),
        (2, "001.Bird_1/test_3.png,a.png,b.png", r"localization\.txt:2: 'b\.png' in a further line of '001.Bird_1/t"),
        (2, "001.Bird_1/test_3.png,001.Bird_1/test_3_m0.png,", r"localization\.txt:2: the mask '001.* is listed twice"),
        (2, "001.Bird_1/test_3.png,1,2,3,4", r"localization\.txt:2: .* has 5 values; expected path,mask,ignore$"),
    ],
)
def test_a_broken_line_of_masks_is_refused(masked: Path, line: int, text: str, refusal: str) -> None:
    replace_line(list_file(masked, "localization", of="OpenImages"), line, text)
    with pytest.raises(DataError, match=refusal):
        read_dataset(masked)


def test_a_missing_list_of_classes_is_refused(root: Path) -> None:
    list_file(root, "class_labels").unlink()
    with pytest.raises(DataError, match=r"class_labels\.txt: no such file; the data set is incomplete without it$"):
        read_dataset(root)


# Writing


def sizes_of(dataset: Dataset) -> np.ndarray:
    return np.array([image_size_wh(dataset.path(index)) for index in range(len(dataset))])


def lines(folder: Path) -> dict[str, list[str]]:
    return {path.stem: path.read_text().splitlines() for path in folder.iterdir()}


def test_what_is_read_is_written_again_to_the_byte(root: Path, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        dataset = read_dataset(root, split=split)
        assert dataset.sizes_wh is not None
        write_wsol_metadata(dataset, tmp_path / "out", sizes_wh=dataset.sizes_wh)
        assert lines(tmp_path / "out") == lines(root / "metadata" / "CUB" / split)
        assert set(lines(tmp_path / "out")) == set(WSOL_LISTS)


def test_masks_are_written_again_to_the_byte(masked: Path, tmp_path: Path) -> None:
    dataset = read_dataset(masked)
    out = tmp_path / "out"
    write_wsol_metadata(dataset, out, sizes_wh=sizes_of(dataset), mask_root=masked / "dataset" / "OpenImages")
    original = list_file(masked, "localization", of="OpenImages")
    assert (out / "localization.txt").read_text() == original.read_text()


@pytest.mark.parametrize("with_masks", [False, True])
def test_a_data_set_of_another_layout_is_read_back_unchanged(tmp_path: Path, with_masks: bool) -> None:
    cub = read_dataset(write_cub(tmp_path / "birds", masks=True), split="train")
    (tmp_path / "dataset").mkdir()
    pictures = tmp_path / "dataset" / "mine"
    shutil.copytree(cub.image_root, pictures)
    shutil.copytree(cub.root / "segmentations", pictures / "masks")
    assert cub.masks is not None
    masks = tuple(Masks((pictures / "masks" / file.relative_to(cub.root / "segmentations"),)) for (file,) in
                  (picture_masks.objects for picture_masks in cub.masks))  # fmt: skip
    write_wsol_metadata(
        replace(cub, masks=masks), tmp_path / "metadata" / "mine" / "train", sizes_wh=sizes_of(cub),
        mask_root=pictures if with_masks else None,
    )  # fmt: skip
    written = read_dataset(tmp_path, split="train")
    assert (written.image_ids, written.class_names, written.image_root) == (cub.image_ids, cub.class_names, pictures)
    assert written.labels.tolist() == cub.labels.tolist()
    assert written.sizes_wh is not None
    assert written.sizes_wh.tolist() == sizes_of(cub).tolist()
    assert written.masks == (masks if with_masks else None)
    assert (written.boxes is None) == with_masks
    if written.boxes is not None:
        assert cub.boxes is not None
        assert [boxes.tolist() for boxes in written.boxes] == [boxes.tolist() for boxes in cub.boxes]


def read_like_wsolevaluation(folder: Path) -> tuple[dict[str, list[tuple[int, ...]]], dict[str, tuple[int, ...]]]:
    """Read boxes and sizes as wsolevaluation does: split at commas, whole numbers alone."""
    boxes: dict[str, list[tuple[int, ...]]] = {}
    for line in (folder / "localization.txt").read_text().splitlines():
        image_id, *edges = line.split(",")
        boxes.setdefault(image_id, []).append(tuple(int(edge) for edge in edges))
    sizes = (line.split(",") for line in (folder / "image_sizes.txt").read_text().splitlines())
    return boxes, {image_id: (int(width), int(height)) for image_id, width, height in sizes}


def test_wsolevaluation_reads_whole_edges_of_boxes_with_fractions(root: Path, tmp_path: Path) -> None:
    dataset = read_dataset(root)
    assert dataset.boxes is not None
    boxes = (np.array([[1.4, 2.6, 30.5, 31.5], [0.0, 0.0, 77.0, 9.49]]), np.zeros((0, 4)), *dataset.boxes[2:])
    write_wsol_metadata(replace(dataset, boxes=boxes), tmp_path / "out", sizes_wh=sizes_of(dataset))
    edges, sizes = read_like_wsolevaluation(tmp_path / "out")
    assert edges[dataset.image_ids[0]] == [(1, 3, 30, 32), (0, 0, 77, 9)]
    assert dataset.image_ids[1] not in edges
    assert sizes[dataset.image_ids[0]] == image_size_wh(dataset.path(0))


def test_every_picture_of_masks_has_an_ignore_mask_as_wsolevaluation_needs(tmp_path: Path) -> None:
    dataset = read_dataset(write_cub(tmp_path, masks=True))
    write_wsol_metadata(dataset, tmp_path / "out", sizes_wh=sizes_of(dataset), mask_root=tmp_path / "segmentations")
    first = (tmp_path / "out" / "localization.txt").read_text().splitlines()[0]
    assert first == "001.Bird_1/Bird_1_0002.jpg,001.Bird_1/Bird_1_0002.png,001.Bird_1/Bird_1_0002.png"


def test_without_boxes_no_localization_list_is_written(root: Path, tmp_path: Path) -> None:
    dataset = replace(read_dataset(root), boxes=None)
    write_wsol_metadata(dataset, tmp_path / "out", sizes_wh=sizes_of(dataset))
    assert set(lines(tmp_path / "out")) == {"image_ids", "class_labels", "image_sizes"}


@pytest.mark.parametrize("image_id", ["a,b.png", "a\nb.png", "a\rb.png", " a.png", "a.png "])
def test_an_id_that_a_list_cannot_express_is_refused_and_nothing_is_written(
    root: Path, tmp_path: Path, image_id: str
) -> None:
    dataset = read_dataset(root)
    dataset = replace(dataset, image_ids=(image_id, *dataset.image_ids[1:]))
    assert dataset.sizes_wh is not None
    with pytest.raises(
        DataError, match=r"^'.*': a comma, a line break or a blank at an end, which no such list can express"
    ):
        write_wsol_metadata(dataset, tmp_path / "out", sizes_wh=dataset.sizes_wh)
    assert not (tmp_path / "out").exists()


def test_boxes_and_masks_that_wsolevaluation_cannot_read_are_refused(root: Path, tmp_path: Path) -> None:
    dataset = read_dataset(root)
    assert dataset.boxes is not None
    outside = replace(dataset, boxes=(np.array([[-1.0, 2.0, 3.0, 4.0]]), *dataset.boxes[1:]))
    elsewhere = replace(dataset, masks=(Masks((root / "a.png",)),) * 6)
    empty = replace(dataset, masks=(Masks(()),) * 6)
    for unwritable, mask_root, refusal in (
        (outside, None, r"'001.Bird_1/test_3.png': box \(-1, 2, 3, 4\) leaves the picture"),
        (dataset, root, r": no masks for split 'test'; leave mask_root out to write boxes$"),
        (
            elsewhere,
            root / "dataset",
            r"a\.png: not below .*dataset; wsolevaluation looks for all masks below one folder$",
        ),
        (empty, root, r"'001.Bird_1/test_3.png': no mask of an object"),
    ):
        with pytest.raises(DataError, match=refusal):
            write_wsol_metadata(unwritable, tmp_path / "out", sizes_wh=sizes_of(dataset), mask_root=mask_root)
    assert not (tmp_path / "out").exists()
