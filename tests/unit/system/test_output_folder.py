"""A folder is used by one run at a time, and refused rather than mixed or emptied by mistake."""

import errno
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import Mock

import pytest

from tscam.errors import OutputError
from tscam.system.output_folder import LOCK, claimed_output, locked, require_claimable
from tscam.system.writing import write_text_atomically


def names(folder: Path) -> list[str]:
    """Names of the entries of a folder, without the lock."""
    return sorted(entry.name for entry in folder.iterdir() if entry.name != LOCK)


def claim(folder: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> Path:
    """Claim a folder for a run that writes nothing."""
    with claimed_output(folder, overwrite=overwrite, inputs=inputs) as path:
        return path


# Locks


def test_a_folder_is_made_and_locked_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    with locked(folder):
        assert [entry.name for entry in folder.iterdir()] == [LOCK]
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
        "import sys, pathlib, tscam.system.output_folder as o\n"
        "with o.locked(pathlib.Path(sys.argv[1])): print(flush=True); input()"
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
        pass
    if overwrite:
        (tmp_path / "old.txt").touch()
    with claimed_output(tmp_path, overwrite=overwrite) as path:
        assert path == tmp_path
        assert [entry.name for entry in tmp_path.iterdir()] == [LOCK]
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
    assert claim(tmp_path, overwrite=False) == tmp_path
    assert names(tmp_path) == []
    (tmp_path / ".mine.part").touch()
    with pytest.raises(OutputError, match="not empty"):
        claim(tmp_path, overwrite=False)


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


# Claims


def test_a_new_folder_is_made_with_its_parents_and_returned_as_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert claim(Path("a/b"), overwrite=False) == tmp_path / "a" / "b"
    assert claim(Path("a/b"), overwrite=False) == tmp_path / "a" / "b"
    assert names(tmp_path / "a" / "b") == []


def test_a_folder_with_files_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    with pytest.raises(OutputError, match=r"not empty; .* --overwrite"):
        claim(tmp_path, overwrite=False)
    assert names(tmp_path) == [".hidden"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_the_way_is_refused_and_stays(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(OutputError, match="a file; the output is a folder"):
        claim(tmp_path / "out", overwrite=overwrite)
    with pytest.raises(OutputError, match="cannot be used for output"):
        claim(tmp_path / "out" / "below", overwrite=overwrite)
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
    assert claim(out, overwrite=True) == out
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
            claim(folder, overwrite=True)
    assert names(here) == ["a.txt"]
    assert names(home) == ["b.txt"]


def test_dots_after_a_link_mean_what_the_system_means_by_them(tmp_path: Path) -> None:
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "below", target_is_directory=True)
    assert claim(tmp_path / "link" / ".." / "out", overwrite=False) == tmp_path / "real" / "out"


@pytest.mark.parametrize("name", ["nul\0", "x" * 300])
def test_a_folder_that_cannot_be_made_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be used for output") as caught:
        claim(tmp_path / name, overwrite=False)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_emptied_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "a.txt").touch()
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        claim(tmp_path, overwrite=True)


def test_overwrite_never_empties_an_input(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "train").mkdir(parents=True)
    (data / "train" / "a.jpg").touch()
    (tmp_path / "link").symlink_to(data, target_is_directory=True)
    for folder in (data, data / "train", tmp_path, tmp_path / "link"):
        for source in (data, tmp_path / "link"):
            with pytest.raises(OutputError, match="--overwrite would empty the input"):
                claim(folder, overwrite=True, inputs=(source,))
    with pytest.raises(OutputError, match="--overwrite would empty the input"):
        claim(data, overwrite=True, inputs=(data / "train" / "a.jpg",))
    assert names(data / "train") == ["a.jpg"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_another_run_writes_is_refused_before_and_after_its_first_file(
    tmp_path: Path, overwrite: bool
) -> None:
    out = tmp_path / "out"
    message = "out: another run is writing here; wait until it has ended, or choose another folder"
    with claimed_output(out, overwrite=False):
        for content in ([], ["weights"]):
            for name in content:
                (out / name).write_text("days of work")
            with pytest.raises(OutputError, match=message):
                claim(out, overwrite=overwrite)
            with pytest.raises(OutputError, match=message):
                require_claimable(out, overwrite=overwrite)
        assert names(out) == ["weights"]


def test_overwrite_never_empties_a_folder_in_which_another_run_writes_deeper(tmp_path: Path) -> None:
    (tmp_path / "runs" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "old" / LOCK).touch()
    with claimed_output(tmp_path / "runs" / "cub", overwrite=False) as run:
        (run / "weights").write_text("days of work")
        with pytest.raises(OutputError, match="runs/cub: another run is writing here"):
            claim(tmp_path / "runs", overwrite=True)
        assert names(run) == ["weights"]
    claim(tmp_path / "runs", overwrite=True)
    assert names(tmp_path / "runs") == []
