"""A folder is replaced as a whole, and keeps the path that was named."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tscam.system.writing import literal, readable_folder, replace_folder


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


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
