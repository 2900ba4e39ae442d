"""The learning rate of each step: the authors' steps, a cosine against its formula, and a warm-up before both."""

import math
from pathlib import Path
from typing import Literal

import pytest

import tiny_runs
from data_sets import write_folder
from tiny_runs import rows
from tscam.training.schedule import ScheduleSettings, learning_rate_factor
from tscam.verbs.train import train


def test_the_learning_rate_falls_at_every_multiple_of_a_step() -> None:
    def factor(epoch: int, *steps: int) -> float:
        return learning_rate_factor(ScheduleSettings(steps=steps, epochs=60), epoch)

    assert [epoch for epoch in range(2, 61) if factor(epoch, 30) < factor(epoch - 1, 30)] == [30, 60]
    assert factor(60, 30) == pytest.approx(0.01)
    assert [round(factor(epoch, 10, 12), 6) for epoch in (9, 10, 11, 12, 19, 20)] == [1, 0.1, 0.1, 0.01, 0.01, 0.001]
    assert factor(9) == 1


def test_a_cosine_falls_along_half_a_wave_from_one_to_zero() -> None:
    def factor(epoch: int, done: float) -> float:
        return learning_rate_factor(ScheduleSettings(schedule="cosine", steps=(1,), epochs=8), epoch, done=done)

    assert factor(1, 0.0) == 1
    assert factor(8, 1.0) == 0
    assert factor(5, 0.0) == pytest.approx(0.5)  # Half of the epochs.
    assert factor(3, 0.0) == pytest.approx((1 + math.sqrt(0.5)) / 2)  # A quarter of them.
    assert factor(2, 2 / 3) == pytest.approx((1 + math.cos(math.pi * 5 / 24)) / 2)
    assert factor(3, 1.0) == factor(4, 0.0)  # No jump between epochs.


@pytest.mark.parametrize("schedule", ["steps", "cosine"])
def test_the_rate_rises_linearly_in_the_warm_up(schedule: Literal["steps", "cosine"]) -> None:
    settings = ScheduleSettings(schedule=schedule, steps=(2, 5), epochs=7, warmup_epochs=3)

    def factor(epoch: int, done: float) -> float:
        return learning_rate_factor(settings, epoch, done=done)

    assert factor(1, 0.0) == 0
    assert [factor(epoch, 0.75) for epoch in (1, 2, 3)] == pytest.approx([0.75 / 3, 1.75 / 3, 2.75 / 3])
    if schedule == "cosine":  # It begins at the end of the warm-up and lasts for the remaining epochs.
        assert [factor(epoch, 0.0) for epoch in (4, 6)] == pytest.approx([1, 0.5])
        assert factor(7, 1.0) == 0
    else:  # Steps count epochs from the first one, as without a warm-up: 2, 4 and 5, 6.
        assert [factor(epoch, 0.5) for epoch in (4, 5, 6, 7)] == pytest.approx([0.01, 0.001, 0.0001, 0.0001])


def test_a_run_uses_the_rate_in_the_middle_of_each_step(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", boxes=None)
    run = train(tiny_runs.settings(tmp_path / "data", tmp_path / "run", schedule="cosine", epochs=3, warmup_epochs=1))
    # Six pictures in batches of five are two steps; the middle of the last one is at three quarters of its epoch.
    expected = [1e-3 * 0.75, *(1e-3 * 0.5 * (1 + math.cos(math.pi * passed / 2)) for passed in (0.75, 1.75))]
    assert [float(row["learning_rate"]) for row in rows(run)] == pytest.approx(expected)
