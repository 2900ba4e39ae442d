"""A wish to stop: SIGTERM or Ctrl-C, which training answers at the end of its step."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class StopWish:
    """Attributes: signal: the number of the first signal that came; None before."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def stop_wish() -> Generator[StopWish]:
    """Takes SIGTERM and SIGINT as a wish while the block runs; the second signal ends the process at once.

    Outside the main thread, where signals do not arrive, there is never a wish.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    numbers = (signal.SIGTERM, signal.SIGINT)

    def take(number: int, _: FrameType | None) -> None:
        wish.signal = number
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, take) for number in numbers}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
