"""Work ahead: items in threads or processes while the caller works on those before. Knows nothing of pictures."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tscam.errors import TscamError

# Called with how many are done, of how many.
Progress = Callable[[int, int], None]

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], load: Callable[[Item], Result], *, workers: int, depth: int
) -> Generator[Result, None, None]:
    """What `load` makes of each item, in the order of the items.

    Args:
        items: taken one by one, no more than `depth` before their turn: they may be endless.
        load: called in the threads. What it raises is raised where its result is due, and ends the reading.
        workers: number of threads.
        depth: number of items in work or waiting, at most; it bounds the memory.

    Closing the generator, or leaving it by an exception, drops what has not begun and waits for what has.
    """
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="read-ahead") as pool:
        yield from _ahead(pool, items, load, depth=depth)


def in_processes(
    items: Iterable[Item], work: Callable[[Item], Result], *, processes: int, depth: int
) -> Generator[Result, None, None]:
    """The same in processes, for work that Python's lock keeps from running side by side.

    They are started anew, so a script that comes here needs its `if __name__ == "__main__"`.

    Args:
        work: and all it takes and gives can be pickled.
        processes: their number; with one or none the work is done here.

    Raises:
        TscamError: a process was killed.
    """
    if processes < 2:
        yield from map(work, items)
        return
    try:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from _ahead(pool, items, work, depth=depth)
    except BrokenProcessPool as fault:
        raise TscamError(
            "a process that judges pictures was killed, perhaps for want of memory; take fewer workers"
        ) from fault


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
    """The items in lists of `size`, the last one as long as what is left."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
