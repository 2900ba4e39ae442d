"""A process that reads pictures is killed: training ends with a line that names it, and can resume."""

import re

import pytest

from faults import Fault, in_child, kill, kill_reader
from runs import EVERY_STEP, Bench, go_on, outcome
from tscam.errors import TrainingError
from tscam.verbs.train import train

KILLS = {
    "by itself, while it reads": Fault(event="start: picture read to train", nth=7, do=kill, in_reader=True),
    "in a step": Fault(event="step: gradients are there", nth=4, do=kill_reader),
    "while a state is written": Fault(event="open x state/*.part", nth=5, do=kill_reader),
    "while pictures are scored": Fault(event="picture read to score", nth=2, do=kill_reader),
    "while weights are written": Fault(event="open w weights/.last.new/config.json", nth=2, do=kill_reader),
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_killed_reader_is_named_and_the_run_can_resume(moment: str, bench: Bench) -> None:
    config = bench.run(workers=2, save_minutes=EVERY_STEP)
    ended = in_child(train, config, watched=config.out, faults=[KILLS[moment]])
    assert isinstance(ended.error, TrainingError), ended
    message = str(ended.error)
    assert re.search(r"a process that reads pictures has died \(RuntimeError: DataLoader worker \(pid.*\d+\)", message)
    assert "continue with `tscam resume`" in message
    assert go_on(config).result == config.out
    assert outcome(config.out) == bench.whole(save_minutes=EVERY_STEP).outcome
