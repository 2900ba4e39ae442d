"""Errors that a user can cause. Each message is one line: the input, what is allowed, what to do."""

import difflib
import reprlib
from collections.abc import Iterable, Sequence

# Characters of a value in a message, of another library's message in ours, and of ours on the command line.
_LONGEST_VALUE, _LONGEST_CAUSE, _LONGEST_MESSAGE = 80, 160, 300


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
    if len(name) > _LONGEST_VALUE:
        return ""
    near = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def first_names(names: Sequence[str], *, at_most: int) -> str:
    """Return the first names of a list, each cut to 80 characters, and the number of the others.

    Example:
        >>> first_names(["ant", "bee", "fox", "owl"], at_most=2), first_names(["ant", "bee"], at_most=2)
        ('ant, bee and 2 more', 'ant, bee')
    """
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(map(shown, names[:at_most])) + more


def quoted(value: object) -> str:
    """Return a value as Python writes it, cut to 80 characters; it is never written out whole first.

    Example:
        >>> quoted("fox"), quoted("x" * 5000)[-4:], quoted(2**100_000), quoted([{"a": 1}])
        ("'fox'", 'xxx…', 'an integer of 100001 bits', "[{'a': 1}]")
    """
    return _cut(_REPR.repr(value), at_most=_LONGEST_VALUE)


def shown(text: str) -> str:
    """Return text on one line, cut to 80 characters; what does not print is escaped as Python does."""
    escaped = (letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[: _LONGEST_VALUE + 1])
    return _cut("".join(escaped), at_most=_LONGEST_VALUE)


class _BoundedRepr(reprlib.Repr):
    """Looks at a few items of a few levels; a value of any size takes the same short time."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxother = 3, _LONGEST_VALUE

    def repr_str(self, x: str, level: int) -> str:  # noqa: ARG002
        return repr(x[: _LONGEST_VALUE + 1])

    def repr_int(self, x: int, level: int) -> str:  # noqa: ARG002  Python refuses to write more than 4300 digits.
        return repr(x) if x.bit_length() <= 256 else f"an integer of {x.bit_length()} bits"


_REPR = _BoundedRepr()


def one_message(error: BaseException) -> str:
    """Return the message of an error as it is printed; a message about settings or weights is cut to 300 characters.

    Their files come from strangers, and so does what a message quotes. A longer message loses its middle.
    """
    # A path may contain line breaks; messages of cyclopts contain some on purpose.
    message = "\\n".join(str(error).splitlines()) if isinstance(error, TscamError) else str(error)
    is_of_data = isinstance(error, TscamError) and not isinstance(error, ConfigError | WeightsError)
    if is_of_data or len(message) <= _LONGEST_MESSAGE:
        return message
    half = (_LONGEST_MESSAGE - 3) // 2
    return f"{message[:half]} … {message[-half:]}"


def _cut(text: str, *, at_most: int) -> str:
    return text if len(text) <= at_most else text[: at_most - 1] + "…"


def one_line(error: BaseException) -> str:
    """Return an exception of another library as one line: its type and the first line of its message, cut."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {_cut(lines[0], at_most=_LONGEST_CAUSE)}" if lines else type(error).__name__
