"""SIGTERM and Ctrl-C: the state is saved, one line says how to resume, and the exit code is 128 + the signal."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest

from faults import Fault, Send, command_line, in_child, until
from runs import EPOCHS, Bench, go_on, outcome, recipe_of

# Event, occurrence, signal and the position in the message; the whole process group gets the signal.
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
def test_a_stopped_run_has_saved_its_state_and_ends_as_the_uninterrupted_one(moment: str, bench: Bench) -> None:
    config = bench.run(save_minutes=EPOCHS, workers=2)
    event, nth, number, position = STOPS[moment]
    stop = Fault(event=event, nth=nth, do=Send(number))
    ended = in_child(command_line, "train", recipe_of(config), watched=config.out, faults=[stop])
    assert ended.code == 128 + number, ended
    message = ended.err.splitlines()[-1]
    assert "stopping after this step, the state will be saved; a second signal ends at once" in ended.err.splitlines()
    assert message.startswith(f"tscam: stopped {position}")
    assert message.endswith(f"; the state is saved, continue with `tscam resume {config.out}`")
    assert go_on(config).code == 0
    assert outcome(config.out) == bench.whole(save_minutes=EPOCHS).outcome


def test_a_second_signal_ends_the_run_at_once(bench: Bench) -> None:
    config = bench.run(save_minutes=EPOCHS, workers=2)
    twice = [
        Fault(event="step: gradients are there", nth=5, do=Send(SIGINT)),
        Fault(event="step: weights have changed", nth=5, do=Send(SIGINT)),
    ]
    ended = in_child(command_line, "train", recipe_of(config), watched=config.out, faults=twice)
    assert ended.code == -SIGINT
    assert "stopped" not in ended.err
    assert go_on(config).code == 0
    assert outcome(config.out) == bench.whole(save_minutes=EPOCHS).outcome


def test_sigterm_to_a_command_of_its_own(bench: Bench, tmp_path: Path) -> None:
    config = bench.run(epochs=12, workers=2)
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tscam.cli", "train", str(recipe_of(config))],
            stderr=output, start_new_session=True,
        )  # fmt: skip
    until(lambda: "epoch 2/12 step 1/3" in (tmp_path / "output").read_text())
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + SIGTERM
    last = (tmp_path / "output").read_text().splitlines()[-1]
    assert last.startswith("tscam: stopped in epoch ")
    assert last.endswith(f"continue with `tscam resume {config.out}`")
    assert not has_processes(process.pid)  # The readers have ended as well.
    assert in_child(command_line, "resume", config.out).code == 0
    assert outcome(config.out) == bench.whole(epochs=12).outcome


def has_processes(group: int) -> bool:
    """True if the process group has processes."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
