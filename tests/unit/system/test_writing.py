"""Files are whole or unchanged; output folders are refused rather than mixed or emptied by mistake."""

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tscam.errors import OutputError
from tscam.system.writing import claim_output, write_csv, write_json, write_text_atomically


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_text_is_written_as_utf_8_with_the_line_ends_it_has(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "deep" / "a.txt", "лиса\r\n🦊\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "лиса\r\n🦊\n".encode()


def test_undecodable_bytes_of_a_file_name_are_written_as_escapes(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "a.txt", os.fsdecode(b"\xff.jpg"))
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == r"\udcff.jpg"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(os, call, disk_full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        write_text_atomically(tmp_path / "a.txt", "new")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_interrupt_between_write_and_rename_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text_atomically(tmp_path / "a.txt", "new")
    assert names(tmp_path) == []


def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text_atomically(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["folder", "file/below.txt", "nul\0.txt", "x" * 300])
def test_a_path_that_cannot_be_written_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written") as caught:
        write_text_atomically(tmp_path / name, "text")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file", "folder"]


def test_json_is_ascii_so_that_any_encoding_reads_it(tmp_path: Path) -> None:
    content = {"name": "лиса 🦊", "score": 0.1, "lost": os.fsdecode(b"\xff")}
    write_json(tmp_path / "a.json", content)
    assert (tmp_path / "a.json").read_bytes().isascii()
    assert json.loads((tmp_path / "a.json").read_text()) == content


@pytest.mark.parametrize("number", [np.float32(1.5), np.int64(2), float("nan"), float("inf")])
def test_json_refuses_numbers_that_are_not_plain(number: float, tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError)):
        write_json(tmp_path / "a.json", [number])
    assert names(tmp_path) == []


def test_csv_cells_that_a_spreadsheet_would_run_are_escaped_and_numbers_are_not(tmp_path: Path) -> None:
    hostile = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]
    plain = 'a,b\n"c"\0'
    write_csv(tmp_path / "a.csv", ["=name", "b"], [*[(text, -2.5) for text in hostile], (plain, None)])
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["'=name", "b"], *[[f"'{text}", "-2.5"] for text in hostile], [plain, ""]]


def test_csv_cells_with_a_formula_sign_inside_are_unchanged(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["a"], [["a=b+c-d@e"]])
    assert (tmp_path / "a.csv").read_text() == "a\na=b+c-d@e\n"


def test_a_new_folder_is_made_with_its_parents_and_returned_as_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert claim_output(Path("a/b"), overwrite=False) == tmp_path / "a" / "b"
    assert claim_output(Path("a/b"), overwrite=False) == tmp_path / "a" / "b"
    assert names(tmp_path / "a" / "b") == []


def test_a_folder_with_files_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    with pytest.raises(OutputError, match=r"not empty; .* --overwrite"):
        claim_output(tmp_path, overwrite=False)
    assert names(tmp_path) == [".hidden"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_the_way_is_refused_and_stays(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(OutputError, match="a file; the output is a folder"):
        claim_output(tmp_path / "out", overwrite=overwrite)
    with pytest.raises(OutputError, match="cannot be used for output"):
        claim_output(tmp_path / "out" / "below", overwrite=overwrite)
    assert (tmp_path / "out").read_text() == "precious"


def test_overwrite_empties_the_folder_and_keeps_the_targets_of_links(tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    (out / "deep" / "deeper").mkdir(parents=True)
    (out / "deep" / "deeper" / "a.txt").touch()
    outside.mkdir()
    (outside / "precious.txt").touch()
    (out / "link").symlink_to(outside, target_is_directory=True)
    (out / "deep" / "link").symlink_to(outside, target_is_directory=True)
    (out / "broken").symlink_to(tmp_path / "nowhere")
    assert claim_output(out, overwrite=True) == out
    assert names(out) == []
    assert names(outside) == ["precious.txt"]


def test_overwrite_never_empties_the_current_folder_its_parents_or_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "one" / "here", tmp_path / "two" / "home"
    here.mkdir(parents=True)
    home.mkdir(parents=True)
    (here / "a.txt").touch()
    (home / "b.txt").touch()
    (tmp_path / "link").symlink_to(here.parent, target_is_directory=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    guarded = [Path(), here, here / ".." / "here", Path(".."), here.parent, tmp_path / "link", tmp_path]
    for folder in [*guarded, home, home.parent, Path(here.anchor)]:
        with pytest.raises(OutputError, match="--overwrite would empty"):
            claim_output(folder, overwrite=True)
    assert names(here) == ["a.txt"]
    assert names(home) == ["b.txt"]


def test_dots_after_a_link_mean_what_the_system_means_by_them(tmp_path: Path) -> None:
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "below", target_is_directory=True)
    assert claim_output(tmp_path / "link" / ".." / "out", overwrite=False) == tmp_path / "real" / "out"


@pytest.mark.parametrize("name", ["nul\0", "x" * 300])
def test_a_folder_that_cannot_be_made_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be used for output") as caught:
        claim_output(tmp_path / name, overwrite=False)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_emptied_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "a.txt").touch()
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        claim_output(tmp_path, overwrite=True)


def test_overwrite_never_empties_an_input(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "train").mkdir(parents=True)
    (data / "train" / "a.jpg").touch()
    (tmp_path / "link").symlink_to(data, target_is_directory=True)
    for folder in (data, data / "train", tmp_path, tmp_path / "link"):
        for source in (data, tmp_path / "link"):
            with pytest.raises(OutputError, match="--overwrite would empty the input"):
                claim_output(folder, overwrite=True, inputs=(source,))
    with pytest.raises(OutputError, match="--overwrite would empty the input"):
        claim_output(data, overwrite=True, inputs=(data / "train" / "a.jpg",))
    assert names(data / "train") == ["a.jpg"]
