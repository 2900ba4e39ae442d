"""An evaluation that is killed at any moment and resumed has the bytes of the unbroken one."""

import signal
from collections.abc import Mapping
from dataclasses import replace

import pytest

from faults import Fault, in_processes, kill
from tscam.errors import OutputError
from unbroken import Evaluations, KillAfter, evaluate_in, files_of, tear_last_line

# Just before an event; `start` stands before all events of a run that is no training.
EVENTS = {
    "the record is begun": ("start: open x *.part", 1),
    "the first picture is read": ("start: picture read to score", 1),
    "held-out pictures are judged": ("start: picture read to score", 8),
    "pictures are judged": ("start: picture read to score", 16),
    "a map is in place": ("start: os.rename scoremaps/test/dog/dog_#_#.png.npy", 2),
    "a line of each picture is written": ("start: os.rename per_image.jsonl", 1),
    "the numbers are written": ("start: os.rename metrics.json", 1),
    "the page is in place": ("start: os.rename report.html", 1),
    "the kept pictures are removed": ("start: shutil.rmtree .unfinished", 1),
    "the record is complete": ("start: os.rename run.json", 2),
}
MOMENTS: Mapping[str, Fault | KillAfter] = {f"after {done} pictures": KillAfter(done) for done in (1, 4, 6, 9)} | {
    moment: Fault(event=event, nth=nth, do=kill) for moment, (event, nth) in EVENTS.items()
}


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> Evaluations:
    return Evaluations(tmp_path_factory.mktemp("evaluations"))


@pytest.fixture(scope="module")
def unbroken(evaluations: Evaluations) -> Mapping[str, bytes]:
    """The files of an unbroken evaluation."""
    config = evaluations.config()
    ended = evaluations.run(config)
    assert ended.result == config.out, ended
    assert {event for event, _ in EVENTS.values()} <= ended.events.keys(), list(ended.events)
    files = files_of(config.out)
    assert {name for name in files if "/" not in name} == {
        "metrics.json", "per_image.jsonl", "report.html", "run.json",
    }  # fmt: skip
    return files


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_evaluation_that_is_resumed_ends_as_the_unbroken_one(
    moment: str, evaluations: Evaluations, unbroken: Mapping[str, bytes]
) -> None:
    config = evaluations.config()
    assert evaluations.run(config, fault=MOMENTS[moment]).code == -signal.SIGKILL
    for kept in config.out.glob(".unfinished/*.jsonl"):
        tear_last_line(kept)
    ended = evaluations.run(config, resume=True)
    assert ended.result == config.out, ended
    assert files_of(config.out) == unbroken


def test_an_evaluation_that_is_killed_each_time_it_is_resumed_judges_no_batch_twice(
    evaluations: Evaluations, unbroken: Mapping[str, bytes]
) -> None:
    config = evaluations.config()
    for done in (4, 5, 8, 9):
        ended = evaluations.run(config, fault=KillAfter(done), resume=True)
        assert ended.code == -signal.SIGKILL, ended
        assert (config.out / ".unfinished" / "pictures.jsonl").read_bytes().count(b"\n") == done - 1
    ended = evaluations.run(config, resume=True)
    assert files_of(config.out) == unbroken
    assert evaluations.run(config, resume=True).result == config.out
    assert files_of(config.out) == unbroken


@pytest.mark.parametrize("processes", [1, 2])
def test_an_evaluation_goes_on_in_any_number_of_processes(
    processes: int, evaluations: Evaluations, unbroken: Mapping[str, bytes]
) -> None:
    config = evaluations.config()
    for ended in in_processes(2, evaluate_in, evaluations.model, config, KillAfter(7)):
        assert ended.code == -signal.SIGKILL, ended
    resumed = replace(config, resume=True)
    for ended in in_processes(processes, evaluate_in, evaluations.model, resumed, None):
        assert ended.result == config.out, ended
    assert files_of(config.out) == unbroken


def test_other_data_another_model_and_other_settings_are_not_mixed_with_an_interrupted_evaluation(
    evaluations: Evaluations,
) -> None:
    config = evaluations.config()
    assert evaluations.run(config, fault=KillAfter(5)).code == -signal.SIGKILL
    before = files_of(config.out)
    refused = evaluations.run(config).error
    message = f"{config.out}: an interrupted run of `tscam evaluate` is here; go on with it by --resume"
    assert str(refused).startswith(message)
    refused = evaluations.run(replace(config, method="cam", threshold=0.3), resume=True).error
    assert "(method was None and is 'cam'; threshold was 'val' and is 0.3)" in str(refused)
    boxes = evaluations.folder / "data" / "boxes.csv"
    content = boxes.read_text()
    boxes.write_text(content.rpartition("\n")[0])
    refused = evaluations.run(config, resume=True).error
    boxes.write_text(content)
    assert isinstance(refused, OutputError)
    assert "the dataset changed since the run here began" in str(refused)
    assert files_of(config.out) == before
