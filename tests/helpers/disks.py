"""Disks that get full: a small one that is mounted for it, or a limit on the size of files, which any user may set."""

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
    """Fills the disk that a folder is on."""

    folder: Path

    def __call__(self, _: Path | None = None) -> None:
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (2**16, 1):
                with _until_full():
                    while True:
                        filler.write(bytes(size))


@dataclass(frozen=True)
class Limit:
    """Lets this process write no byte more into any file."""

    def __call__(self, _: Path | None = None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk.

    Attributes:
        folder: on it.
        fill: leaves no space there, to the process that calls it.
        said: of a full one, by the system.
    """

    folder: Path
    fill: Fill | Limit
    said: str

    def free(self) -> None:
        """There is space again."""
        (self.folder / "filler").unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path) -> Generator[Disk]:
    """A disk of its own in a folder, where this user may mount one, else one with a limit."""
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        yield limited_disk(folder)
        return
    try:
        yield Disk(folder=folder, fill=Fill(folder), said=os.strerror(errno.ENOSPC))
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def limited_disk(folder: Path) -> Disk:
    """Full for one process alone, which may write no file any longer."""
    return Disk(folder=folder, fill=Limit(), said=os.strerror(errno.EFBIG))


@contextmanager
def _until_full() -> Generator[None]:
    try:
        yield
    except OSError as fault:
        if fault.errno != errno.ENOSPC:
            raise
