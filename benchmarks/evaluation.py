"""Cost of scoring MaxBoxAcc and MaxBoxAccV2 beside a loop over thresholds; all in one run, as ratios.

    uv run python benchmarks/evaluation.py [--pictures 40] [--turns 5]

(a) Both versions threshold by threshold: for each of 1000 thresholds OpenCV's contours, their boxes, and IoUs in NumPy;
contours are found once for both. (b) `tscam`: every level once, and curves, in this process. (c) The same from saved
maps by `judge_pictures`, in this process, and (d) with processes that are started for it. All counts must be equal. (a)
and (b) take turns, picture by picture, so that other load on the machine slows both. Maps are smooth and random, 14×14
resized to 224×224. At the end: the peak memory of a whole evaluation, for two numbers of pictures.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from cyclopts import App
from tscam.system.spool import Spool

from tscam.datasets import Dataset
from tscam.evaluation.judging import Judge
from tscam.evaluation.map_sources import MappedSplit, SavedMaps
from tscam.evaluation.score_maps import map_path, write_map
from tscam.evaluation.scoring import judge_pictures
from tscam.geometry import View
from tscam.metrics.curves import curve_of
from tscam.metrics.levels import judge_levels, level_map, truths_in_view
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.protocol import BoxProtocol, protocols

SIDE, GRID = 224, 14
PICTURE_WH = (500, 375)
PROTOCOLS = tuple(
    protocol for name in ("max-box-acc", "max-box-acc-v2") if isinstance(protocol := protocols[name], BoxProtocol)
)
IOUS = (0.3, 0.5, 0.7)

app = App(help=__doc__)


@app.default
def main(*, pictures: int = 40, processes: int = 2, in_processes: int = 1000, turns: int = 3) -> None:
    """Print the tables.

    Args:
        pictures: scored by (a) and (b) in each turn.
        processes: number of (d).
        in_processes: pictures of (c) and (d); the fewer, the more weighs the start of processes.
        turns: repetitions; times are medians over them.
    """
    versions = f"OpenCV {cv2.__version__}, NumPy {np.__version__}"
    print(f"{os.cpu_count()} cores, {versions}, {len(PROTOCOLS[0].thresholds)} thresholds")
    cv2.setNumThreads(1)
    loops, levels = _side_by_side(pictures, turns)
    here, apart = _from_files(in_processes, processes, turns)
    print(f"{'ms a picture':<46} {'wall':>8} {'CPU':>8} {'(a) divided by it, wall':>32} {'CPU':>6}")
    rows = {
        "(a) threshold by threshold": loops,
        "(b) every level once, one process": levels,
        "(c) from saved maps, one process": here,
        f"(d) from saved maps, {processes} processes": apart,
    }
    for name, row in rows.items():
        ratios = f"{loops.wall / row.wall:32.1f} {loops.cpu / row.cpu:6.1f}"
        print(f"{name:<46} {1000 * row.wall:8.2f} {1000 * row.cpu:8.2f} {ratios}")
    print("(d) includes the start of its processes; its CPU time is the sum over all of them")
    for count in (200, 2000):
        print(f"peak memory of scoring {count} pictures: {_peak_mib(count):.0f} MiB")


@dataclass
class _Seconds:
    """Wall and CPU seconds of a picture, medians over turns."""

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpus)


class _Clock:
    """Wall and CPU seconds since the clock was created; CPU time includes processes that have ended."""

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> np.ndarray:
        cpu = os.times()
        return np.array([time.perf_counter(), cpu.user + cpu.system + cpu.children_user + cpu.children_system])

    def read(self) -> np.ndarray:
        return self._now() - self._start


def _side_by_side(pictures: int, turns: int) -> tuple[_Seconds, _Seconds]:
    results = _Seconds(), _Seconds()
    for turn in range(turns):
        seconds, counts = np.zeros((2, 2)), [0, 0]
        for number in range(pictures):
            map_, boxes = _map(turn * pictures + number), _boxes(turn * pictures + number)
            for index, score in enumerate((_hits_by_threshold, _hits_by_level)):
                clock = time.perf_counter(), time.process_time()
                hits = score(map_, boxes)
                seconds[index] += time.perf_counter() - clock[0], time.process_time() - clock[1]
                counts[index] = counts[index] + hits
        assert np.array_equal(*counts)
        for result, (wall, cpu) in zip(results, seconds / pictures, strict=True):
            result.walls.append(wall)
            result.cpus.append(cpu)
    return results


def _hits_by_threshold(map_: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the hits of both versions at each threshold, `[2 thresholds ious]`."""
    scale = np.array([*PICTURE_WH, *PICTURE_WH])
    truths = (boxes * SIDE / scale).astype(int)
    grey = (map_ * 255).astype(np.uint8)
    hits = np.zeros((2, len(PROTOCOLS[0].thresholds), len(IOUS)))
    for index, threshold in enumerate(PROTOCOLS[0].thresholds):
        _, above = cv2.threshold(grey, int(threshold * np.max(grey)), 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        predicted = [(0, 0, 0, 0)]
        largest = 0
        if contours:
            rectangles = [cv2.boundingRect(contour) for contour in contours]
            predicted = [(x, y, min(x + w, SIDE - 1), min(y + h, SIDE - 1)) for x, y, w, h in rectangles]
            largest = max(range(len(contours)), key=lambda number: cv2.contourArea(contours[number]))
        iou = _iou(np.array(predicted), truths).max(axis=1)
        hits[0, index] = iou[largest] >= np.array(IOUS)
        hits[1, index] = iou.max() >= np.array(IOUS)
    return hits


def _iou(boxes: np.ndarray, truths: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], truths[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truths[None, :, 2:])
    shared = np.maximum(high - low + 1, 0).prod(axis=2)
    areas = [(edges[:, 2:] - edges[:, :2] + 1).prod(axis=1) for edges in (boxes, truths)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def _hits_by_level(map_: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    view, leveled = View(PICTURE_WH, (SIDE, SIDE)), level_map(map_)
    scores = {
        protocol.name: judge_levels(leveled, truths_in_view(boxes, protocol, view=view, rule="ilsvrc"), protocol)
        for protocol in PROTOCOLS
    }
    picture = JudgedPicture(
        image="", label=0, top_classes=(), picture_wh=PICTURE_WH, truths=boxes, boxes=scores, pixels={}, map_levels={},
        small_map=np.zeros((1, 1), dtype=np.uint8),
    )  # fmt: skip
    return _hits([picture])


def _hits(pictures: list[JudgedPicture] | Spool[JudgedPicture]) -> np.ndarray:
    """Return hits as `_hits_by_threshold` does. MaxBoxAcc counts at IoU 0.5 alone; other columns come from its IoUs."""
    v2 = np.stack(list(curve_of(pictures, PROTOCOLS[1]).hits.values()), axis=1)
    v1 = np.zeros_like(v2)
    for picture in pictures:
        scores = picture.boxes[PROTOCOLS[0].name]
        iou = scores.iou[scores.levels(PROTOCOLS[0].thresholds)]
        v1 += iou[:, None] >= np.array(IOUS, dtype=np.float32)
    assert np.array_equal(curve_of(pictures, PROTOCOLS[0]).hits["max_box_acc"], v1[:, 1])
    return np.stack([v1, v2])


def _from_files(pictures: int, processes: int, turns: int) -> tuple[_Seconds, _Seconds]:
    results = _Seconds(), _Seconds()
    with tempfile.TemporaryDirectory() as folder:
        dataset = _data_set(Path(folder), pictures)
        # One picture first: imports happen before the clock starts.
        _ = list(_judge(dataset.subset(range(1), split="test"), Path(folder), 0))
        for _ in range(turns):
            counts = []
            for result, workers in zip(results, (0, processes), strict=True):
                clock = _Clock()
                counts.append(_hits(list(_judge(dataset, Path(folder), workers))))
                wall, cpu = clock.read() / pictures
                result.walls.append(wall)
                result.cpus.append(cpu)
            assert np.array_equal(*counts)
    return results


def _judge(dataset: Dataset, folder: Path, workers: int) -> Iterator[JudgedPicture]:
    split = MappedSplit(dataset=dataset, maps=SavedMaps(folder=folder))
    return judge_pictures(split, Judge(protocols=PROTOCOLS), workers=workers)


def _data_set(folder: Path, pictures: int) -> Dataset:
    ids = tuple(f"{number}.png" for number in range(pictures))
    for number, image_id in enumerate(ids):
        write_map(map_path(folder, image_id), _map(number))
    return Dataset(
        name="wsol", split="test", root=folder, image_root=folder, class_names=("0",), image_ids=ids,
        labels=np.zeros(pictures, dtype=np.int64), boxes=tuple(map(_boxes, range(pictures))),
        sizes_wh=np.tile(np.array(PICTURE_WH), (pictures, 1)),
    )  # fmt: skip


def _map(seed: int) -> np.ndarray:
    raw = np.random.default_rng(seed).random((GRID, GRID), dtype=np.float32)
    raw = cv2.GaussianBlur(raw, (3, 3), 0)
    map_ = cv2.resize(raw, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return (map_ - map_.min()) / (map_.max() - map_.min())


def _boxes(seed: int) -> np.ndarray:
    """Return one to three boxes in picture pixels."""
    random = np.random.default_rng([1, seed])
    width, height = PICTURE_WH
    count = int(random.integers(1, 4))
    low = random.integers(0, [width // 2, height // 2], size=(count, 2))
    high = low + random.integers(40, [width // 2, height // 2], size=(count, 2))
    return np.concatenate([low, high], axis=1).astype(float)


def _peak_mib(pictures: int) -> float:
    """Return the peak memory of a process that judges pictures and spools them to disk, as `tscam evaluate` does."""
    command = [sys.executable, __file__, "peak", str(pictures)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@app.command(show=False)
def peak(pictures: int, /) -> None:
    """Print this process's peak memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = _data_set(Path(folder), pictures)
        spool: Spool[JudgedPicture] = Spool(None)
        for picture in _judge(dataset, Path(folder), 0):
            spool.append(picture)
        _hits(spool)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    app()
