"""Data that cannot be used are refused in one line that names the place, and nothing is left behind."""

from pathlib import Path

import pytest

from command_line import Call, assert_refused
from data_sets import write_cub, write_folder, write_imagenet
from mistakes import Place
from tscam.system.writing import locked


@pytest.mark.parametrize("verb", ["train", "evaluate", "check", "localize"])
@pytest.mark.parametrize("there", [False, True])
def test_a_missing_or_empty_folder_of_data_is_refused(place: Place, tscam: Call, verb: str, *, there: bool) -> None:
    if there:
        place.data.mkdir()
    calls: dict[str, list[str | Path]] = {
        "train": place.train(),
        "evaluate": place.evaluate(),
        "check": ["check", place.data],
        "localize": place.localize(of=""),
    }
    missing, empty = "no such folder", "an empty folder"
    if verb == "localize":
        missing, empty = "no such file or folder", "no pictures in this folder"
    assert_refused(tscam(*calls[verb]), f"{place.data}: {empty if there else missing}")
    assert not place.out.exists()


def replace_line(path: Path, number: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines))


BROKEN_LINES = {
    "bounding_boxes.txt": (3, "3 1.0 nan 5.0 5.0", "'nan' is not a finite number"),
    "image_class_labels.txt": (4, "4 99", "class 99; classes.txt lists 1 to 3"),
    "train_test_split.txt": (2, "2 maybe", "split 'maybe'; expected 1 for training or 0 for test"),
    "images.txt": (5, "5 ../../etc/passwd", "leads out of the data set"),
}


@pytest.mark.parametrize("name", BROKEN_LINES)
@pytest.mark.parametrize("verb", ["train", "evaluate", "check"])
def test_a_broken_line_of_cubs_lists_is_refused_with_file_and_line(
    place: Place, tscam: Call, verb: str, name: str
) -> None:
    write_cub(place.data)
    number, text, said = BROKEN_LINES[name]
    replace_line(place.data / name, number, text)
    calls: dict[str, list[str | Path]] = {
        "train": place.train(),
        "evaluate": place.evaluate(),
        "check": ["check", place.data],
    }
    answer = tscam(*calls[verb])
    assert_refused(answer, said)
    assert f"{place.data / name}:{number}: " in answer.err
    assert not place.out.exists()


def test_a_label_of_imagenets_list_out_of_range_is_refused_with_file_and_line(place: Place, tscam: Call) -> None:
    write_imagenet(place.data)
    path = place.data / "ILSVRC2012_list" / "val_folder_new.txt"
    replace_line(path, 2, path.read_text().splitlines()[1].replace(" 0 ", " 3 ", 1))
    assert_refused(tscam(*place.evaluate()), f"{path}:2: label 3; expected 0 to 2")
    assert not place.out.exists()


def test_a_broken_row_of_boxes_is_refused_with_file_and_line(place: Place, tscam: Call) -> None:
    write_folder(place.data, splits={"train": 2, "test": 1})
    replace_line(place.data / "boxes.csv", 4, "train/dog/dog_0_0.png,30,5,20,9")
    for arguments in (place.train(), place.evaluate()):
        answer = tscam(*arguments)
        assert_refused(answer, f"{place.data / 'boxes.csv'}:4: box (30, 5, 20, 9) runs backwards")
    assert not place.out.exists()


def test_a_picture_that_cannot_be_decoded_stops_training_and_evaluation(place: Place, tscam: Call) -> None:
    write_folder(place.data, splits={"train": 2, "test": 2})
    path = place.data / "test" / "emu" / "emu_1_1.png"
    path.write_bytes(path.read_bytes()[:-100])
    for arguments, progress in ((place.train(), "reading all 12 pictures once\n"), (place.evaluate(), "")):
        assert_refused(tscam(*arguments), "'test/emu/emu_1_1.png'", after=progress)
        assert not place.out.exists()


def test_a_run_folder_that_cannot_be_taken_is_refused_before_any_picture_is_read(place: Place, tscam: Call) -> None:
    write_folder(place.data, splits={"train": 2, "test": 1})
    place.out.mkdir()
    (place.out / "thesis.txt").touch()
    assert_refused(tscam(*place.train()), f"{place.out}: the folder is not empty; choose another one")
    into_data = ["train", place.run.parent / "tiny.yaml", "--data", place.data, "--out", place.data]
    assert_refused(tscam(*into_data), f"{place.data}: the folder is not empty")
    said = f"--overwrite would empty the input {place.data}; choose another folder"
    assert_refused(tscam(*into_data, "--overwrite"), said)
    assert sorted(path.name for path in place.data.iterdir()) == ["boxes.csv", "test", "train"]
    with locked(place.out):
        busy = tscam(*place.train("--overwrite"))
    assert_refused(busy, "another run is writing here; wait until it has ended, or choose another folder")
    assert (place.out / "thesis.txt").exists()


def test_a_picture_without_a_box_counts_for_classification(place: Place, tscam: Call) -> None:
    write_folder(place.data, splits={"test": 2})
    lines = (place.data / "boxes.csv").read_text().splitlines()
    (place.data / "boxes.csv").write_text("\n".join(line for line in lines if "dog_0_1" not in line))
    answer = tscam(*place.evaluate("--overwrite"))
    assert answer.code == 0, answer
    said = "split 'test': 5 of 6 pictures have an object; the others count for classification, not for localization"
    assert said in answer.out
