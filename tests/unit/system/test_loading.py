"""Reading ahead keeps the order, the bound and the errors of what it loads."""

import itertools
import threading
from collections.abc import Iterator

import pytest

from tscam.system.loading import batches, read_ahead


def test_results_keep_the_order_of_the_items() -> None:
    turns = [threading.Event() for _ in range(4)]

    def after_the_next(number: int) -> int:
        if number < 3:
            assert turns[number + 1].wait(timeout=10)
        turns[number].set()
        return number * number

    assert list(read_ahead(range(4), after_the_next, workers=4, depth=4)) == [0, 1, 4, 9]


@pytest.mark.parametrize(("workers", "depth"), [(1, 1), (2, 3), (5, 2)])
def test_items_are_taken_no_further_ahead_than_the_depth(workers: int, depth: int) -> None:
    started = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            started.append(number)
            yield number

    results = read_ahead(endless(), str, workers=workers, depth=depth)
    for number in range(10):
        assert next(results) == str(number)
        assert len(started) <= number + depth
    results.close()


def test_an_error_is_raised_where_its_result_is_due() -> None:
    def inverse(number: int) -> float:
        return 1 / number

    results = read_ahead([2, 4, 0, 5], inverse, workers=3, depth=4)
    assert [next(results), next(results)] == [0.5, 0.25]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_closing_drops_what_has_not_begun_and_waits_for_what_has() -> None:
    started, finished, go_on = [], [], threading.Event()

    def load(number: int) -> int:
        started.append(number)
        if number:
            assert go_on.wait(timeout=10)
        finished.append(number)
        return number

    results = read_ahead(range(9), load, workers=1, depth=5)
    assert next(results) == 0
    threading.Timer(0.3, go_on.set).start()  # Long after `close` has begun to wait.
    results.close()
    assert started == finished
    assert len(started) <= 2


def test_no_items_give_no_results() -> None:
    assert list(read_ahead([], str, workers=2, depth=2)) == []


def test_the_last_batch_is_as_long_as_what_is_left() -> None:
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches(range(4), 2)) == [[0, 1], [2, 3]]
    assert list(batches([], 2)) == []
