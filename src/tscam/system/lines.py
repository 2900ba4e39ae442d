"""Files that grow line by line; each line is handed to the system at once, so that a killed process loses none."""

import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from tscam.system.writing import Cell, csv_line, disk_errors, write_csv

_CHUNK = 2**20  # bytes


class LineFile:
    """Lines in a file, for several passes over more than memory takes; a torn last line is cut off on opening.

    Args:
        path: the file, made with its folder if it is missing.
        file: the file, if it is open already.

    Raises:
        OutputError: the disk refuses.
    """

    def __init__(self, path: Path, *, file: io.FileIO | None = None) -> None:
        self._name = path
        with disk_errors(path):
            if file is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                # Unbuffered: what a full disk has refused would be written once more, and refused, on closing.
                file = path.open("a+b", buffering=0)
            self._file = file
            try:
                self._count, self._size = self._measure()
                self._file.truncate(self._size)
            except BaseException:
                self._file.close()
                raise

    @classmethod
    def without_name(cls) -> "LineFile":
        """Return lines in a temporary file, which the system removes with the process."""
        folder = Path(tempfile.gettempdir())
        with disk_errors(folder):
            return cls(folder, file=tempfile.TemporaryFile(buffering=0))

    def append(self, line: bytes) -> None:
        """Add a line without its end.

        Raises:
            OutputError: the disk refuses; the file has the lines that it had.
        """
        rest = memoryview(line + b"\n")
        with disk_errors(self._name):
            self._file.seek(self._size)
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except BaseException:
                with suppress(OSError):
                    self._file.truncate(self._size)
                raise
        self._size += len(line) + 1
        self._count += 1

    def truncate(self, count: int) -> None:
        """Keep the first lines alone.

        Raises:
            OutputError: the disk refuses.
        """
        size = sum(len(line) + 1 for line, _ in zip(self, range(count), strict=False))
        with disk_errors(self._name):
            self._file.truncate(size)
        self._count, self._size = min(count, self._count), size

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        """Yield all lines without their ends; lines may be added meanwhile."""
        position, begun = 0, b""
        while position < self._size:
            self._file.seek(position)
            chunk = self._file.read(min(_CHUNK, self._size - position))
            position += len(chunk)
            *lines, begun = (begun + chunk).split(b"\n")
            yield from lines

    def close(self) -> None:
        """Close the file; a temporary one is removed."""
        self._file.close()

    def __enter__(self) -> "LineFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _measure(self) -> tuple[int, int]:
        """Return the number of whole lines, and their size in bytes."""
        count = size = position = 0
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            if b"\n" in chunk:
                count += chunk.count(b"\n")
                size = position + chunk.rindex(b"\n") + 1
            position += len(chunk)
        return count, size


class RowFile:
    """A CSV file that grows row by row, and exists from its first row on.

    Args:
        path: the file; an old one is replaced.
        header: names of the columns.
        rows: the first rows.

    Raises:
        OutputError: the disk refuses.
    """

    def __init__(self, path: Path, header: Sequence[str], *, rows: Iterable[Sequence[Cell]] = ()) -> None:
        self._path, self._header = path, header
        self._lines: LineFile | None = None
        if (first := next(remaining := iter(rows), None)) is None:
            path.unlink(missing_ok=True)
        else:
            self._begin(chain([first], remaining))

    def append(self, row: Sequence[Cell]) -> None:
        """Add a row.

        Raises:
            OutputError: the disk refuses; the file has the rows that it had.
        """
        if self._lines is None:
            self._begin([row])
        else:
            self._lines.append(csv_line(row).removesuffix(b"\n"))

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, rows: Iterable[Sequence[Cell]]) -> None:
        write_csv(self._path, self._header, rows)
        self._lines = LineFile(self._path)
