"""A run that is killed at any moment and taken up again comes to the very bits that it would have come to."""

import random

import pytest

from faults import Fault, kill
from reliability.runs import EVERY_STEP, KINDS, PARTS, Bench, killed_and_resumed, kills, outcome, part_of

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
