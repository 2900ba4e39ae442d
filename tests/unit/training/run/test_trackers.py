"""Trackers record every point at its step, and never end a training by failing."""

import os
import sys
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from tscam.errors import ConfigError
from tscam.training.run.trackers import open_tracker, require_tracker

SETTINGS = {"data": Path("birds"), "learning_rate": 1e-3, "learning_rate_steps": (2, 5), "tracker": None}


def unexpected(note: str) -> None:
    pytest.fail(note)


def events(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run / "tracker" / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def scalars(run: Path, name: str) -> list[tuple[int, float]]:
    return sorted((event.step, event.value) for event in events(run).Scalars(name))


def log_steps(run: Path, first: int, last: int) -> None:
    with open_tracker("tensorboard", run=run, settings=SETTINGS, on_note=unexpected) as tracker:
        for step in range(first, last + 1):
            tracker.log({"train/loss": 1 / step}, step=step)


def test_without_a_tracker_nothing_is_written(tmp_path: Path) -> None:
    require_tracker(None)
    with open_tracker(None, run=tmp_path, settings=SETTINGS, on_note=unexpected) as tracker:
        tracker.log({"train/loss": 1.0}, step=1)
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_has_each_value_at_its_step_and_the_settings(tmp_path: Path) -> None:
    with open_tracker("tensorboard", run=tmp_path, settings=SETTINGS, on_note=unexpected) as tracker:
        tracker.log({"train/loss": 0.5, "train/learning_rate": 0.25}, step=1)
        tracker.log({"train/loss": 0.375}, step=3)
    assert scalars(tmp_path, "train/loss") == [(1, 0.5), (3, 0.375)]
    assert scalars(tmp_path, "train/learning_rate") == [(1, 0.25)]
    (settings,) = events(tmp_path).Tensors("settings/text_summary")
    assert settings.tensor_proto.string_val[0].decode().splitlines() == [
        "    data: birds", "    learning_rate: 0.001", "    learning_rate_steps: (2, 5)", "    tracker: None",
    ]  # fmt: skip
    assert [path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*") if path.is_file()] == [
        ("tracker", "tensorboard")
    ]


def test_a_resumed_run_continues_at_its_steps(tmp_path: Path) -> None:
    log_steps(tmp_path, 1, 4)
    log_steps(tmp_path, 5, 7)
    points = scalars(tmp_path, "train/loss")
    assert [step for step, _ in points] == list(range(1, 8))
    assert [loss for _, loss in points] == pytest.approx([1 / step for step in range(1, 8)])


class Recording(GeneralTracker):  # type: ignore[misc]
    """A backend that records its calls, prints, and fails at step 5."""

    name = "recording"
    requires_logging_directory = True
    records: list[tuple[int | None, dict[str, object]]] = []  # noqa: RUF012

    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.records.append((None, settings))

    @property
    def tracker(self) -> None:
        return None

    def store_init_configuration(self, values: dict[str, object]) -> None:
        self.records.append((None, values))

    def log(self, values: dict[str, object], step: int | None = None, **_: object) -> None:
        if step == 5:
            raise ConnectionError("no network\nand a traceback")
        self.records.append((step, values))
        sys.stdout.write("chatter\n")

    def finish(self) -> None:
        self.records.append((None, {"finished": True}))


@pytest.fixture(params=["wandb", "trackio", "mlflow"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a tracker whose package is replaced by `Recording`."""
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, request.param, Recording)
    monkeypatch.setattr("accelerate.tracking._available_trackers", [request.param])
    monkeypatch.setattr(Recording, "records", [])
    return str(request.param)


def test_a_tracker_gets_the_name_of_the_run_the_settings_and_every_point(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "birds"
    with open_tracker(backend, run=run, settings=SETTINGS, on_note=unexpected) as tracker:
        tracker.log({"train/loss": 0.5}, step=10)
        tracker.log({"epoch/top1_cls": 50.0}, step=10)
    arguments = {
        "wandb": {"run_name": "tscam", "name": "birds", "dir": str(run / "tracker")},
        "trackio": {"run_name": "tscam", "name": "birds"},
        "mlflow": {"experiment_name": "tscam", "run_name": "birds"},
    }
    assert Recording.records == [
        (None, arguments[backend]),
        (None, {"data": "birds", "learning_rate": "0.001", "learning_rate_steps": "(2, 5)", "tracker": "None"}),
        (10, {"train/loss": 0.5}),
        (10, {"epoch/top1_cls": 50.0}),
        (None, {"finished": True}),
    ]
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "chatter\n" * 2)


def test_a_tracker_that_fails_is_not_used_again_and_training_continues(backend: str, tmp_path: Path) -> None:
    notes: list[str] = []
    with open_tracker(backend, run=tmp_path, settings={}, on_note=notes.append) as tracker:
        for step in range(4, 8):
            tracker.log({"train/loss": 1.0}, step=step)
    assert Recording.records[2:] == [(4, {"train/loss": 1.0})]
    assert notes == [
        "the tracker failed and is not used again (ConnectionError: no network); metrics.csv has all epochs"
    ]


def test_a_tracker_that_does_not_start_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tracker").write_text("in the way")
    with (
        pytest.raises(ConfigError, match=r"^tracker 'tensorboard' does not start \(FileExistsError: .*; set it up as "),
        open_tracker("tensorboard", run=tmp_path, settings={}, on_note=unexpected),
    ):
        pass
    assert not PartialState._shared_state


def test_a_misspelt_tracker_is_refused_with_a_hint_and_the_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        require_tracker("tensorbord")
    assert str(caught.value) == (
        "no tracker named 'tensorbord'; did you mean 'tensorboard'? Known: mlflow, tensorboard, trackio, wandb"
    )
    with pytest.raises(ConfigError, match=r"^no tracker named 'all'\. Known: "):  # accelerate's word for all
        require_tracker("all")
    with (
        pytest.raises(ConfigError, match="did you mean"),
        open_tracker("wandbb", run=tmp_path, settings={}, on_note=unexpected),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_that_is_not_installed_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "tensorboard" in map(str, get_available_trackers())
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    packages = {"tensorboard": "'tscam[track]'", "wandb": "wandb", "trackio": "trackio", "mlflow": "mlflow"}
    for name, package in packages.items():
        with pytest.raises(ConfigError) as caught:
            require_tracker(name)
        assert str(caught.value) == f"tracker {name!r} is not installed; pip install {package}, or train without"


def test_a_tracker_neither_joins_nor_disturbs_a_group_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    log_steps(tmp_path, 1, 2)  # would wait for the other process
    assert not torch.distributed.is_initialized()
    assert surroundings.items() <= os.environ.items()
    assert not PartialState._shared_state

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        log_steps(tmp_path, 3, 4)
        assert torch.distributed.get_world_size() == 1
    finally:
        torch.distributed.destroy_process_group()
    assert [step for step, _ in scalars(tmp_path, "train/loss")] == [1, 2, 3, 4]


def test_the_state_of_a_program_that_uses_accelerate_stays(tmp_path: Path) -> None:
    state = PartialState(cpu=True)
    try:
        log_steps(tmp_path, 1, 1)
        assert PartialState().device == state.device == torch.device("cpu")
    finally:
        PartialState._reset_state()
