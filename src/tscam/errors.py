"""The errors a user can cause; every message is one line that says what was given, what is allowed and what to do."""

import difflib
from collections.abc import Iterable, Sequence


class TscamError(Exception):
    """A user's mistake or a broken input. The command line prints its message and exits with code 2."""


class ConfigError(TscamError):
    """A setting, a name or a recipe that is not allowed."""


class DataError(TscamError):
    """A data set, a list file or an annotation that cannot be used."""


class ImageError(DataError):
    """A picture that cannot be read."""


class WeightsError(TscamError):
    """Weights or a model that cannot be read, or that do not fit."""


class TrainingError(TscamError):
    """Training that cannot go on."""


class PeerError(TrainingError):
    """Another of several processes has died; what that one died of is the fault."""


class StoppedError(TscamError):
    """Work that a signal asked to stop, and that kept its state.

    Attributes:
        signal: its number.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message, signal)  # both, so that it can be sent from process to process
        self.signal = signal

    def __str__(self) -> str:
        return str(self.args[0])


class OutputError(TscamError):
    """A place where the result cannot be written."""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """A hint `; did you mean 'x'?` for a near miss, or an empty string."""
    near = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def first_names(names: Sequence[str], *, at_most: int) -> str:
    """The first of many names and the number of the others: `a, b and 3 more`."""
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def one_line(error: BaseException) -> str:
    """An exception of another library as one line: its type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
