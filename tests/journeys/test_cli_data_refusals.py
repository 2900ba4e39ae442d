"""Data that cannot be used are refused in one line that names file and line, and nothing is left behind."""

from pathlib import Path

import pytest

from command_line import Call, assert_refused
from data_sets import write_cub, write_folder, write_imagenet
from mistakes import Case
from tscam.system.output_folder import locked


@pytest.mark.parametrize("verb", ["train", "evaluate", "check", "localize"])
@pytest.mark.parametrize("exists", [False, True])
def test_a_missing_or_empty_folder_of_data_is_refused(case: Case, tscam: Call, verb: str, *, exists: bool) -> None:
    if exists:
        case.data.mkdir()
    calls: dict[str, list[str | Path]] = {
        "train": case.train(),
        "evaluate": case.evaluate(),
        "check": ["check", case.data],
        "localize": case.localize(of=""),
    }
    missing, empty = "no such folder", "an empty folder"
    if verb == "localize":
        missing, empty = "no such file or folder", "no pictures in this folder"
    assert_refused(tscam(*calls[verb]), f"{case.data}: {empty if exists else missing}")
    assert not case.out.exists()


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
    case: Case, tscam: Call, verb: str, name: str
) -> None:
    write_cub(case.data)
    number, text, message = BROKEN_LINES[name]
    replace_line(case.data / name, number, text)
    calls: dict[str, list[str | Path]] = {
        "train": case.train(),
        "evaluate": case.evaluate(),
        "check": ["check", case.data],
    }
    answer = tscam(*calls[verb])
    assert_refused(answer, message)
    assert f"{case.data / name}:{number}: " in answer.err
    assert not case.out.exists()


def test_a_label_of_imagenets_list_out_of_range_is_refused_with_file_and_line(case: Case, tscam: Call) -> None:
    write_imagenet(case.data)
    path = case.data / "ILSVRC2012_list" / "val_folder_new.txt"
    replace_line(path, 2, path.read_text().splitlines()[1].replace(" 0 ", " 3 ", 1))
    assert_refused(tscam(*case.evaluate()), f"{path}:2: label 3; expected 0 to 2")
    assert not case.out.exists()


def test_a_broken_row_of_boxes_is_refused_with_file_and_line(case: Case, tscam: Call) -> None:
    write_folder(case.data, splits={"train": 2, "test": 1})
    replace_line(case.data / "boxes.csv", 4, "train/dog/dog_0_0.png,30,5,20,9")
    for arguments in (case.train(), case.evaluate()):
        answer = tscam(*arguments)
        assert_refused(answer, f"{case.data / 'boxes.csv'}:4: box (30, 5, 20, 9) runs backwards")
    assert not case.out.exists()


def test_a_picture_that_cannot_be_decoded_stops_training_and_evaluation(case: Case, tscam: Call) -> None:
    write_folder(case.data, splits={"train": 2, "test": 2})
    path = case.data / "test" / "emu" / "emu_1_1.png"
    path.write_bytes(path.read_bytes()[:-100])
    for arguments, progress in ((case.train(), "reading all 12 pictures once\n"), (case.evaluate(), "")):
        assert_refused(tscam(*arguments), "'test/emu/emu_1_1.png'", after=progress)
        assert not case.out.exists()


def test_a_run_folder_that_cannot_be_claimed_is_refused_before_any_picture_is_read(case: Case, tscam: Call) -> None:
    write_folder(case.data, splits={"train": 2, "test": 1})
    case.out.mkdir()
    (case.out / "thesis.txt").touch()
    assert_refused(tscam(*case.train()), f"{case.out}: the folder is not empty; choose another one")
    into_data = ["train", case.run.parent / "tiny.yaml", "--data", case.data, "--out", case.data]
    assert_refused(tscam(*into_data), f"{case.data}: the folder is not empty")
    message = f"--overwrite would empty the input {case.data}; choose another folder"
    assert_refused(tscam(*into_data, "--overwrite"), message)
    assert sorted(path.name for path in case.data.iterdir()) == ["boxes.csv", "test", "train"]
    with locked(case.out):
        busy = tscam(*case.train("--overwrite"))
    assert_refused(busy, "another run is writing here; wait until it has ended, or choose another folder")
    assert (case.out / "thesis.txt").exists()


def test_a_picture_without_a_box_counts_for_classification(case: Case, tscam: Call) -> None:
    write_folder(case.data, splits={"test": 2})
    lines = (case.data / "boxes.csv").read_text().splitlines()
    (case.data / "boxes.csv").write_text("\n".join(line for line in lines if "dog_0_1" not in line))
    answer = tscam(*case.evaluate("--overwrite"))
    assert answer.code == 0, answer
    message = "split 'test': 5 of 6 pictures have an object; the others count for classification, not for localization"
    assert message in answer.out
