"""Work in processes keeps the order, the bound and the errors, and tells of a process that was killed."""

import itertools
import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from faults import in_child, until
from process_work import inverse, killed_at_three, refused_at_two, square, work_and_be_killed
from tscam.errors import DataError, TscamError
from tscam.system.loading import in_processes


def test_results_keep_the_order_and_come_from_other_processes() -> None:
    results = list(in_processes(range(17), square, processes=2, depth=5))
    assert [result for result, _ in results] == [number * number for number in range(17)]
    assert os.getpid() not in {pid for _, pid in results}


@pytest.mark.parametrize("processes", [0, 1])
def test_fewer_than_two_work_here_and_one_by_one(processes: int) -> None:
    started = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            started.append(number)
            yield number

    results = in_processes(numbers(), square, processes=processes, depth=9)
    assert [next(results), next(results)] == [(0, os.getpid()), (1, os.getpid())]
    assert started == [0, 1]
    results.close()


def test_items_are_taken_no_further_ahead_than_the_depth_and_closing_ends_it() -> None:
    started = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            started.append(number)
            yield number

    results = in_processes(endless(), square, processes=2, depth=3)
    for number in range(6):
        assert next(results)[0] == number * number
        assert len(started) <= number + 3
    results.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_is_raised_where_its_result_is_due(processes: int) -> None:
    results = in_processes([2, 4, 0, 5], inverse, processes=processes, depth=4)
    assert [next(results), next(results)] == [0.5, 0.25]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_a_users_mistake_keeps_its_type_and_its_line(processes: int) -> None:
    with pytest.raises(DataError, match=r"^picture 2: no map; add it$"):
        list(in_processes(range(4), refused_at_two, processes=processes, depth=4))


def test_an_error_of_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise DataError("cannot be read")

    with pytest.raises(DataError, match="cannot be read"):
        list(in_processes(items(), square, processes=2, depth=4))


def test_a_killed_process_is_told_in_one_line() -> None:
    results = in_processes(range(9), killed_at_three, processes=2, depth=1)
    assert [next(results), next(results), next(results)] == [0, 1, 2]
    with pytest.raises(
        TscamError,
        match=r"^a worker process was killed, perhaps because memory ran out; take fewer workers$",
    ):
        next(results)


def test_processes_end_when_the_one_that_started_them_is_killed() -> None:
    ended = in_child(work_and_be_killed)
    assert ended.code == -signal.SIGKILL, ended
    pids = [int(pid) for pid in ended.err.splitlines()[0].split()]
    assert len(pids) == 3
    until(lambda: not any(map(is_running, pids)))


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_no_items_give_no_results() -> None:
    assert list(in_processes([], square, processes=2, depth=2)) == []
