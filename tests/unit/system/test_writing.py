"""Files are whole or unchanged."""

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tscam.errors import OutputError
from tscam.system.writing import write_csv, write_json, write_new_json, write_text_atomically


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


def test_a_new_file_never_replaces_one_that_appears_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def be_late(handle: int) -> None:
        fsync(handle)
        (tmp_path / "a.json").write_text("theirs")

    write_new_json(tmp_path / "b.json", [1])
    assert (tmp_path / "b.json").read_text() == "[1]\n"
    monkeypatch.setattr(os, "fsync", be_late)
    with pytest.raises(OutputError, match=r"a file of this name exists; choose another name$"):
        write_new_json(tmp_path / "a.json", [2])
    assert (tmp_path / "a.json").read_text() == "theirs"
    assert names(tmp_path) == ["a.json", "b.json"]


def test_a_new_file_is_written_on_a_disk_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_new_json(tmp_path / "a.json", {"score": 1.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"score": 1.5}
    with pytest.raises(OutputError, match="a file of this name exists"):
        write_new_json(tmp_path / "a.json", {})
    assert names(tmp_path) == ["a.json"]


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
