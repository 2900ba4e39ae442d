"""Results go to folders of any name, and are printed as the bytes of that name; what cannot be printed is one line."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from command_line import Call, assert_refused
from mistakes import Case
from tscam.cli import main
from tscam.model import create_model


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path, encoding: str = "utf-8") -> tuple[object, bytes]:
    """Return the exit code of a command line in this process, and the bytes that it prints."""
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding))
    monkeypatch.setattr(sys, "argv", ["tscam", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0, printed.getvalue()


def test_results_go_into_a_folder_whose_name_is_no_text_and_its_bytes_are_printed(
    case_with_data: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs: dict[str, list[str | Path]] = {
        "evaluate": case_with_data.evaluate("--save-maps"),
        "localize": case_with_data.localize("--draw", "--to", "coco", "csv", "voc"),
        "explain": case_with_data.explain(),
    }
    for verb, arguments in verbs.items():
        out = case_with_data.folder / os.fsdecode(f"{verb} лиса ".encode() + b"\xff")
        code, printed = run(monkeypatch, *(out if each == case_with_data.out else each for each in arguments))
        assert code == 0, (verb, printed)
        assert printed.splitlines()[-1] == os.fsencode(out)
    evaluation = case_with_data.folder / os.fsdecode("evaluate лиса ".encode() + b"\xff")
    comparison = evaluation / os.fsdecode(b"\xfe.json")
    code, printed = run(monkeypatch, "compare", evaluation, evaluation, "--out", comparison)
    assert (code, printed.splitlines()[-1]) == (0, os.fsencode(comparison))


def test_weights_are_not_written_into_a_folder_from_which_they_could_not_be_read(
    case_with_data: Case, tscam: Call
) -> None:
    theirs = case_with_data.folder / "theirs.pth"
    torch.save(create_model("deit_tiny_patch16_224", label_names=3, image_size=32).tensors(), theirs)
    out = case_with_data.folder / os.fsdecode(b"out \xff")
    arguments = [out if each == case_with_data.out else each for each in case_with_data.train()]
    for refused in (arguments, ["convert-weights", theirs, "--out", out]):
        assert_refused(tscam(*refused), r"out \udcff': not UTF-8, so weights cannot be read there; choose another name")
    assert not out.exists()


def test_characters_that_the_terminal_lacks_are_printed_as_escapes(
    case_with_data: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = case_with_data.folder / os.fsdecode("лиса ".encode() + b"\xff")
    arguments = [out if each == case_with_data.out else each for each in case_with_data.explain()]
    code, printed = run(monkeypatch, *arguments, encoding="ascii")
    assert code == 0
    assert printed.splitlines()[-1] == os.fsencode(out.parent) + rb"/\u043b\u0438\u0441\u0430 " + b"\xff"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["list", "formats"], ["--help"], ["--version"]])
def test_a_full_disk_behind_standard_output_is_one_line(arguments: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tscam", *arguments], stdout=full, stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered}, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line == "tscam: the output: cannot be written (OSError: [Errno 28] No space left on device)"


def test_a_closed_standard_output_is_no_error() -> None:
    command = f"{sys.executable} -W error -m tscam list formats >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
