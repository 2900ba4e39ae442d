"""Several processes for one training run on this machine, through PyTorch's elastic launcher.

What they do and what they say is the caller's: progress comes back through a queue, errors as they were raised.
"""

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from multiprocessing.queues import Queue
from typing import Any, TypeVar

from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tscam.errors import PeerError, StoppedError, TrainingError, TscamError

Result = TypeVar("Result")

# Seconds in which processes that were asked to stop may end their step and save their state.
_GRACE_S = 600

# What goes through the queue: the name of a listener and its argument, or None at the end.
_Said = tuple[str, Any] | None
_ERROR = "error"


def launch(
    work: Callable[..., Result], *arguments: object, processes: int, listeners: Mapping[str, Callable[[Any], None]]
) -> Result:
    """What `work` gives in the first of so many processes, which find one another by their environment.

    Args:
        work: a function of a module; called with the arguments and, in the first process, with what stands in for each
            listener by its name.
        listeners: called in this process, from a thread, with what the first process says.

    Raises:
        TscamError: what a process raised, or that one has died.
        StoppedError: a signal came; the processes were given it and have ended.
    """
    _silence_launcher()
    said: Queue[_Said] = multiprocessing.get_context("spawn").Queue()
    errors: list[TscamError] = []
    hearing = threading.Thread(target=_hear, args=(said, {**listeners, _ERROR: errors.append}), daemon=True)
    hearing.start()
    try:
        with tempfile.TemporaryDirectory() as folder, _surroundings(processes):
            config = LaunchConfig(
                run_id="tscam", min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=0,
                rdzv_backend="c10d", rdzv_endpoint="localhost:0", shutdown_timeout=_GRACE_S,
                logs_specs=DefaultLogsSpecs(log_dir=folder),
            )  # fmt: skip
            results: dict[int, Result] = elastic_launch(config, _work)(work, arguments, said, tuple(listeners))
            return results[0]
    except SignalException as fault:
        named = signal.Signals(fault.sigval).name
        raise StoppedError(f"stopped by {named}; go on with `tscam resume`", fault.sigval) from None
    except ChildFailedError as fault:
        said.put(None)
        hearing.join()
        raise errors[0] if errors else _death(fault) from fault
    finally:
        said.put(None)
        hearing.join()


def _work(
    work: Callable[..., Result], arguments: tuple[object, ...], said: "Queue[_Said]", listeners: tuple[str, ...]
) -> Result:
    """Runs in each process."""
    _silence_launcher()
    os.setsid()  # Ctrl-C then reaches the launcher alone, which passes it on; twice would mean to quit at once.

    def stand_in(name: str) -> Callable[[object], None]:
        return lambda what: said.put((name, what))

    try:
        return work(*arguments, **{name: stand_in(name) for name in listeners if os.environ["RANK"] == "0"})
    except PeerError:
        raise  # what the other one died of is told
    except TscamError as fault:
        said.put((_ERROR, fault))
        raise
    finally:
        said.close()
        said.join_thread()


def _hear(said: "Queue[_Said]", listeners: Mapping[str, Callable[[Any], None]]) -> None:
    while (message := said.get()) is not None:
        name, what = message
        listeners[name](what)


def _death(failed: ChildFailedError) -> TscamError:
    """A process has ended without an error of its own."""
    rank, failure = failed.get_first_failure()
    number = -failure.exitcode
    how = signal.Signals(number).name if number in set(signal.Signals) else f"exit code {failure.exitcode}"
    return TrainingError(
        f"process {rank} (pid {failure.pid}) has died ({how}: {failure.message}); the last saved state is kept, "
        "go on with `tscam resume`"
    )


def _silence_launcher() -> None:
    """Its own reports would come before the one line that says what is wrong."""
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)


@contextmanager
def _surroundings(processes: int) -> Generator[None]:
    """Shares the cores among the processes, and gives the signals back that the launcher takes."""
    name = "OMP_NUM_THREADS"
    threads = os.environ.get(name)
    is_main_thread = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT) if is_main_thread else ()
    handlers = {number: signal.getsignal(number) for number in numbers}
    os.environ.setdefault(name, str(max((os.cpu_count() or 1) // processes, 1)))
    try:
        yield
    finally:
        if threads is None:
            del os.environ[name]
        for number, handler in handlers.items():
            signal.signal(number, handler)
