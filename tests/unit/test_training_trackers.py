"""Trackers get every point once, however often a run is cut short, and never end a training by their own failing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, LoggerType, get_available_trackers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from tscam.errors import ConfigError
from tscam.training.trackers import open_tracker, require_tracker

SETTINGS = {"data": Path("birds"), "learning_rate": 1e-3, "learning_rate_steps": (2, 5), "tracker": None}

# Steps 1 to 7, with scores after steps 3 and 6; then the process dies, its files left as they are.
KILLED = """
import os, signal, sys
from pathlib import Path
from tscam.training.trackers import open_tracker
with open_tracker("tensorboard", run=Path(sys.argv[1]), settings={}, first_step=0) as tracker:
    for step in range(1, 8):
        tracker.log({"train/loss": 1 / step}, step=step)
        if step % 3 == 0:
            tracker.log({"epoch/top1_cls": 10.0 * step}, step=step)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def events(run: Path) -> EventAccumulator:
    found = EventAccumulator(str(run / "tracker" / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def scalars(run: Path, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(run).Scalars(name)]


def an_hour_later(run: Path) -> None:
    """TensorBoard reads files in the order of their names, which hold a time in whole seconds."""
    for path in (run / "tracker" / "tensorboard").iterdir():
        parts = path.name.split(".")
        parts[3] = f"{int(parts[3]) - 3600:010d}"
        path.rename(path.with_name(".".join(parts)))


def log_steps(run: Path, *, first_step: int, last: int) -> None:
    with open_tracker("tensorboard", run=run, settings=SETTINGS, first_step=first_step) as tracker:
        for step in range(first_step + 1, last + 1):
            tracker.log({"train/loss": 1 / step}, step=step)


def test_no_tracker_takes_all_and_writes_nothing(tmp_path: Path) -> None:
    require_tracker(None)
    with open_tracker(None, run=tmp_path, settings=SETTINGS, first_step=0) as tracker:
        tracker.log({"train/loss": 1.0}, step=1)
        tracker.close()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_has_each_value_at_its_step_and_the_settings(tmp_path: Path) -> None:
    with open_tracker("tensorboard", run=tmp_path, settings=SETTINGS, first_step=0) as tracker:
        tracker.log({"train/loss": 0.5, "train/learning_rate": 0.25}, step=1)
        tracker.log({"train/loss": 0.375}, step=3)
    assert scalars(tmp_path, "train/loss") == [(1, 0.5), (3, 0.375)]
    assert scalars(tmp_path, "train/learning_rate") == [(1, 0.25)]
    (table,) = events(tmp_path).Tensors("settings/text_summary")
    text = table.tensor_proto.string_val[0].decode()
    assert text.splitlines()[2:] == [
        "| data | birds |", "| learning_rate | 0.001 |", "| learning_rate_steps | (2, 5) |", "| tracker | None |",
    ]  # fmt: skip
    assert [entry.name for entry in tmp_path.iterdir()] == ["tracker"]


def test_a_run_that_was_killed_goes_on_with_every_step_there_once(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert [step for step, _ in scalars(tmp_path, "train/loss")] == [1, 2, 3, 4, 5, 6, 7]

    an_hour_later(tmp_path)
    # The state was that of step 3, with its scores still to be taken.
    with open_tracker("tensorboard", run=tmp_path, settings=SETTINGS, first_step=3) as tracker:
        tracker.log({"epoch/top1_cls": 30.0}, step=3)
        for step in range(4, 10):
            tracker.log({"train/loss": 2 / step}, step=step)
            if step % 3 == 0:
                tracker.log({"epoch/top1_cls": 10.0 * step}, step=step)
    assert scalars(tmp_path, "epoch/top1_cls") == [(3, 30.0), (6, 60.0), (9, 90.0)]
    seen = scalars(tmp_path, "train/loss")
    assert [step for step, _ in seen] == list(range(1, 10))
    assert [value for _, value in seen] == pytest.approx([1 / s if s <= 3 else 2 / s for s in range(1, 10)])


def test_scores_that_were_cut_off_are_taken_when_the_run_goes_on(tmp_path: Path) -> None:
    log_steps(tmp_path, first_step=0, last=4)
    an_hour_later(tmp_path)
    with open_tracker("tensorboard", run=tmp_path, settings=SETTINGS, first_step=4) as tracker:
        tracker.log({"train/loss": 99.0, "epoch/top1_cls": 40.0}, step=4)
    assert scalars(tmp_path, "train/loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3)), (4, 0.25)]
    assert scalars(tmp_path, "epoch/top1_cls") == [(4, 40.0)]


def test_a_run_that_goes_on_three_times_tells_its_settings_once(tmp_path: Path) -> None:
    for first_step, last in ((0, 5), (2, 6), (0, 3), (3, 8)):
        log_steps(tmp_path, first_step=first_step, last=last)
        an_hour_later(tmp_path)
    assert [step for step, _ in scalars(tmp_path, "train/loss")] == list(range(1, 9))
    assert len(events(tmp_path).Tensors("settings/text_summary")) == 1


class Remembering(GeneralTracker):  # type: ignore[misc]
    """Another maker's tracker: keeps what it is told, prints, cannot take back, and fails at step 5."""

    name = "remembering"
    requires_logging_directory = True
    told: list[tuple[int, dict[str, float]]] = []  # noqa: RUF012
    configurations: list[dict[str, object]] = []  # noqa: RUF012

    def __init__(self, project: str, folder: Path) -> None:
        super().__init__()
        assert (project, folder.name) == ("tscam", "tracker")

    @property
    def tracker(self) -> None:
        return None

    def store_init_configuration(self, values: dict[str, object]) -> None:
        self.configurations.append(values)

    def log(self, values: dict[str, float], step: int | None = None, **_: object) -> None:
        assert step is not None
        if step == 5:
            raise ConnectionError("no network\nand a traceback")
        self.told.append((step, values))
        sys.stdout.write("chatter\n")


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch) -> type[Remembering]:
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "remembering", Remembering)
    monkeypatch.setattr(Remembering, "told", [])
    monkeypatch.setattr(Remembering, "configurations", [])
    return Remembering


def test_a_tracker_that_cannot_take_back_is_not_told_twice(
    tmp_path: Path, remembering: type[Remembering], capsys: pytest.CaptureFixture[str]
) -> None:
    for first_step, last in ((0, 3), (1, 4)):
        with open_tracker("remembering", run=tmp_path, settings=SETTINGS, first_step=first_step) as tracker:
            for step in range(first_step + 1, last + 1):
                tracker.log({"train/loss": 10.0 * step}, step=step)
    assert remembering.told == [(step, {"train/loss": 10.0 * step}) for step in (1, 2, 3, 4)]
    assert remembering.configurations == [
        {"data": "birds", "learning_rate": 1e-3, "learning_rate_steps": "(2, 5)", "tracker": None}
    ]
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "chatter\n" * 4)


def test_a_line_that_was_cut_off_by_a_crash_costs_no_more_than_itself(
    tmp_path: Path, remembering: type[Remembering]
) -> None:
    journal = tmp_path / "tracker" / "remembering.jsonl"
    for first_step, last in ((0, 3), (1, 3), (1, 4)):
        with open_tracker("remembering", run=tmp_path, settings={}, first_step=first_step) as tracker:
            for step in range(first_step + 1, last + 1):
                tracker.log({"train/loss": 1.0}, step=step)
        if first_step == 0:
            journal.write_bytes(journal.read_bytes()[:-12] + b"\xff")
    assert [step for step, _ in remembering.told] == [1, 2, 3, 3, 4]
    assert len(remembering.configurations) == 1


def test_a_tracker_that_fails_is_left_alone_and_training_goes_on(
    tmp_path: Path, remembering: type[Remembering]
) -> None:
    notes: list[str] = []
    with open_tracker("remembering", run=tmp_path, settings={}, first_step=0, on_note=notes.append) as tracker:
        for step in range(4, 8):
            tracker.log({"train/loss": 1.0}, step=step)
    assert [step for step, _ in remembering.told] == [4]
    assert notes == [
        "tracker 'remembering' has failed (ConnectionError: no network) and is left alone; metrics.csv has all epochs"
    ]


def test_a_tracker_that_does_not_start_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tracker").write_text("in the way")
    with (
        pytest.raises(ConfigError, match=r"^tracker 'tensorboard' does not start \(FileExistsError: .*; set it up as "),
        open_tracker("tensorboard", run=tmp_path, settings={}, first_step=0),
    ):
        pass
    assert not PartialState._shared_state


def test_a_misspelt_tracker_is_refused_with_a_hint_and_the_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        require_tracker("tensorbord")
    assert str(caught.value).startswith("no tracker named 'tensorbord'; did you mean 'tensorboard'? There are: aim, ")
    with pytest.raises(ConfigError, match=r"^no tracker named 'all'\. There are: "):  # accelerate's word for all
        require_tracker("all")
    with (
        pytest.raises(ConfigError, match="did you mean"),
        open_tracker("wandbb", run=tmp_path, settings={}, first_step=0),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_that_is_not_installed_is_refused_with_the_command_that_installs_it() -> None:
    missing = sorted(set(map(str, LoggerType)) - {"all"} - set(map(str, get_available_trackers())))
    assert missing, "all trackers at once are installed here"
    for name in missing:
        with pytest.raises(ConfigError) as caught:
            require_tracker(name)
        assert str(caught.value) == f"tracker {name!r} is not installed; pip install {name}, or train without"


def test_a_tracker_neither_joins_nor_disturbs_a_group_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    log_steps(tmp_path, first_step=0, last=2)  # would wait for the other process
    an_hour_later(tmp_path)
    assert not torch.distributed.is_initialized()
    assert surroundings.items() <= os.environ.items()
    assert not PartialState._shared_state

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        log_steps(tmp_path, first_step=2, last=4)
        assert torch.distributed.get_world_size() == 1
    finally:
        torch.distributed.destroy_process_group()
    assert [step for step, _ in scalars(tmp_path, "train/loss")] == [1, 2, 3, 4]


def test_the_state_of_a_program_that_uses_accelerate_stays(tmp_path: Path) -> None:
    state = PartialState(cpu=True)
    try:
        log_steps(tmp_path, first_step=0, last=1)
        assert PartialState().device == state.device == torch.device("cpu")
    finally:
        PartialState._reset_state()
