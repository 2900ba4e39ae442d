"""A run that is killed at any moment and resumed ends with the same bits as without interruption."""

import random
import signal

import pytest

from faults import Fault, in_child, kill
from runs import EVERY_STEP, PARTS, VARIANTS, Bench, kill_and_resume, kills, outcome, part_of
from tscam.checkpoints.config_file import read_config
from tscam.checkpoints.source import resolve
from tscam.verbs.train import resume, train

# 25 kills over four variants of runs; `scripts/soak` has more.
COUNTS = dict(zip(VARIANTS, (7, 6, 6, 6), strict=True))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_and_resumed_run_ends_as_the_uninterrupted_one(variant: str, bench: Bench) -> None:
    whole = bench.whole(**VARIANTS[variant])
    drawn = kills(whole.events, COUNTS[variant], random.Random(f"kills of {variant}"))
    assert {part_of(fault.event) for fault in drawn} == {*PARTS, "other files"}
    for fault in drawn:
        config = bench.run(**VARIANTS[variant])
        kill_and_resume(config, [fault])
        assert outcome(config.out) == whole.outcome, fault


def test_a_run_that_is_killed_again_and_again_ends_as_the_uninterrupted_one(bench: Bench) -> None:
    often = [
        Fault(event="step: weights have changed", do=kill),
        Fault(event="os.rename state/#.json", do=kill),
        Fault(event="picture read to score", do=kill),
        Fault(event="os.rename metrics.csv", do=kill),
    ]
    config = bench.run(save_minutes=EVERY_STEP)
    kill_and_resume(config, often)
    assert outcome(config.out) == bench.whole(save_minutes=EVERY_STEP).outcome


def test_a_run_that_is_killed_between_the_two_renames_of_its_weights_keeps_the_old_ones_until_it_is_resumed(
    bench: Bench,
) -> None:
    settings = {"select": "last"}  # Each epoch is the best so far.
    config, whole = bench.run(**settings), bench.whole(**settings)
    between = Fault(event="os.rename weights/best", nth=2, do=kill)
    ended = in_child(train, config, watched=config.out, faults=[between])
    assert ended.code == -signal.SIGKILL, ended
    assert sorted(path.name for path in (config.out / "weights").iterdir()) == [".best.new", ".best.old", "last"]
    assert read_config(resolve(config.out).weights).metrics["epoch"] == 1
    assert in_child(resume, config.out).result == config.out
    assert outcome(config.out) == whole.outcome
    assert read_config(resolve(config.out).weights).metrics["epoch"] == config.epochs


def test_the_number_of_saved_states_and_of_readers_changes_no_bit(bench: Bench) -> None:
    every_step, helped = bench.whole(save_minutes=EVERY_STEP), bench.whole(workers=2)
    assert every_step.outcome == helped.outcome


@pytest.mark.parametrize(
    ("event", "nth"),
    [("start: open x *.part", 1), ("start: os.rename config.yaml", 1), ("os.remove state/#.json", 3)],
    ids=["the settings half written", "the settings in place", "the last state too many not yet removed"],
)
def test_partial_files_of_a_killed_write_are_removed_at_the_begin_and_end_of_a_run(
    event: str, nth: int, bench: Bench
) -> None:
    settings = {"epochs": 4}
    config, whole = bench.run(**settings), bench.whole(**settings)
    assert event in whole.events, list(whole.events)
    kill_and_resume(config, [Fault(event=event, nth=nth, do=kill)])
    assert outcome(config.out) == whole.outcome
