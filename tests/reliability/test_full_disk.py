"""The disk is full: one line says so, finished files are there, and the run resumes when there is space again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from disks import Disk, limited_disk, small_disk
from faults import Fault, command_line, in_child
from runs import EVERY_STEP, Bench, go_on, outcome, recipe_of
from tscam.checkpoints.loader import load_model
from tscam.training.run.position import SavedPosition
from tscam.training.run.state import load_state

# The file that is written when the disk becomes full, by event.
MOMENTS = {
    "settings": ("start: open x *.part", 1),
    "facts of the run": ("start: open x *.part", 2),
    "tensors of the first state": ("start: os.mkdir state", 2),
    "tensors of a state": ("step: weights have changed", 5),
    "facts of a state": ("os.rename state/#.safetensors", 6),
    "weights": ("os.mkdir weights/.last.new", 2),
    "metrics": ("open x *.part", 2),
    "scores of the result": ("open x test/*.part", 1),
}


@pytest.fixture(params=["small", "limited"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "limited":
        yield limited_disk(tmp_path)
        return
    with small_disk(tmp_path) as mounted:
        yield mounted


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_full_disk_is_one_line_and_the_run_resumes_when_there_is_space(moment: str, disk: Disk, bench: Bench) -> None:
    config = bench.run(save_minutes=EVERY_STEP)
    recipe = recipe_of(replace(config, out=disk.folder / "run"))
    config = replace(config, out=disk.folder / "run")
    event, nth = MOMENTS[moment]
    ended = in_child(
        command_line, "train", recipe, watched=config.out, faults=[Fault(event=event, nth=nth, do=disk.fill)]
    )
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err
    message = ended.err.splitlines()[-1]
    assert message.startswith(f"tscam: {config.out}")
    assert "cannot be written" in message
    assert disk.message in message
    assert "free space" in message

    disk.free()
    whole = bench.whole(save_minutes=EVERY_STEP).outcome
    if not event.startswith("start"):
        state = load_state(config.out / "state")
        assert not state.corrupt
        done = len(SavedPosition.from_json(state.facts["position"]).position.rows)
        if done:
            assert (config.out / "metrics.csv").read_text().count("\n") == 1 + done
            load_model(config.out / "weights" / "last")
            load_model(config.out / "weights" / "best")
    assert go_on(config).result == config.out
    assert outcome(config.out) == whole
