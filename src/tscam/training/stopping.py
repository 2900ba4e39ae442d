"""A wish to stop: SIGTERM or Ctrl-C, which training answers at the end of its step."""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType


class StopWish:
    """Attributes: signal: the number of the first signal that came; None before."""

    def __init__(self) -> None:
        self.signal: int | None = None


_TAKEN = "stopping after this step, the state will be saved; once more ends at once\n"


@contextmanager
def stop_wish(*, is_heard: bool = True) -> Generator[StopWish]:
    """Takes SIGTERM and SIGINT as a wish while the block runs; the second signal ends the process at once.

    The first signal is answered by a line on stderr where it is to be heard.

    Outside the main thread, where signals do not arrive, there is never a wish.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    numbers = (signal.SIGTERM, signal.SIGINT)

    def take(number: int, _: FrameType | None) -> None:
        wish.signal = number
        if is_heard:
            # Neither `print` nor a listener: the signal may have come in the midst of one of theirs. A bar would take
            # the rest of its line.
            with suppress(OSError):
                os.write(2, ("\n" * os.isatty(2) + _TAKEN).encode())
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, take) for number in numbers}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
