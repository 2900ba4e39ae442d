"""Work ahead: threads or processes work on the next items while the caller uses the ones before."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from tscam.errors import TscamError

# Called with the number of items done, and of all.
Progress = Callable[[int, int], None]

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], load: Callable[[Item], Result], *, workers: int, depth: int
) -> Generator[Result, None, None]:
    """The result of `load` for every item, in the order of the items.

    Closing the generator, or leaving it by an exception, drops the calls that have not begun and waits for the others.

    Args:
        items: taken one by one, at most `depth` before their turn: they may be endless.
        load: called in the threads. Its exception is raised where its result is due, and ends the reading.
        workers: number of threads.
        depth: largest number of items in work or waiting; it bounds the memory.
    """
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="read-ahead") as pool:
        yield from _ahead(pool, items, load, depth=depth)


def in_processes(
    items: Iterable[Item], work: Callable[[Item], Result], *, processes: int, depth: int
) -> Generator[Result, None, None]:
    """The result of `work` for every item, in the order of the items, from processes: Python's lock blocks threads.

    The processes import the main module, so a script that calls this needs its `if __name__ == "__main__"`.

    Args:
        work: can be pickled, and so can its items and results.
        processes: number of processes; with one or none the work is done here.
        depth: largest number of items in work or waiting; it bounds the memory.

    Raises:
        TscamError: a process was killed.
    """
    if processes < 2:
        yield from map(work, items)
        return
    try:
        with ProcessPoolExecutor(
            processes, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
        ) as pool:
            yield from _ahead(pool, items, work, depth=depth)
    except BrokenProcessPool as fault:
        raise TscamError("a worker process was killed, perhaps because memory ran out; take fewer workers") from fault


def _end_with_parent() -> None:
    """Let this process end when the one that started it was killed; it would wait for work for ever."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _ahead(
    pool: Executor, items: Iterable[Item], work: Callable[[Item], Result], *, depth: int
) -> Generator[Result, None, None]:
    ahead: deque[Future[Result]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) >= depth:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for waiting in ahead:
            waiting.cancel()


def batches(items: Iterable[Item], size: int) -> Generator[list[Item], None, None]:
    """The items in lists of `size`; the last list takes the rest."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
