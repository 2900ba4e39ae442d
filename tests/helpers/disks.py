"""Full disks: a small one that is mounted for the test, or a limit on file sizes, which any user may set."""

import errno
import os
import resource
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fill:
    """Fills the disk of a folder."""

    folder: Path

    def __call__(self, _: Path | None = None) -> None:
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (2**16, 1):
                with _until_full():
                    while True:
                        filler.write(bytes(size))


@dataclass(frozen=True)
class Limit:
    """Forbids this process to write any more bytes into files."""

    def __call__(self, _: Path | None = None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk.

    Attributes:
        folder: a folder on the disk.
        fill: leaves no space on it, for the process that calls it.
        message: message of the system about a full one.
    """

    folder: Path
    fill: Fill | Limit
    message: str

    def free(self) -> None:
        """Free the space."""
        (self.folder / "filler").unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path) -> Generator[Disk]:
    """A disk mounted in a folder if this user may mount one, otherwise a disk with a limit."""
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        yield limited_disk(folder)
        return
    try:
        yield Disk(folder=folder, fill=Fill(folder), message=os.strerror(errno.ENOSPC))
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def limited_disk(folder: Path) -> Disk:
    """A disk that becomes full for one process alone."""
    return Disk(folder=folder, fill=Limit(), message=os.strerror(errno.EFBIG))


@contextmanager
def _until_full() -> Generator[None]:
    try:
        yield
    except OSError as fault:
        if fault.errno != errno.ENOSPC:
            raise
