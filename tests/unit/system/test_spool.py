"""A spool gives back what was put in, in order, as often as it is asked, and leaves nothing on the disk."""

import errno
import io
from pathlib import Path

import numpy as np
import pytest

from tscam.errors import OutputError
from tscam.system.spool import Spool


def test_what_was_put_in_comes_out_in_order_and_again(tmp_path: Path) -> None:
    spool: Spool[tuple[int, np.ndarray]] = Spool(tmp_path)
    for number in range(50):
        spool.append((number, np.full((number + 1, 3), number, dtype=np.int16)))
    assert len(spool) == 50
    for _ in range(2):
        items = list(spool)
        assert [number for number, _ in items] == list(range(50))
        assert all(np.array_equal(array, np.full((number + 1, 3), number)) for number, array in items)
        assert items[7][1].dtype == np.int16
    spool.close()


def test_more_can_be_added_after_a_walk_even_one_that_was_left(tmp_path: Path) -> None:
    spool: Spool[str] = Spool(tmp_path)
    for text in ("a", "b", "c"):
        spool.append(text)
    walk = iter(spool)
    assert next(walk) == "a"
    del walk
    spool.append("d")
    assert list(spool) == ["a", "b", "c", "d"]
    spool.close()


def test_an_empty_spool_has_nothing() -> None:
    spool: Spool[int] = Spool(None)
    assert (len(spool), list(spool)) == (0, [])
    spool.close()


def test_no_name_stands_in_the_folder(tmp_path: Path) -> None:
    spool: Spool[bytes] = Spool(tmp_path)
    spool.append(bytes(100_000))
    assert list(tmp_path.iterdir()) == []
    spool.close()


def test_the_folder_may_be_emptied_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    spool: Spool[int] = Spool(folder)
    spool.append(1)
    folder.rmdir()
    spool.append(2)
    assert list(spool) == [1, 2]
    spool.close()


def test_a_folder_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere: cannot be written \(FileNotFoundError: .*\); free space there$"):
        Spool(tmp_path / "nowhere")


def test_a_full_disk_is_told_when_the_object_is_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: _FullDisk())
    spool: Spool[bytes] = Spool(tmp_path)
    for content in (b"little", bytes(100_000)):
        with pytest.raises(OutputError, match=r"cannot be written \(OSError: .*No space left"):
            spool.append(content)
    assert len(spool) == 0


class _FullDisk(io.BytesIO):
    """Takes bytes as long as they need not reach the disk, as Python's buffered files do."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")
