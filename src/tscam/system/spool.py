"""Objects on disk, in order: for what is too much to hold in memory and is gone through more than once."""

import pickle
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from tscam.errors import OutputError, one_line

Item = TypeVar("Item")


class Spool(Generic[Item]):
    """A list that only grows, in a file without a name, which the system removes with the process.

    Args:
        folder: on the disk that is to take it; the system's place for such files when None.

    Raises:
        OutputError: the disk refuses.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        with self._asked_of_the_disk():
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  It lives as long as the spool.
        self._count = 0

    def append(self, item: Item) -> None:
        """Adds an object.

        Raises:
            OutputError: the disk refuses.
        """
        with self._asked_of_the_disk():
            self._file.seek(0, 2)
            pickle.dump(item, self._file, protocol=pickle.HIGHEST_PROTOCOL)
            self._file.flush()  # Else the disk would refuse the last ones while they are read.
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        """All objects from the first; one walk at a time."""
        self._file.seek(0)
        for _ in range(self._count):
            yield pickle.load(self._file)

    def close(self) -> None:
        """Removes what is on the disk."""
        self._file.close()

    def __enter__(self) -> "Spool[Item]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _asked_of_the_disk(self) -> Generator[None]:
        try:
            yield
        except OSError as fault:
            raise OutputError(f"{self._folder}: cannot be written ({one_line(fault)}); free space there") from fault
