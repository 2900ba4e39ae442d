"""Lines come back in order, as often as they are asked for; a kill or a full disk loses none that is finished."""

import csv
import resource
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults import in_child
from tscam.errors import OutputError
from tscam.system.lines import LineFile, RowFile
from unbroken import append_then_die


@contextmanager
def files_of_at_most(size: int) -> Generator[None]:
    """Let this process write files of so many bytes alone; the system then refuses as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("is_temporary", [False, True])
def test_lines_come_back_in_order_and_again(is_temporary: bool, tmp_path: Path) -> None:
    with LineFile.without_name() if is_temporary else LineFile(tmp_path / "lines") as lines:
        assert (len(lines), list(lines)) == (0, [])
        contents = [b"x" * 7 * number for number in range(700)]  # together longer than what is read at once
        for content in contents:
            lines.append(content)
        assert len(lines) == 700
        for _ in range(2):
            assert list(lines) == contents
        walk = iter(lines)
        assert [next(walk), next(walk)] == contents[:2]
        lines.append("лиса".encode())
        assert list(lines)[-1] == "лиса".encode()


def test_a_temporary_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with LineFile.without_name() as lines:
        lines.append(bytes(100_000))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torn", [b"", b"{", b'{"image": "a', b"x" * 2**20])
def test_a_torn_last_line_is_cut_off_when_the_file_is_opened(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n" + torn)
    with LineFile(path) as lines:
        assert path.read_bytes() == b"one\ntwo\n"
        assert len(lines) == 2
        lines.append(b"three")
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_file_of_a_torn_line_alone_is_empty(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"on")
    with LineFile(tmp_path / "lines") as lines:
        assert len(lines) == 0
    assert (tmp_path / "lines").read_bytes() == b""


def test_the_first_lines_can_be_kept_alone(tmp_path: Path) -> None:
    with LineFile(tmp_path / "lines") as lines:
        for content in (b"a", b"", b"ccc"):
            lines.append(content)
        lines.truncate(7)
        assert list(lines) == [b"a", b"", b"ccc"]
        lines.truncate(2)
        lines.append(b"dd")
        assert list(lines) == [b"a", b"", b"dd"]
    assert (tmp_path / "lines").read_bytes() == b"a\n\ndd\n"


def test_a_kill_loses_no_line_and_no_row(tmp_path: Path) -> None:
    assert in_child(append_then_die, tmp_path, 9).code == -9
    assert (tmp_path / "lines").read_text() == "".join(f"{number}\n" for number in range(9))
    assert rows_of(tmp_path / "rows.csv") == [["number"], *([str(number)] for number in range(9))]


def test_what_a_full_disk_refuses_is_an_error_at_once_and_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    with LineFile(path) as lines, files_of_at_most(10_000):
        lines.append(b"little")
        for content in (bytes(20_000), b"x" * 9_995):
            with pytest.raises(
                OutputError, match=r"lines: cannot be written \(OSError: .*File too large.*\); free space"
            ):
                lines.append(content)
            assert path.read_bytes() == b"little\n"
        assert list(lines) == [b"little"]
        lines.append(b"more")
    assert path.read_bytes() == b"little\nmore\n"


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/lines: cannot be written \(FileExistsError: .*\); free space"):
        LineFile(tmp_path / "file" / "lines")
    with LineFile(tmp_path / "deep" / "er" / "lines") as lines:
        lines.append(b"one")
    assert (tmp_path / "deep" / "er" / "lines").read_bytes() == b"one\n"


def test_a_table_exists_from_its_first_row_on_and_goes_on_from_the_rows_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = RowFile(path, ["image", "reason"])
    assert not path.exists()
    rows.append(["=a\n.jpg", "zero bytes"])
    rows.append(["b.jpg", None])
    rows.close()
    assert rows_of(path) == [["image", "reason"], ["'=a\n.jpg", "zero bytes"], ["b.jpg", ""]]
    rows = RowFile(path, ["image", "reason"], rows=iter([["b.jpg", "gone"]]))
    rows.append(["c.jpg", "gone"])
    rows.close()
    assert rows_of(path) == [["image", "reason"], ["b.jpg", "gone"], ["c.jpg", "gone"]]
    RowFile(path, ["image", "reason"]).close()
    assert not path.exists()
