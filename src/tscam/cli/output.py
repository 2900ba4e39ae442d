"""Standard output that takes any path, and that says in one line when it cannot be written."""

import codecs
import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

from tscam.errors import OutputError, one_line

# How the system refuses to write: a disk is full, by itself, for this user or for a limit on the size of files; or the
# reader of a pipe has gone.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)


@contextmanager
def checked_output() -> Generator[None]:
    """Print paths as their bytes, and characters that the terminal lacks as escapes.

    Raises:
        OutputError: standard output, or a file, cannot be written.
    """
    codecs.register_error(_escape.__name__, _escape)
    if isinstance(sys.stdout, io.TextIOWrapper):
        with suppress(OSError):  # A stream whose file was exchanged for a pipe keeps its own error handler.
            sys.stdout.reconfigure(errors=_escape.__name__)
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # It is None if it was closed before this process began.
                sys.stdout.flush()
    except OSError as fault:
        if fault.errno not in _REFUSALS:
            raise
        # The interpreter would try to write the rest at its end, and fail in its own words.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"{fault.filename or 'the output'}: cannot be written ({one_line(fault)})") from fault


def _escape(fault: UnicodeError) -> tuple[str | bytes, int]:
    """Give a byte of a name back as it was, and any other character as an escape."""
    for name in ("surrogateescape", "backslashreplace"):
        with suppress(UnicodeError):
            return codecs.lookup_error(name)(fault)
    raise fault
