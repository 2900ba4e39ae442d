"""Errors that a user can cause. Each message is one line: the input, what is allowed, what to do."""

import difflib
from collections.abc import Iterable, Sequence


class TscamError(Exception):
    """A user's mistake or a broken input. The command line prints its message and exits with code 2."""


class ConfigError(TscamError):
    """A setting, name or recipe is not allowed."""


class DataError(TscamError):
    """A dataset, list file or annotation cannot be used."""


class ImageError(DataError):
    """A picture cannot be read."""


class WeightsError(TscamError):
    """Weights or a model cannot be read, or do not fit."""


class TrainingError(TscamError):
    """Training cannot continue."""


class PeerError(TrainingError):
    """Another of several processes died; its error is the cause."""


class StoppedError(TscamError):
    """A signal stopped the work, and the state is saved.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message, signal)  # both, so that pickle can rebuild it in another process
        self.signal = signal

    def __str__(self) -> str:
        return str(self.args[0])


class OutputError(TscamError):
    """The result cannot be written."""


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return a hint `; did you mean 'x'?` for a near miss, else an empty string."""
    near = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def first_names(names: Sequence[str], *, at_most: int) -> str:
    """Return the first names of a list and the number of the others.

    Example:
        >>> first_names(["ant", "bee", "fox", "owl"], at_most=2), first_names(["ant", "bee"], at_most=2)
        ('ant, bee and 2 more', 'ant, bee')
    """
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def one_line(error: BaseException) -> str:
    """Return an exception of another library as one line: its type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
