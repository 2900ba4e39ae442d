"""Folders are searched at any depth; links are followed once, hidden names left out, other files counted by ending."""

from pathlib import Path

import pytest

from tscam.errors import DataError
from tscam.picture_files import count_endings, walk


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_pictures_and_other_files_are_listed_sorted_by_their_path(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a/z.JPG", "a/y/1.webp", "a/b.png", "ä.png", "a/notes.txt", "readme", "a.b/c.PNG")
    files = walk(tmp_path)
    assert files.pictures == ["a/b.png", "a/y/1.webp", "a/z.JPG", "a.b/c.PNG", "b.png", "ä.png"]
    assert files.others == ["a/notes.txt", "readme"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "._a.png", ".thumbnails/a.png", "b/.c/d.png", "b/.DS_Store")
    files = walk(tmp_path)
    assert (files.pictures, files.others) == (["a.png"], [])


def test_a_folder_is_entered_once_whatever_leads_to_it(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "x.png")
    touch(tmp_path / "root", "a/b.png", "a/c/d.png")
    for link, target in (
        ("a/loop", "root/a"), ("up", "root"), ("linked", "elsewhere"), ("twice", "elsewhere"), ("self", "root/self"),
    ):  # fmt: skip
        (tmp_path / "root" / link).symlink_to(tmp_path / target)
    files = walk(tmp_path / "root")
    assert files.pictures == ["a/b.png", "a/c/d.png", "linked/x.png"]
    assert files.others == ["self"]


def test_folders_that_are_searched_on_their_own_are_not_entered(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "cat" / "more").symlink_to(tmp_path / "dog")
    entered = {str(tmp_path / "dog")}
    assert walk(tmp_path / "cat", entered=entered).pictures == ["a.png"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: cannot be listed"):
        walk(tmp_path / "nowhere")


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/\udcff.png")
    with pytest.raises(DataError, match=r"a: the name b'\\xff\.png' is not UTF-8; rename it"):
        walk(tmp_path)


def test_endings_are_counted_the_most_frequent_first() -> None:
    names = ["a.txt", "b/c.TXT", "d.heif", "readme", "x.tar.gz", "e.txt"]
    assert count_endings(names) == "3 .txt, 1 .gz, 1 .heif, 1 without ending"
    assert count_endings([f"a.{letter}" for letter in "abcdefghijkl"]).endswith("1 .h and 4 more endings")
