"""Objects on disk, in order, for several passes over more than memory takes."""

import pickle
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from tscam.errors import OutputError, one_line

Item = TypeVar("Item")


class Spool(Generic[Item]):
    """A list that only grows, in a file without a name; the system removes it with the process.

    Args:
        folder: a folder on the disk that takes the file; None takes the system's folder for temporary files.

    Raises:
        OutputError: the disk refuses.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        with self._disk_errors():
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  It is open as long as the spool is.
        self._count = 0

    def append(self, item: Item) -> None:
        """Add an object.

        Raises:
            OutputError: the disk refuses.
        """
        with self._disk_errors():
            self._file.seek(0, 2)
            pickle.dump(item, self._file, protocol=pickle.HIGHEST_PROTOCOL)
            self._file.flush()  # Else a full disk would show only when the last objects are read.
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        """All objects from the first one; one iteration at a time."""
        self._file.seek(0)
        for _ in range(self._count):
            yield pickle.load(self._file)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def __enter__(self) -> "Spool[Item]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _disk_errors(self) -> Generator[None]:
        try:
            yield
        except OSError as fault:
            raise OutputError(f"{self._folder}: cannot be written ({one_line(fault)}); free space there") from fault
