"""SIGTERM and Ctrl-C: the state is kept, one line says how to go on, the exit code is the shell's for the signal."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest

from faults import Fault, Send, command_line, in_child, until
from runs import EPOCHS, Bench, go_on, outcome, recipe_of

# When it comes, which one, and what is said of the place; the whole group gets it, and so do the readers.
STOPS = {
    "in a step": ("step: gradients are there", 4, SIGTERM, "in epoch 2 after step 1 of 3"),
    "in a step, by Ctrl-C": ("step: gradients are there", 4, SIGINT, "in epoch 2 after step 1 of 3"),
    "in the last step of an epoch": ("step: weights have changed", 3, SIGTERM, "in epoch 1 after step 3 of 3"),
    "while pictures are scored": ("picture read to score", 4, SIGINT, "in epoch 2 after step 3 of 3"),
    "while a state is written": ("os.rename state/#.json", 1, SIGTERM, "in epoch 1 after step 3 of 3"),
    "while weights are written": ("os.mkdir weights/.last.new", 1, SIGTERM, "in epoch 2 after step 1 of 3"),
    "while the result is tested": ("picture read to score", 8, SIGTERM, "after the last epoch, before the test was "),
}


@pytest.mark.parametrize("moment", STOPS)
def test_a_stopped_run_has_kept_its_state_and_ends_as_the_unbroken_one(moment: str, bench: Bench) -> None:
    config = bench.run(save_minutes=EPOCHS, workers=2)
    event, nth, number, place = STOPS[moment]
    stop = Fault(kind=event, nth=nth, do=Send(number))
    ended = in_child(command_line, "train", recipe_of(config), watched=config.out, faults=[stop])
    assert ended.code == 128 + number, ended
    said = ended.err.splitlines()[-1]
    assert "stopping after this step, the state will be saved; a second signal ends at once" in ended.err.splitlines()
    assert said.startswith(f"tscam: stopped {place}")
    assert said.endswith(f"; the state is saved, go on with `tscam resume {config.out}`")
    assert go_on(config).code == 0
    assert outcome(config.out) == bench.whole(save_minutes=EPOCHS).outcome


def test_a_second_signal_ends_the_run_at_once(bench: Bench) -> None:
    config = bench.run(save_minutes=EPOCHS, workers=2)
    twice = [
        Fault(kind="step: gradients are there", nth=5, do=Send(SIGINT)),
        Fault(kind="step: weights have changed", nth=5, do=Send(SIGINT)),
    ]
    ended = in_child(command_line, "train", recipe_of(config), watched=config.out, faults=twice)
    assert ended.code == -SIGINT
    assert "stopped" not in ended.err
    assert go_on(config).code == 0
    assert outcome(config.out) == bench.whole(save_minutes=EPOCHS).outcome


def test_sigterm_to_the_command_as_a_person_starts_it(bench: Bench, tmp_path: Path) -> None:
    config = bench.run(epochs=12, workers=2)
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tscam.cli", "train", str(recipe_of(config))],
            stderr=said, start_new_session=True,
        )  # fmt: skip
    until(lambda: "epoch 2/12 step 1/3" in (tmp_path / "said").read_text())
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + SIGTERM
    last = (tmp_path / "said").read_text().splitlines()[-1]
    assert last.startswith("tscam: stopped in epoch ")
    assert last.endswith(f"go on with `tscam resume {config.out}`")
    assert not is_there(process.pid)  # The readers do not stay either.
    assert in_child(command_line, "resume", config.out).code == 0
    assert outcome(config.out) == bench.whole(epochs=12).outcome


def is_there(group: int) -> bool:
    """Is there a process of this group?"""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
