"""Read ahead: load items in threads while the caller works on those before. Knows nothing of pictures."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
        ahead: deque[Future[Result]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(load, item))
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
