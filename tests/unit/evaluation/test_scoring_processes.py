"""Every number of processes counts each picture once and gives the same files to the last digit."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data_sets import write_wsol
from judged_pictures import box_protocol
from tscam.config import EvaluateConfig
from tscam.datasets import Dataset, read_dataset
from tscam.evaluation.judging import Judge, Task
from tscam.evaluation.map_sources import MappedSplit, SavedMaps
from tscam.evaluation.score_maps import map_path, write_map
from tscam.evaluation.scoring import judge_pictures, score
from tscam.evaluation.thresholds import plan_thresholds
from tscam.metrics.protocol import protocols
from tscam.metrics.threshold import ThresholdPolicy
from tscam.system.processes import ALONE, Processes
from tscam.verbs.evaluate import evaluate

COUNTS = (1, 2, 5, 33)


class Exchange:
    """Gathers the items of threads that stand for processes."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count, timeout=60)
        self.items: dict[int, list[Any]] = {}


class ThreadProcess(Processes):
    """A thread that stands for one of several processes."""

    def joined_to(self, exchange: Exchange) -> "ThreadProcess":
        object.__setattr__(self, "exchange", exchange)
        return self

    def gather(self, items: list[Any]) -> list[Any]:
        exchange: Exchange = self.__dict__["exchange"]
        exchange.items[self.rank] = items
        exchange.barrier.wait()
        gathered = [item for rank in range(self.count) for item in exchange.items[rank]]
        exchange.barrier.wait()
        return gathered


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 33 test pictures with boxes, and a map of each."""
    folder = tmp_path_factory.mktemp("data")
    write_wsol(folder, classes=17)
    for index, image_id in enumerate(read_dataset(folder, split="test").image_ids):
        raw = np.random.default_rng(index).random((5, 6)).astype(np.float32)
        map_ = cv2.resize(raw, (224, 224), interpolation=cv2.INTER_CUBIC)
        write_map(map_path(folder / "maps", image_id), (map_ - map_.min()) / (map_.max() - map_.min()))
    return folder


def result_files(data: Path, count: int, out: Path, processes: Processes = ALONE) -> str:
    """Score the first pictures, and return the content of `metrics.json` and `per_image.jsonl`."""
    dataset: Dataset = read_dataset(data, split="test").subset(range(count), split="test")
    selected = tuple(protocols[name] for name in ("ts-cam", "max-box-acc", "max-box-acc-v2", "realistic"))
    oracle = ThresholdPolicy(name="oracle")
    maps = SavedMaps(folder=data / "maps", batch_size=4)
    plan = plan_thresholds(dataset, maps, selected, requested=oracle, fraction=0.1, seed=26)
    score(MappedSplit(dataset=dataset, maps=maps), plan.thresholds, out=out, processes=processes)
    if not processes.is_main:
        return ""
    return (out / "metrics.json").read_text() + (out / "per_image.jsonl").read_text()


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, str]:
    folder = tmp_path_factory.mktemp("alone")
    return {count: result_files(data, count, folder / str(count)) for count in COUNTS}


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_the_files_are_equal_to_the_last_digit(
    data: Path, alone: Mapping[int, str], tmp_path: Path, processes: int
) -> None:
    for count in COUNTS:
        exchange, texts = Exchange(processes), dict[int, str]()

        def work(rank: int, exchange: Exchange, texts: dict[int, str], count: int) -> None:
            member = ThreadProcess(rank=rank, count=processes).joined_to(exchange)
            texts[rank] = result_files(data, count, tmp_path / str(count), member)

        threads = [threading.Thread(target=work, args=(rank, exchange, texts, count)) for rank in range(processes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert texts == {0: alone[count]} | dict.fromkeys(range(1, processes), "")
        assert sorted(path.name for path in (tmp_path / str(count)).iterdir()) == ["metrics.json", "per_image.jsonl"]


def test_processes_are_started_for_many_pictures_and_change_no_number(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def recorded(items: Iterator[Task], judge: Judge, *, processes: int, depth: int) -> Iterator[Any]:
        started.append((processes, depth))
        yield from in_processes(items, judge, processes=processes, depth=depth)

    from tscam.system.loading import in_processes

    monkeypatch.setattr("tscam.evaluation.scoring.in_processes", recorded)
    dataset, maps = read_dataset(data, split="test"), SavedMaps(folder=data / "maps", batch_size=4)
    judge = Judge(protocols=(box_protocol("max-box-acc"),))
    ious = []
    for limit in (256, 33):
        monkeypatch.setattr("tscam.evaluation.scoring._FEW", limit)
        split = MappedSplit(dataset=dataset.subset(range(33), split="test"), maps=maps)
        pictures = list(judge_pictures(split, judge, workers=2))
        assert [picture.image for picture in pictures] == list(dataset.image_ids[:33])
        ious.append([picture.boxes["max-box-acc"].iou.tolist() for picture in pictures])
    assert ious[0] == ious[1]
    assert started == [(0, 4), (2, 8)]


def test_a_picture_in_the_position_of_another_is_an_error(data: Path) -> None:
    class Reversing(Processes):
        def gather(self, items: list[Any]) -> list[Any]:
            return items[::-1]

    dataset, maps = read_dataset(data, split="test"), SavedMaps(folder=data / "maps", batch_size=4)
    judge = Judge(protocols=())
    with pytest.raises(RuntimeError, match="is due: each counts once"):
        list(judge_pictures(MappedSplit(dataset=dataset, maps=maps), judge, processes=Reversing(rank=0, count=1)))


@pytest.mark.parametrize("workers", [0, 3])
def test_workers_change_no_file(data: Path, tmp_path: Path, workers: int) -> None:
    names: Sequence[str] = ("max-box-acc", "max-box-acc-v2")
    files = []
    for number in (1, workers):
        config = EvaluateConfig(
            data=data, out=tmp_path / str(number), maps=data / "maps", protocol=tuple(names), workers=number
        )
        evaluate(None, config)
        files.append([(config.out / name).read_bytes() for name in ("metrics.json", "per_image.jsonl")])
    assert files[0] == files[1]
