"""A folder that a run writes is refused by every verb in one line, also with --overwrite, and stays as it is."""

from pathlib import Path

import pytest
import torch

from command_line import Call, assert_refused
from mistakes import Case
from tscam.model import create_model
from tscam.system.output_folder import locked


@pytest.mark.parametrize("flags", [(), ("--overwrite",)], ids=["new", "overwrite"])
@pytest.mark.parametrize("has_files", [False, True])
def test_a_busy_folder_is_refused_by_every_verb(
    case_with_data: Case, tscam: Call, flags: tuple[str, ...], has_files: bool
) -> None:
    theirs = case_with_data.folder / "theirs.pth"
    torch.save(create_model("deit_tiny_patch16_224", label_names=3, image_size=32).tensors(), theirs)
    verbs: list[list[str | Path]] = [
        case_with_data.train(*flags),
        case_with_data.evaluate(*flags),
        case_with_data.localize(*flags),
        case_with_data.explain(*flags),
        ["convert-weights", theirs, "--out", case_with_data.out, *flags],
    ]
    if not flags:
        verbs += [["demo", "--out", case_with_data.out]]
        verbs += [case_with_data.localize("--resume")]
    with locked(case_with_data.out):
        if has_files:
            (case_with_data.out / "weights.safetensors").write_text("days of work")
        for arguments in verbs:
            message = "another run is writing here; wait until it has ended, or choose another folder"
            assert_refused(tscam(*arguments), message)
        names = sorted(path.name for path in case_with_data.out.iterdir())
        assert names == ([".lock", "weights.safetensors"] if has_files else [".lock"])


def test_a_result_of_compare_never_replaces_a_file(case_with_data: Case, tscam: Call) -> None:
    assert tscam(*case_with_data.evaluate()).code == 0
    other = case_with_data.folder / "comparison.json"
    assert tscam("compare", case_with_data.out, case_with_data.out, "--out", other).code == 0
    before = other.read_bytes()
    assert_refused(
        tscam("compare", case_with_data.out, case_with_data.out, "--out", other), "a file of this name exists"
    )
    assert other.read_bytes() == before
