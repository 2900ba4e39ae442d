"""A run is resumed in its folder by an equal run alone; another one is refused in a line that names the difference."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tscam.errors import DataError, OutputError
from tscam.system.output_folder import RECORD, Job, claimed_output, locked, require_resumable, resumable_output

JOB = Job(
    verb="localize",
    settings={"top_k": 1, "to": ("coco",), "method_args": {"heads": [0, 2]}},
    inputs={"the model": "ab12", "the list of pictures": "cd34"},
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name != ".lock")


def run(folder: Path, job: Job = JOB, *, overwrite: bool = False, resume: bool = False, fails: bool = False) -> None:
    """Write a file into the folder, or be interrupted after it."""
    with resumable_output(folder, job, overwrite=overwrite, resume=resume) as path:
        (path / "line").touch()
        if fails:
            raise ZeroDivisionError


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "out", fails=True)
    return tmp_path / "out"


def record(folder: Path) -> Mapping[str, object]:
    return dict(json.loads((folder / RECORD).read_text()))


def test_an_interrupted_run_keeps_its_files_and_is_complete_at_its_end(interrupted: Path) -> None:
    assert record(interrupted)["complete"] is False
    (interrupted / "deep").mkdir()
    (interrupted / "deep" / f".{'0f' * 8}.part").touch()
    with resumable_output(interrupted, JOB, overwrite=False, resume=True) as path:
        assert path == interrupted
        assert names(path) == ["deep", "line", RECORD]
        assert names(path / "deep") == []
        assert record(path)["complete"] is False
        with pytest.raises(OutputError, match="another run is writing here"):
            run(interrupted, resume=True)
    assert record(interrupted) == {
        "verb": "localize",
        "settings": {"top_k": 1, "to": ["coco"], "method_args": {"heads": [0, 2]}},
        "inputs": {"the model": "ab12", "the list of pictures": "cd34"},
        "complete": True,
    }


def test_a_refusal_says_that_resume_goes_on_with_unfinished_work(interrupted: Path) -> None:
    message = (
        f"{interrupted}: an interrupted run of `tscam localize` is here; go on with it by --resume, choose another "
        "folder, or empty it with --overwrite"
    )
    for refuse in (lambda: run(interrupted), lambda: claimed_output(interrupted, overwrite=False).__enter__()):
        with pytest.raises(OutputError) as refusal:
            refuse()
        assert str(refusal.value) == message
    run(interrupted, resume=True)
    with pytest.raises(OutputError, match="not empty; choose another one, or empty it with --overwrite"):
        run(interrupted)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (replace(JOB, verb="evaluate"), "the run here is of `tscam localize`; resume it by that verb"),
        (
            replace(JOB, settings={**JOB.settings, "top_k": 2, "to": ()}),
            r"the run here has other settings \(top_k was 1 and is 2; to was \['coco'\] and is \[\]\); give the same",
        ),
        (
            replace(JOB, inputs={**JOB.inputs, "the model": "ab13"}),
            "the model changed since the run here began; put back what was there, or choose another folder",
        ),
    ],
)
def test_another_run_does_not_go_on(interrupted: Path, job: Job, message: str) -> None:
    before = (interrupted / RECORD).read_bytes()
    for refuse in (
        lambda: run(interrupted, job, resume=True),
        lambda: require_resumable(interrupted, job, overwrite=False, resume=True),
    ):
        with pytest.raises(OutputError, match=message) as refusal:
            refuse()
        assert "\n" not in str(refusal.value)
    assert names(interrupted) == ["line", RECORD]
    assert (interrupted / RECORD).read_bytes() == before


def test_an_empty_folder_begins_and_one_without_a_record_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "new", resume=True)
    assert record(tmp_path / "new")["complete"] is True
    (tmp_path / "lock alone").mkdir()
    with locked(tmp_path / "lock alone"):
        pass
    run(tmp_path / "lock alone", resume=True)
    for name, content in (("thesis.txt", ""), (RECORD, "{"), (RECORD, '{"seed": 26}')):
        folder = tmp_path / f"{name} {len(content)}"
        folder.mkdir()
        (folder / name).write_text(content)
        with pytest.raises(OutputError, match=r"no run of `tscam localize` to resume, it has no readable run\.json"):
            run(folder, resume=True)
        assert (folder / name).read_text() == content


def test_overwrite_begins_another_run_and_removes_the_record_first(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = []
    unlink = Path.unlink

    def record_removal(self: Path, missing_ok: bool = False) -> None:
        removed.append(self.name)
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", record_removal)
    for name in ("a", "z"):
        (interrupted / name).touch()
    run(interrupted, replace(JOB, settings={}), overwrite=True)
    assert removed[0] == RECORD
    assert names(interrupted) == ["line", RECORD]


def test_an_error_of_the_disk_says_how_to_go_on_and_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    for fault, message in (
        (OutputError("out: the disk is full"), "out: the disk is full; what is done stays, go on with --resume"),
        (DataError("a.jpg: has gone"), "a.jpg: has gone"),
    ):
        folder = tmp_path / type(fault).__name__
        with (
            pytest.raises(type(fault)) as raised,
            resumable_output(folder, JOB, overwrite=False, resume=False),
        ):
            raise fault
        assert str(raised.value) == message
        assert record(folder)["complete"] is False
