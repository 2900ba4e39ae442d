"""A process that reads pictures is killed: training ends with a line that names it, and can go on."""

import re

import pytest

from faults import Fault, in_child, kill, kill_reader
from runs import EVERY_STEP, Bench, go_on, outcome
from tscam.errors import TrainingError
from tscam.verbs.train import train

KILLS = {
    "by itself, while it reads": Fault(kind="start: picture read to train", nth=7, do=kill, in_reader=True),
    "in a step": Fault(kind="step: gradients are there", nth=4, do=kill_reader),
    "while a state is written": Fault(kind="open x state/*.part", nth=5, do=kill_reader),
    "while pictures are scored": Fault(kind="picture read to score", nth=2, do=kill_reader),
    "while weights are written": Fault(kind="open w weights/.last.new/config.json", nth=2, do=kill_reader),
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_killed_reader_is_named_and_the_run_can_go_on(moment: str, bench: Bench) -> None:
    config = bench.run(workers=2, save_minutes=EVERY_STEP)
    ended = in_child(train, config, watched=config.out, faults=[KILLS[moment]])
    assert isinstance(ended.error, TrainingError), ended
    said = str(ended.error)
    assert re.search(r"a process that reads pictures has died \(RuntimeError: DataLoader worker \(pid.*\d+\)", said)
    assert "go on with `tscam resume`" in said
    assert go_on(config).result == config.out
    assert outcome(config.out) == bench.whole(save_minutes=EVERY_STEP).outcome
