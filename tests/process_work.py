"""What tests give to other processes to do, in a module that those can import."""

import os
import signal

from tscam.errors import DataError


def square(number: int) -> tuple[int, int]:
    """Also who did it."""
    return number * number, os.getpid()


def inverse(number: int) -> float:
    return 1 / number


def refused_at_two(number: int) -> int:
    if number == 2:
        raise DataError("picture 2: no map; add it")
    return number


def killed_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number
