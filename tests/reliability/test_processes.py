"""Several processes score each picture once and train as one does; when one dies, no other waits for it."""

import os
import re
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from data_sets import write_folder
from faults import Child, Fault, command_line, in_child, in_processes, kill
from runs import EVERY_STEP, Bench, recipe_of
from tiny_models import tiny_model
from together import assert_same_training, launched, left_alone, scores
from tscam.errors import PeerError, TrainingError
from tscam.verbs.train import resume, train

COUNTS = (1, 2, 3, 5, 8, 13, 21, 33)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """33 pictures to test on."""
    folder = tmp_path_factory.mktemp("pictures")
    write_folder(folder, splits={"train": 1, "test": 11})
    return folder


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_each_picture_is_scored_once_as_by_one_process(processes: int, model: Path, pictures: Path) -> None:
    alone = scores(model, pictures, COUNTS)
    assert [len({*lines}) for lines in alone] == list(COUNTS)
    for ended in in_processes(processes, scores, model, pictures, COUNTS):
        assert ended.result == alone, ended


def test_a_process_whose_peer_has_died_says_so_in_one_line() -> None:
    first, second = in_processes(2, left_alone)
    assert second.code == -SIGKILL
    assert isinstance(first.error, PeerError), first
    assert re.fullmatch(r"another process has died \(.*\); .* continue with `tscam resume`", str(first.error))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulate": 3, "ema": 0.5, "clip_norm": 0.5},
        {"workers": 1, "select": "oracle", "save_minutes": EVERY_STEP},
    ],
    ids=["plain", "three parts a step, average", "readers, every step saved"],
)
def test_two_processes_train_as_one_does(changes: dict[str, object], bench: Bench) -> None:
    alone, together = bench.run(**changes), bench.run(**changes, processes=2)
    assert in_child(train, alone).code == 0
    for ended in in_processes(2, train, together):
        assert ended.result == together.out, ended
    assert_same_training(together.out, alone.out)


def test_under_torchrun_only_the_first_process_prints(bench: Bench) -> None:
    config = bench.run(epochs=1)
    first, second = in_processes(2, command_line, "train", recipe_of(config))
    assert (first.code, second.code) == (0, 0), (first, second)
    assert "epoch 1/1 done" in first.err
    assert second.err == ""


def test_after_a_killed_process_or_a_signal_any_number_of_processes_can_resume(
    bench: Bench,
) -> None:
    config = bench.run(processes=2, workers=1, epochs=12, save_minutes=EVERY_STEP)
    death = Fault(event="step: gradients are there", nth=4, do=kill)
    fault = in_child(launched, config, [death], 1).error
    assert isinstance(fault, TrainingError)
    assert re.match(
        r"process 1 \(pid \d+\) has died \(SIGKILL: .*\); the last saved state is kept, continue with", str(fault)
    )

    child = Child(command_line, "resume", config.out)
    child.wait_for_output("epoch 4/12 done")
    os.kill(child.pid, SIGTERM)
    ended = child.ended()
    assert ended.code == 128 + SIGTERM, ended
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("tscam: stopped ")

    recipe = config.out / "config.yaml"
    recipe.write_text(recipe.read_text().replace("processes: 2", "processes: 1"))
    assert in_child(resume, config.out).result == config.out
    alone = bench.run(epochs=12)
    assert in_child(train, alone).code == 0
    assert_same_training(config.out, alone.out)
