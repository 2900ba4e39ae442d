"""YOLO's text files: rows of a class with centre and size, or with a polygon, as fractions of the picture."""

from pathlib import Path

import pytest

from tscam.errors import DataError
from tscam.formats.yolo import read_labels, read_names

NAMES = {0: "cat", 1: "dog", 7: "emu"}


def labels(tmp_path: Path, text: str) -> list[tuple[str | None, list[float]]]:
    path = tmp_path / "a.txt"
    path.write_text(text)
    objects = read_labels(path, names=NAMES, size_wh=(200, 100))
    return [(annotated.category, [round(edge, 9) for edge in annotated.box]) for annotated in objects]


def test_centre_and_size_become_edges_in_pixels(tmp_path: Path) -> None:
    assert labels(tmp_path, "1 0.5 0.5 0.25 0.5\n\n7 0.1 0.2 0.2 0.4\n") == [
        ("dog", [75, 25, 125, 75]), ("emu", [0, 0, 40, 40]),
    ]  # fmt: skip


def test_a_polygon_is_read_as_the_box_around_it(tmp_path: Path) -> None:
    assert labels(tmp_path, "0 0.1 0.5 0.3 0.2 0.25 0.9") == [("cat", [20, 20, 60, 90])]


def test_zeros_are_no_object(tmp_path: Path) -> None:
    assert labels(tmp_path, "0 0 0 0 0") == [("cat", [0, 0, 0, 0])]


def test_edges_may_leave_the_picture_by_a_rounding(tmp_path: Path) -> None:
    assert labels(tmp_path, "0 0.5 0.5 1.000001 1") == [("cat", [0, 0, 200, 100])]


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("0 0.5 0.5 0.5", r"a\.txt:1: 4 values; expected class, x, y, width and height, or class and three points"),
        ("0 0.5 0.5 0.5 0.5 0.9", r"a\.txt:1: 6 values; expected"),
        ("\n0 0.1 0.1 0.2 0.2\n0 0.5 0.5 20 30", r"a\.txt:3: 20 leaves the picture; expected fractions from 0 to 1"),
        ("0 0.5 0.5 -0.1 0.2", r"a\.txt:1: -0\.1 leaves the picture"),
        ("0 0.5 0.5 nan 0.2", r"a\.txt:1: 'nan' is not a finite number"),
        ("5 0.5 0.5 0.1 0.2", r"a\.txt:1: class 5 has no name; named are 0, 1, 7"),
        ("cat 0.5 0.5 0.1 0.2", r"a\.txt:1: 'cat' is not a whole number"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, text: str, refusal: str) -> None:
    with pytest.raises(DataError, match=refusal):
        labels(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("data.yaml", "names: {0: cat, 2: dog}", {0: "cat", 2: "dog"}),
        ("data.yaml", "train: x\nnames:\n- cat\n- 7\n", {0: "cat", 1: "7"}),
        ("data.yaml", "names: {'0': cat}", {0: "cat"}),
        ("classes.txt", "cat\n dog \n\n", {0: "cat", 1: "dog"}),
        ("obj.names", "\ufeffcat\r\ndog", {0: "cat", 1: "dog"}),
    ],
)
def test_names_are_read(tmp_path: Path, name: str, text: str, names: dict[int, str]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_names(tmp_path / name) == names


@pytest.mark.parametrize(
    ("name", "text", "refusal"),
    [
        ("data.yaml", "names: 3", r"data\.yaml: no 'names'; expected a list of class names, or a mapping from numbers"),
        ("data.yaml", "train: x", r"data\.yaml: no 'names'"),
        ("data.yaml", "names: {a: b}", r"data\.yaml: no 'names'"),
        ("data.yaml", "names: [cat, [dog]]", r"data\.yaml: no 'names'"),
        ("data.yaml", "a: &a [1]\nnames: *a", r"data\.yaml: an alias"),
        ("data.yaml", "names: [cat", r"data\.yaml: line 1: "),
        ("data.yaml", "x: " + "y" * 40_000, r"data\.yaml: more than 32,768 bytes"),
    ],
)
def test_broken_names_are_refused(tmp_path: Path, name: str, text: str, refusal: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=refusal):
        read_names(tmp_path / name)
