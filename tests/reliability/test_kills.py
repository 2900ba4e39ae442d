"""A run that is killed at any moment and taken up again comes to the very bits that it would have come to."""

import random
import signal

import pytest

from faults import Fault, in_child, kill
from runs import EVERY_STEP, KINDS, PARTS, Bench, killed_and_resumed, kills, outcome, part_of
from tscam.checkpoints.model_folder import read_metrics
from tscam.checkpoints.source import resolve
from tscam.verbs.train import resume, train

# 25 over the four kinds of runs; `scripts/soak` has more.
COUNTS = dict(zip(KINDS, (7, 6, 6, 6), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_that_is_resumed_ends_as_the_unbroken_one(kind: str, bench: Bench) -> None:
    whole = bench.whole(**KINDS[kind])
    drawn = kills(whole.events, COUNTS[kind], random.Random(f"kills of {kind}"))
    assert {part_of(fault.kind) for fault in drawn} == {*PARTS, "other files"}
    for fault in drawn:
        config = bench.run(**KINDS[kind])
        killed_and_resumed(config, [fault])
        assert outcome(config.out) == whole.outcome, fault


def test_a_run_that_is_killed_each_time_it_is_resumed_ends_as_the_unbroken_one(bench: Bench) -> None:
    often = [
        Fault(kind="step: weights have changed", do=kill),
        Fault(kind="os.rename state/#.json", do=kill),
        Fault(kind="picture read to score", do=kill),
        Fault(kind="os.rename metrics.csv", do=kill),
    ]
    config = bench.run(save_minutes=EVERY_STEP)
    killed_and_resumed(config, often)
    assert outcome(config.out) == bench.whole(save_minutes=EVERY_STEP).outcome


def test_a_run_that_is_killed_between_the_two_renames_of_its_weights_has_the_old_ones_and_ends_as_the_unbroken_one(
    bench: Bench,
) -> None:
    settings = {"select": "last"}  # Each epoch is the best so far.
    config, whole = bench.run(**settings), bench.whole(**settings)
    between = Fault(kind="os.rename weights/best", nth=2, do=kill)
    ended = in_child(train, config, watched=config.out, faults=[between])
    assert ended.code == -signal.SIGKILL, ended
    assert sorted(path.name for path in (config.out / "weights").iterdir()) == [".best.new", ".best.old", "last"]
    assert read_metrics(resolve(config.out).weights)["epoch"] == 1
    assert in_child(resume, config.out).result == config.out
    assert outcome(config.out) == whole.outcome
    assert read_metrics(resolve(config.out).weights)["epoch"] == config.epochs


def test_how_often_a_state_is_kept_and_who_reads_the_pictures_change_no_bit(bench: Bench) -> None:
    every_step, helped = bench.whole(save_minutes=EVERY_STEP), bench.whole(workers=2)
    assert every_step.outcome == helped.outcome


@pytest.mark.parametrize(
    ("kind", "nth"),
    [("start: open x *.part", 1), ("start: os.rename config.yaml", 1), ("os.remove state/#.json", 3)],
    ids=["the settings half written", "the settings in place", "the last state too many not yet removed"],
)
def test_nothing_of_a_write_that_was_killed_at_the_ends_of_a_run_is_in_the_way_or_stays(
    kind: str, nth: int, bench: Bench
) -> None:
    settings = {"epochs": 4}
    config, whole = bench.run(**settings), bench.whole(**settings)
    assert kind in whole.events, list(whole.events)
    killed_and_resumed(config, [Fault(kind=kind, nth=nth, do=kill)])
    assert outcome(config.out) == whole.outcome
