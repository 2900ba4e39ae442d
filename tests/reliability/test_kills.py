"""A run that is killed at any moment and taken up again comes to the very bits that it would have come to."""

import random
from pathlib import Path

import pytest

from reliability.runs import KINDS, data_in, killed_and_resumed, kills, outcome, parts_hit, settings, unbroken

# 25 over the four kinds of runs.
COUNTS = dict(zip(KINDS, (7, 6, 6, 6), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_that_is_resumed_ends_as_the_unbroken_one(kind: str, tmp_path: Path) -> None:
    data_in(tmp_path)
    whole = settings(tmp_path, out=tmp_path / "whole" / "run", **KINDS[kind])
    events = unbroken(whole).events
    expected = outcome(whole.out)
    drawn = kills(events, COUNTS[kind], random.Random(f"kills of {kind}"))
    assert {"step", "state", "scoring", "weights", "other files"} <= parts_hit(drawn)
    for number, fault in enumerate(drawn):
        broken = settings(tmp_path, out=tmp_path / str(number) / "run", **KINDS[kind])
        killed_and_resumed(broken, fault)
        assert outcome(broken.out) == expected, fault
