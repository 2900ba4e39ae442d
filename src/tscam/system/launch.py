"""Several processes for one task on this machine, through PyTorch's elastic launcher.

The task and its messages are the caller's: messages come back through a queue, errors as they were raised.
"""

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from typing import TypeVar

from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tscam.errors import PeerError, StoppedError, TrainingError, TscamError

Task = TypeVar("Task")
Message = TypeVar("Message")
Result = TypeVar("Result")

# Seconds that processes have, after a signal, to end their step and save their state.
_GRACE_S = 600


class _End:
    """The last item of the queue."""


def launch(
    work: Callable[[Task, Callable[[Message], None]], Result],
    task: Task,
    *,
    processes: int,
    on_message: Callable[[Message], None],
) -> Result:
    """Run `work(task, send)` in several processes and return the result of the first one.

    The processes find one another by their environment, as under `torchrun`.

    Args:
        work: a function of a module. Only the first process sends messages; in the others `send` does nothing.
        on_message: called in this process, from a thread, with every message.

    Raises:
        TscamError: the error of a process, or a process that died without one.
        StoppedError: a signal came; it was passed to the processes, and they have ended.
    """
    _silence_launcher()
    queue: Queue[object] = multiprocessing.get_context("spawn").Queue()
    errors: list[TscamError] = []
    listener = threading.Thread(target=_listen, args=(queue, on_message, errors), daemon=True)
    listener.start()
    try:
        with tempfile.TemporaryDirectory() as folder, _environment(processes):
            config = LaunchConfig(
                run_id="tscam", min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=0,
                rdzv_backend="c10d", rdzv_endpoint="localhost:0", shutdown_timeout=_GRACE_S,
                logs_specs=DefaultLogsSpecs(log_dir=folder),
            )  # fmt: skip
            results: dict[int, Result] = elastic_launch(config, _run_member)(work, task, queue)
            return results[0]
    except SignalException as fault:
        name = signal.Signals(fault.sigval).name
        raise StoppedError(f"stopped by {name}; continue with `tscam resume`", fault.sigval) from None
    except ChildFailedError as fault:
        queue.put(_End())
        listener.join()
        raise errors[0] if errors else _death(fault) from fault
    finally:
        queue.put(_End())
        listener.join()


def _run_member(
    work: Callable[[Task, Callable[[Message], None]], Result], task: Task, queue: "Queue[object]"
) -> Result:
    """Run the task in one of the processes."""
    _silence_launcher()
    os.setsid()  # Ctrl-C then reaches the launcher alone, which passes it on; a second signal would end the process.
    try:
        return work(task, queue.put if os.environ["RANK"] == "0" else _ignore)
    except PeerError:
        raise  # the error of the process that died is reported instead
    except TscamError as fault:
        queue.put(fault)
        raise
    finally:
        queue.close()
        queue.join_thread()


def _listen(queue: "Queue[object]", on_message: Callable[[object], None], errors: list[TscamError]) -> None:
    while not isinstance(message := queue.get(), _End):
        if isinstance(message, TscamError):
            errors.append(message)
        else:
            on_message(message)


def _ignore(_: object) -> None:
    pass


def _death(failed: ChildFailedError) -> TscamError:
    """The error for a process that ended without one."""
    rank, failure = failed.get_first_failure()
    number = -failure.exitcode
    reason = signal.Signals(number).name if number in set(signal.Signals) else f"exit code {failure.exitcode}"
    return TrainingError(
        f"process {rank} (pid {failure.pid}) has died ({reason}: {failure.message}); the last saved state is kept, "
        "continue with `tscam resume`"
    )


def _silence_launcher() -> None:
    """Suppress the launcher's reports, which would precede our one-line error."""
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)


@contextmanager
def _environment(processes: int) -> Generator[None]:
    """Share the cores among the processes; restore the signal handlers that the launcher replaces."""
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
