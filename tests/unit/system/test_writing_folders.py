"""A folder is locked by one run at a time, replaced as a whole, and keeps the path that was named."""

import errno
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from tscam.errors import OutputError
from tscam.system.writing import (
    LOCK,
    claim_output,
    literal,
    locked,
    readable_folder,
    replace_folder,
    require_claimable,
    write_text_atomically,
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# Locks


def test_a_folder_is_made_and_locked_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    with locked(folder):
        assert names(folder) == [LOCK]
        with pytest.raises(OutputError) as refusal, locked(folder):
            pass
        assert str(refusal.value) == (
            f"{folder}: another run is writing here; wait until it has ended, or choose another folder"
        )
        with locked(tmp_path / "deep" / "other"):
            pass
    with locked(folder):
        pass


def test_an_error_inside_unlocks_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_the_system_unlocks_the_folder_of_a_killed_process(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, tscam.system.writing as w\n"
        "with w.locked(pathlib.Path(sys.argv[1])): print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        with pytest.raises(OutputError, match="another run is writing here"), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with locked(tmp_path):
            pass


@pytest.mark.parametrize("name", ["file", "file/below", "nul\0", "x" * 300])
def test_a_folder_that_cannot_be_locked_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be used for output") as refusal, locked(tmp_path / name):
        pass
    assert "\n" not in str(refusal.value)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_a_lock_counts_as_empty_and_keeps_the_lock_when_it_is_claimed(
    tmp_path: Path, overwrite: bool
) -> None:
    with locked(tmp_path):
        if overwrite:
            (tmp_path / "old.txt").touch()
        assert claim_output(tmp_path, overwrite=overwrite) == tmp_path
        assert names(tmp_path) == [LOCK]
        with pytest.raises(OutputError, match="another run is writing"), locked(tmp_path):
            pass


def test_the_leftover_of_a_killed_write_is_removed(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", Mock(side_effect=SystemExit))
        patch.setattr(Path, "unlink", Mock())
        with pytest.raises(SystemExit):
            write_text_atomically(tmp_path / "config.yaml", "epochs: 1")
    (leftover,) = names(tmp_path)
    assert leftover.endswith(".part")
    assert claim_output(tmp_path, overwrite=False) == tmp_path
    assert names(tmp_path) == []
    (tmp_path / ".mine.part").touch()
    with pytest.raises(OutputError, match="not empty"):
        claim_output(tmp_path, overwrite=False)


def test_a_folder_is_checked_without_making_or_emptying_one(tmp_path: Path) -> None:
    full, data = tmp_path / "full", tmp_path / "data"
    for folder in (full, data):
        folder.mkdir()
        (folder / "thesis.txt").touch()
    assert require_claimable(tmp_path / "deep" / "new", overwrite=False) == tmp_path / "deep" / "new"
    assert require_claimable(full, overwrite=True, inputs=(data,)) == full
    for overwrite, folder, message in (
        (False, full, "the folder is not empty; choose another one, or empty it with --overwrite"),
        (True, data, "--overwrite would empty the input"),
        (True, full / "thesis.txt", "a file; the output is a folder"),
    ):
        with pytest.raises(OutputError, match=message):
            require_claimable(folder, overwrite=overwrite, inputs=(data,))
    assert names(tmp_path) == ["data", "full"]
    assert names(full) == names(data) == ["thesis.txt"]


# Replacing


def two_folders(root: Path) -> tuple[Path, Path]:
    """Make an old folder, with one file more, and a fresh one."""
    folder, fresh = root / "weights", root / ".weights.new"
    for path, content in ((folder, "old"), (fresh, "new")):
        path.mkdir()
        (path / "model").write_text(content)
    (folder / "stale").touch()
    return folder, fresh


def refuse(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_the_fresh_folder_replaces_the_other_which_is_gone(tmp_path: Path) -> None:
    folder, fresh = two_folders(tmp_path)
    replace_folder(folder, fresh)
    assert names(tmp_path) == ["weights"]
    assert names(folder) == ["model"]
    assert (folder / "model").read_text() == "new"
    assert readable_folder(folder) == folder


KILLED = """
import os, pathlib, signal, sys
from tscam.system.writing import replace_folder

def killed_before(event, arguments):
    if event == "os.rename" and str(arguments[0]).endswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(killed_before)
folder = pathlib.Path(sys.argv[1])
replace_folder(folder / "weights", folder / ".weights.new")
"""


@pytest.mark.parametrize(
    ("rename", "left"), [("weights", [".weights.new", "weights"]), (".weights.new", [".weights.new", ".weights.old"])]
)
def test_a_kill_between_the_renames_leaves_the_old_folder_readable_and_the_next_replacement_clears_up(
    tmp_path: Path, rename: str, left: list[str]
) -> None:
    folder, fresh = two_folders(tmp_path)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), f"/{rename}"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path) == left
    assert names(readable_folder(folder)) == ["model", "stale"]
    assert (readable_folder(folder) / "model").read_text() == "old"
    replace_folder(folder, fresh)
    assert names(tmp_path) == ["weights"]
    assert (readable_folder(folder) / "model").read_text() == "new"


def test_an_interrupt_between_the_renames_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, fresh = two_folders(tmp_path)
    rename = Path.rename

    def interrupt_second(self: Path, target: Path) -> Path:
        if self == fresh:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupt_second)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(folder, fresh)
    assert names(tmp_path) == [".weights.new", "weights"]
    assert names(folder) == ["model", "stale"]


def test_a_folder_that_is_there_is_read_whatever_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / ".model.old").mkdir()
    assert readable_folder(tmp_path / "model") == tmp_path / ".model.old"
    (tmp_path / "model").touch()
    assert readable_folder(tmp_path / "model") == tmp_path / "model"
    for path in (Path(), Path("/"), tmp_path / "gone"):
        assert readable_folder(path) == path


def test_a_fresh_folder_takes_the_name_if_there_is_no_old_one(tmp_path: Path) -> None:
    _, fresh = two_folders(tmp_path)
    (tmp_path / ".first.old").mkdir()  # left by a crash long ago
    replace_folder(tmp_path / "first", fresh)
    assert names(tmp_path) == ["first", "weights"]
    assert (tmp_path / "first" / "model").read_text() == "new"


@pytest.mark.parametrize("failing", ["weights", ".weights.new"])
def test_a_rename_that_fails_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    folder, fresh = two_folders(tmp_path)
    rename = Path.rename

    def refuse_one(self: Path, target: Path) -> Path:
        if self.name == failing:
            refuse()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_one)
    with pytest.raises(OSError, match="Input/output error"):
        replace_folder(folder, fresh)
    assert names(tmp_path) == [".weights.new", "weights"]
    assert names(folder) == ["model", "stale"]
    assert (folder / "model").read_text() == "old"


# Paths


def test_a_path_is_made_absolute_without_following_its_last_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "below", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert literal(Path("run")) == tmp_path / "run"
    assert literal(Path("~/run")) == tmp_path / "~" / "run"
    assert (
        literal(tmp_path / "link" / "run") == tmp_path / "link" / "run"
    )  # A link stays a link, whatever it means later.
    assert literal(Path("link/../run")) == tmp_path / "real" / "run"
