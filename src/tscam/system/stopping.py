"""Stop requests: SIGTERM or Ctrl-C, which training answers at the end of its step."""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType

_MESSAGE = "stopping after this step, the state will be saved; a second signal ends at once\n"


class StopRequest:
    """Attributes: signal: number of the first signal that came; None before."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def stop_requests(*, is_answered: bool = True) -> Generator[StopRequest]:
    """Record the first SIGTERM or SIGINT while the block runs; the second one ends the process at once.

    Outside the main thread, where signals do not arrive, nothing is ever recorded.

    Args:
        is_answered: answer the first signal by a line on stderr.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = (signal.SIGTERM, signal.SIGINT)

    def record(number: int, _: FrameType | None) -> None:
        request.signal = number
        if is_answered:
            # Neither `print` nor a listener: the signal may have interrupted one of them. A progress bar would
            # overwrite the rest of its line.
            with suppress(OSError):
                os.write(2, ("\n" * os.isatty(2) + _MESSAGE).encode())
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, record) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
