"""Work in child processes that meet a fault at an exact event, such as the third renaming of a state's facts.

An event is a stage of a training step, the reading of a picture, or what the interpreter reports to audit hooks before
it opens, renames, makes or removes a file of the run, without numbers and random names: `os.rename state/#.json`.
Children are forked from a server that has imported PyTorch once.
"""

import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]  # no stub names it

from tscam.errors import TscamError

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tscam.verbs.train", "tscam.cli", "tscam.cli.terminal", "tscam.verbs.localize", "numpy.ma"]
)

_PATIENCE_S = 60.0  # until a child counts as hung
_PATHS_AT = {"open": 0, "os.rename": 1, "os.remove": 0, "os.mkdir": 0, "shutil.rmtree": 0}

Work = Callable[..., object]
Action = Callable[[Path | None], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An action just before an event.

    Attributes:
        event: name of the event; names of events before the first step begin with `start: `.
        nth: the occurrence of the event, from 1.
        do: the action, called with the path of the event, or None if it has none.
        in_reader: True for an event in a process that reads pictures.
    """

    event: str
    nth: int = 1
    do: Action
    in_reader: bool = False


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The end of a child.

    Attributes:
        code: exit code; negative for a signal.
        result: result of its work, or the `TscamError` that it raised; None if it came to neither.
        events: number of occurrences by event, in the order of the first ones.
        err: its output.
    """

    code: int
    result: object
    events: Mapping[str, int]
    err: str

    @property
    def error(self) -> TscamError:
        """The error that its work raised; its message is one line."""
        assert isinstance(self.result, TscamError), self
        assert "\n" not in str(self.result)
        return self.result


class Child:
    """A child process in a process group of its own.

    Args:
        watched: folder of a run whose events are counted.
    """

    def __init__(
        self,
        work: Work,
        *arguments: object,
        watched: Path | None = None,
        faults: Sequence[Fault] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._answers, answer_writer = _CONTEXT.Pipe(duplex=False)
        output, output_writer = _CONTEXT.Pipe(duplex=False)
        order = _Order(
            work=work, arguments=arguments, watched=watched, faults=tuple(faults), environment=environment or {}
        )
        self._process = _CONTEXT.Process(target=_obey, args=(order, answer_writer, output_writer))
        self._process.start()
        answer_writer.close()
        output_writer.close()
        self._output: list[bytes] = []
        threading.Thread(target=self._collect, args=(output,), daemon=True).start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def err(self) -> str:
        """Its output so far."""
        return b"".join(self._output).decode()

    def wait_for_output(self, text: str) -> None:
        """Wait until its output contains the text."""
        until(lambda: text in self.err or not self._process.is_alive())
        assert text in self.err

    def ended(self) -> Ended:
        """Wait for its end.

        Raises:
            AssertionError: it hangs, or has raised another error than a `TscamError`.
        """
        result, events = None, {}
        try:
            wait([self._answers, self._process.sentinel], _PATIENCE_S)
            with suppress(EOFError):
                if self._answers.poll():
                    status, result, events = self._answers.recv()
                    assert status == "ended", result
            self._process.join(_PATIENCE_S)
            assert self._process.exitcode is not None, f"it hangs; its output: {self.err!r}"
        finally:
            if self._process.exitcode is None:
                os.killpg(self.pid, signal.SIGKILL)
        return Ended(code=self._process.exitcode, result=result, events=events, err=self.err)

    def _collect(self, output: Connection) -> None:
        while content := os.read(output.fileno(), 2**16):
            self._output.append(content)
        output.close()


def in_child(work: Work, *arguments: object, watched: Path | None = None, faults: Sequence[Fault] = ()) -> Ended:
    """Do work in a child and wait for its end."""
    return Child(work, *arguments, watched=watched, faults=faults).ended()


def in_processes(count: int, work: Work, *arguments: object) -> list[Ended]:
    """Do work in several processes together, like those of a launcher, and wait for their ends."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {
        "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    children = [
        Child(work, *arguments, environment={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
    return [child.ended() for child in children]


def watch(folder: Path, faults: Sequence[Fault]) -> None:
    """Let faults happen in this process, which is not a child of this module."""
    _Watch(folder, faults)


def command_line(*arguments: str | Path) -> None:
    """Work for a child: run the command line."""
    from tscam.cli import main

    sys.argv = ["tscam", *map(str, arguments)]
    main()


def kill(_: Path | None = None) -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_half_written(path: Path | None) -> None:
    """Kill this process as if while native code writes the file: half of it is there."""
    assert path is not None
    os.truncate(path, path.stat().st_size // 2)
    kill()


def kill_reader(_: Path | None) -> None:
    """Kill one of the processes that read pictures for this one."""
    reader = multiprocessing.active_children()[0]
    reader.kill()
    until(lambda: not reader.is_alive())


@dataclass(frozen=True)
class Send:
    """Sends a signal to the child's process group, as a terminal does."""

    number: int

    def __call__(self, _: Path | None) -> None:
        os.killpg(0, self.number)


@dataclass(frozen=True)
class WaitFor:
    """Prints `waiting`, and waits until the file exists."""

    path: Path

    def __call__(self, _: Path | None) -> None:
        os.write(2, b"waiting\n")
        until(self.path.exists)


def until(condition: Callable[[], bool], *, patience_s: float = _PATIENCE_S) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it does not hold in time.
    """
    tick = threading.Event()
    for _ in range(int(patience_s * 50)):
        if condition():
            return
        tick.wait(0.02)
    raise AssertionError("waited in vain")


@dataclass(frozen=True, kw_only=True)
class _Order:
    work: Work
    arguments: tuple[object, ...]
    watched: Path | None
    faults: tuple[Fault, ...]
    environment: Mapping[str, str]


def _obey(order: _Order, answers: Connection, output: Connection) -> None:
    os.setpgid(0, 0)
    os.environ.update(order.environment)
    tempfile.tempdir = None  # It is that of the server, whose environment differs.
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    warnings.simplefilter("error")
    # Drawing every epoch takes longer than all the rest of these runs.
    vars(sys.modules["tscam.training.epochs"])["draw_results"] = _draw_nothing
    watch = _Watch(order.watched, order.faults)
    result: object = None
    try:
        result = order.work(*order.arguments)
    except TscamError as fault:
        result = fault
    except Exception:
        answers.send(("raised", traceback.format_exc(), {}))
        raise
    watch.is_over = True
    answers.send(("ended", result, dict(watch.counts)))


def _draw_nothing(path: Path, rows: Sequence[object], *, selection: str) -> None:
    assert path.name == "results.png"
    assert rows
    assert selection


@dataclass
class _Watch:
    """Counts events and triggers faults."""

    folder: Path | None
    faults: Sequence[Fault]
    counts: Counter[str] = field(default_factory=Counter)
    has_begun: bool = False
    is_over: bool = False

    def __post_init__(self) -> None:
        self._pid, self._local = os.getpid(), threading.local()
        if self.folder is not None:
            self._listen()

    def _listen(self) -> None:
        from torch.nn.modules.module import register_module_forward_pre_hook
        from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

        from tscam.backbones.base import Backbone

        def forward(module: object, _: object) -> None:
            if isinstance(module, Backbone) and module.training:
                self.has_begun = True
                self._happens("step: forward")

        register_module_forward_pre_hook(forward)
        register_optimizer_step_pre_hook(lambda *_: self._happens("step: gradients are there"))
        register_optimizer_step_post_hook(lambda *_: self._happens("step: weights have changed"))
        sys.addaudithook(self._reported)

    def _reported(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _PATHS_AT or not isinstance(arguments[_PATHS_AT[event]], str | bytes | os.PathLike):
            return
        path = Path(os.fsdecode(arguments[_PATHS_AT[event]]))
        assert self.folder is not None
        if self.folder in (path, *path.parents):
            mode = f" {arguments[1]}" if event == "open" and isinstance(arguments[1], str) else ""
            self._happens(f"{event}{mode} {_shape(path.relative_to(self.folder))}", path)
        elif path.suffix == ".png":
            is_ahead = threading.current_thread().name.startswith("read-ahead")
            self._happens(f"picture read {'to score' if is_ahead else 'to train'}", path)

    def _happens(self, event: str, path: Path | None = None) -> None:
        if self.is_over or getattr(self._local, "is_busy", False):
            return
        self._local.is_busy = True  # The actions of a fault are not events.
        try:
            name = event if self.has_begun else f"start: {event}"
            self.counts[name] += 1
            for fault in self.faults:
                if (fault.event, fault.nth, fault.in_reader) == (name, self.counts[name], os.getpid() != self._pid):
                    fault.do(path)
        finally:
            self._local.is_busy = False


def _shape(path: Path) -> str:
    return re.sub(r"\d+", "#", re.sub(r"\.[0-9a-f]{16}\.part", "*.part", path.as_posix()))
