"""The folder that a run writes into: locked before it is emptied or written, and kept so that the run can be resumed.

Knows nothing of what a run does.
"""

import json
import os
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tscam.errors import OutputError, one_line
from tscam.system.writing import is_partial, literal, remove_partial_files, write_json

# Names of the file that a run locks, and of the file that says what a run does.
LOCK, RECORD = ".lock", "run.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides the result of a run, so that an interrupted run is resumed only by an equal one.

    Attributes:
        verb: name of the verb.
        settings: JSON values by the name of the setting.
        inputs: hash of each input by its name in messages, such as `the model`.
    """

    verb: str
    settings: Mapping[str, object]
    inputs: Mapping[str, str]


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Lock a folder for this process, and make it if it is missing. The system unlocks it however the process ends.

    Raises:
        OutputError: another process has locked it, or the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout as fault:
        raise OutputError(
            f"{folder}: another run is writing here; wait until it has ended, or choose another folder"
        ) from fault
    except (OSError, ValueError) as fault:
        raise OutputError(f"{str(folder)!r}: cannot be used for output ({one_line(fault)})") from fault
    try:
        yield
    finally:
        lock.release()


@contextmanager
def claimed_output(folder: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> Generator[Path]:
    """Lock the folder of a new run, make or empty it, and yield its absolute path; it is locked until the block ends.

    A folder that contains only leftovers of killed writes counts as empty.

    Args:
        folder: path, taken literally.
        overwrite: empty a folder that is in use. A link in it is removed, its target stays.
        inputs: files and folders that the run reads; they are never emptied.

    Raises:
        OutputError: another run has locked the folder, or one to be emptied inside it; a file is in the way, the folder
            is not empty, the disk refuses, or the folder to empty is the root, the home, the current folder, an input
            or a parent of these, or is inside an input.
    """
    inputs = list(inputs)
    path = require_claimable(folder, overwrite=overwrite, inputs=inputs)
    with locked(path):
        _require_usable(folder, overwrite=overwrite, inputs=inputs)  # Another run may have been here meanwhile.
        _empty(path)
        yield path


def require_claimable(folder: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> Path:
    """Return the absolute path of a folder if `claimed_output` would accept it; nothing is changed.

    Raises:
        OutputError: as `claimed_output`.
    """
    _require_unlocked(folder / LOCK)
    return _require_usable(folder, overwrite=overwrite, inputs=inputs)


@contextmanager
def resumable_output(
    folder: Path, job: Job, *, overwrite: bool, resume: bool, inputs: Iterable[Path] = ()
) -> Generator[Path]:
    """Lock the folder of a run that can be resumed, and yield its absolute path; it is locked until the block ends.

    The folder is claimed as by `claimed_output`, or it is as an interrupted run has left it, without partial files.
    `run.json` in it says what the run does, and at the end of the block that the run is complete.

    Args:
        resume: go on with the run in the folder; an empty folder begins one.

    Raises:
        OutputError: as `require_resumable`; or an error of the block, which then also says how to go on.
    """
    inputs = list(inputs)
    path = require_resumable(folder, job, overwrite=overwrite, resume=resume, inputs=inputs)
    with locked(path):
        if resume and _record(path) is not None:
            _require_same_job(path, job)
            remove_partial_files(path)
        else:
            _require_usable(folder, overwrite=overwrite, inputs=inputs)
            _empty(path)
        write_json(path / RECORD, {**asdict(job), "complete": False}, indent=1)
        try:
            yield path
        except OutputError as fault:
            raise OutputError(f"{fault}; what is done stays, go on with --resume") from fault
        write_json(path / RECORD, {**asdict(job), "complete": True}, indent=1)


def require_resumable(folder: Path, job: Job, *, overwrite: bool, resume: bool, inputs: Iterable[Path] = ()) -> Path:
    """Return the absolute path of a folder if `resumable_output` would accept it; nothing is changed.

    Raises:
        OutputError: as `claimed_output`; or the folder is to be resumed, and its run is of another verb, has other
            settings, or has read other inputs.
    """
    _require_unlocked(folder / LOCK)
    path = literal(folder)
    if resume and _record(path) is not None:
        _require_same_job(path, job)
        return path
    if resume and _is_in_use(path):
        raise OutputError(
            f"{folder}: no run of `tscam {job.verb}` to resume, it has no readable {RECORD}; choose another folder, or "
            "begin in this one with --overwrite"
        )
    return _require_usable(folder, overwrite=overwrite, inputs=inputs)


def _require_unlocked(lock: Path) -> None:
    """Refuse a folder whose lock file another process has locked."""
    with suppress(OSError, ValueError):  # A name that no file can have is refused where it is used.
        if not lock.exists():
            return
        with locked(lock.parent):
            pass


def _require_usable(folder: Path, *, overwrite: bool, inputs: Iterable[Path]) -> Path:
    try:
        path = literal(folder)
        if path.exists() and not path.is_dir():
            raise OutputError(f"{folder}: a file; the output is a folder, choose another name")
        if _is_in_use(path):
            if not overwrite:
                raise OutputError(_in_use(folder, path))
            _require_emptiable(path, inputs)
    except (OSError, ValueError, RuntimeError) as fault:  # A NUL in the name; links in a circle.
        raise _unusable(folder, fault) from fault
    return path


def _is_in_use(path: Path) -> bool:
    return path.is_dir() and not all(entry.name == LOCK or is_partial(entry) for entry in path.iterdir())


def _in_use(folder: Path, path: Path) -> str:
    """Return why a folder is refused: it contains a run that can be resumed, or is not empty."""
    record = _record(path)
    if record is not None and record.get("complete") is False:
        return (
            f"{folder}: an interrupted run of `tscam {record.get('verb')}` is here; go on with it by --resume, choose "
            "another folder, or empty it with --overwrite"
        )
    return f"{folder}: the folder is not empty; choose another one, or empty it with --overwrite"


def _require_emptiable(folder: Path, inputs: Iterable[Path]) -> None:
    real = folder.resolve()
    for source in (path.resolve() for path in inputs):
        if real == source or real in source.parents or source in real.parents:
            raise OutputError(f"{folder}: --overwrite would empty the input {source}; choose another folder")
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111  `Path.home` fails for a user without a home.
    for protected in (home, Path.cwd().resolve()):
        if real == protected or real in protected.parents:  # The root is a parent of every folder.
            raise OutputError(f"{folder}: --overwrite would empty {protected}; choose another folder")
    for lock in folder.rglob(LOCK):
        if lock.parent != folder:
            _require_unlocked(lock)


def _empty(path: Path) -> None:
    """Remove everything from a folder but the lock; the record first, so that a kill leaves none of an emptied run."""
    try:
        for entry in sorted(path.iterdir(), key=lambda entry: entry.name != RECORD):
            if entry.name == LOCK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except OSError as fault:
        raise _unusable(path, fault) from fault


def _unusable(folder: Path, fault: Exception) -> OutputError:
    return OutputError(f"{str(folder)!r}: cannot be used for output ({one_line(fault)}); choose another folder")


def _record(path: Path) -> Mapping[str, object] | None:
    """Return the record of a run that can be resumed; None without one."""
    try:
        record = json.loads((path / RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("complete"), bool) else None


def _require_same_job(path: Path, job: Job) -> None:
    record = _record(path) or {}
    if record.get("verb") != job.verb:
        raise OutputError(
            f"{path}: the run here is of `tscam {record.get('verb')}`; resume it by that verb, or choose another folder"
        )
    then, now = _mapping(record.get("settings")), json.loads(json.dumps(dict(job.settings)))
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if names:
        changes = "; ".join(f"{name} was {then.get(name)!r:.80} and is {now.get(name)!r:.80}" for name in names)
        raise OutputError(
            f"{path}: the run here has other settings ({changes}); give the same ones, or choose another folder"
        )
    hashes = _mapping(record.get("inputs"))
    for name, digest in job.inputs.items():
        if hashes.get(name) != digest:
            raise OutputError(
                f"{path}: {name} changed since the run here began; put back what was there, or choose another folder"
            )


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
