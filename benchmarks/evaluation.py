"""What scoring MaxBoxAcc and its second version costs beside a loop over thresholds; all in one run, as ratios.

    uv run python benchmarks/evaluation.py [--pictures 40] [--turns 5]

(a) Both versions threshold by threshold: for each of 1000 thresholds OpenCV's contours, their boxes, and IoUs in NumPy;
contours are found once for both. (b) `tscam`: every level once, and curves, in this process. (c) The same from saved
maps by `judged`, in this process, and (d) with processes that are started for it. Counts must be the same to the last
picture. (a) and (b) take turns, picture by picture, so that what else the machine does meets both. Maps are smooth
random ones, 14×14 brought to 224×224. At the end: the most memory that a whole evaluation takes, by pictures.
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
from tscam.system.spool import Spool

SIDE, GRID = 224, 14
PICTURE_WH = (500, 375)
ASKED = tuple(each for name in ("max-box-acc", "max-box-acc-v2") if isinstance(each := protocols[name], BoxProtocol))
SHARES = (0.3, 0.5, 0.7)

app = App(help=__doc__)


@app.default
def main(*, pictures: int = 40, processes: int = 2, in_processes: int = 1000, turns: int = 3) -> None:
    """Prints the tables.

    Args:
        pictures: scored by (a) and (b) in each turn.
        processes: of (d).
        in_processes: pictures of (c) and (d); few hide what starting processes costs.
    """
    versions = f"OpenCV {cv2.__version__}, NumPy {np.__version__}"
    print(f"{os.cpu_count()} cores, {versions}, {len(ASKED[0].thresholds)} thresholds")
    cv2.setNumThreads(1)
    loops, levels = _side_by_side(pictures, turns)
    here, apart = _from_files(in_processes, processes, turns)
    print(f"{'ms a picture':<46} {'wall':>8} {'CPU':>8} {'(a) is so many times that, wall':>32} {'CPU':>6}")
    rows = {
        "(a) threshold by threshold": loops,
        "(b) every level once, one process": levels,
        "(c) from saved maps, one process": here,
        f"(d) from saved maps, {processes} processes": apart,
    }
    for name, row in rows.items():
        ratios = f"{loops.wall / row.wall:32.1f} {loops.cpu / row.cpu:6.1f}"
        print(f"{name:<46} {1000 * row.wall:8.2f} {1000 * row.cpu:8.2f} {ratios}")
    print("(d) counts the start of its processes; its CPU time is that of all of them")
    for count in (200, 2000):
        print(f"peak memory of scoring {count} pictures: {_peak_mib(count):.0f} MiB")


@dataclass
class _Seconds:
    """A picture's, the median over turns."""

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpus)


class _Clock:
    """Wall and CPU seconds since it was made; CPU with that of processes that have ended."""

    def __init__(self) -> None:
        self._began = self._now()

    @staticmethod
    def _now() -> np.ndarray:
        spent = os.times()
        return np.array([time.perf_counter(), spent.user + spent.system + spent.children_user + spent.children_system])

    def read(self) -> np.ndarray:
        return self._now() - self._began


def _side_by_side(pictures: int, turns: int) -> tuple[_Seconds, _Seconds]:
    found = _Seconds(), _Seconds()
    for turn in range(turns):
        spent, counts = np.zeros((2, 2)), [0, 0]
        for number in range(pictures):
            map_, boxes = _map(turn * pictures + number), _boxes(turn * pictures + number)
            for place, score in enumerate((_by_threshold, _by_level)):
                clock = time.perf_counter(), time.process_time()
                hits = score(map_, boxes)
                spent[place] += time.perf_counter() - clock[0], time.process_time() - clock[1]
                counts[place] = counts[place] + hits
        assert np.array_equal(*counts)
        for seconds, (wall, cpu) in zip(found, spent / pictures, strict=True):
            seconds.walls.append(wall)
            seconds.cpus.append(cpu)
    return found


def _by_threshold(map_: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Hits of both versions at each threshold, `[2 thresholds shares]`."""
    scale = np.array([*PICTURE_WH, *PICTURE_WH])
    truths = (boxes * SIDE / scale).astype(int)
    grey = (map_ * 255).astype(np.uint8)
    hits = np.zeros((2, len(ASKED[0].thresholds), len(SHARES)))
    for place, threshold in enumerate(ASKED[0].thresholds):
        _, above = cv2.threshold(grey, int(threshold * np.max(grey)), 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        found = [(0, 0, 0, 0)]
        largest = 0
        if contours:
            rectangles = [cv2.boundingRect(contour) for contour in contours]
            found = [(x, y, min(x + w, SIDE - 1), min(y + h, SIDE - 1)) for x, y, w, h in rectangles]
            largest = max(range(len(contours)), key=lambda each: cv2.contourArea(contours[each]))
        iou = _iou(np.array(found), truths).max(axis=1)
        hits[0, place] = iou[largest] >= np.array(SHARES)
        hits[1, place] = iou.max() >= np.array(SHARES)
    return hits


def _iou(boxes: np.ndarray, truths: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], truths[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truths[None, :, 2:])
    shared = np.maximum(high - low + 1, 0).prod(axis=2)
    areas = [(edges[:, 2:] - edges[:, :2] + 1).prod(axis=1) for edges in (boxes, truths)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def _by_level(map_: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    view, leveled = View(PICTURE_WH, (SIDE, SIDE)), level_map(map_)
    scores = {
        each.name: judge_levels(leveled, truths_in_view(boxes, each, view=view, rule="ilsvrc"), each) for each in ASKED
    }
    picture = JudgedPicture(
        image="", label=0, top_classes=(), picture_wh=PICTURE_WH, truths=boxes, boxes=scores, pixels={}, map_levels={},
        small_map=np.zeros((1, 1), dtype=np.uint8),
    )  # fmt: skip
    return _hits([picture])


def _hits(pictures: list[JudgedPicture] | Spool[JudgedPicture]) -> np.ndarray:
    """As `_by_threshold`; the first version counts at 0.5 alone, so its other columns are made of its IoUs."""
    v2 = np.stack(list(curve_of(pictures, ASKED[1]).hits.values()), axis=1)
    v1 = np.zeros_like(v2)
    for picture in pictures:
        scores = picture.boxes[ASKED[0].name]
        iou = scores.iou[scores.levels(ASKED[0].thresholds)]
        v1 += iou[:, None] >= np.array(SHARES, dtype=np.float32)
    assert np.array_equal(curve_of(pictures, ASKED[0]).hits["max_box_acc"], v1[:, 1])
    return np.stack([v1, v2])


def _from_files(pictures: int, processes: int, turns: int) -> tuple[_Seconds, _Seconds]:
    found = _Seconds(), _Seconds()
    with tempfile.TemporaryDirectory() as folder:
        dataset = _data_set(Path(folder), pictures)
        _ = list(_judged(dataset.subset(range(1), split="test"), Path(folder), 0))  # imports what there is
        for _ in range(turns):
            counts = []
            for seconds, workers in zip(found, (0, processes), strict=True):
                clock = _Clock()
                counts.append(_hits(list(_judged(dataset, Path(folder), workers))))
                wall, cpu = clock.read() / pictures
                seconds.walls.append(wall)
                seconds.cpus.append(cpu)
            assert np.array_equal(*counts)
    return found


def _judged(dataset: Dataset, folder: Path, workers: int) -> Iterator[JudgedPicture]:
    split = MappedSplit(dataset=dataset, maps=SavedMaps(folder=folder))
    return judge_pictures(split, Judge(protocols=ASKED), workers=workers)


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
    """One to three."""
    random = np.random.default_rng([1, seed])
    width, height = PICTURE_WH
    count = int(random.integers(1, 4))
    low = random.integers(0, [width // 2, height // 2], size=(count, 2))
    high = low + random.integers(40, [width // 2, height // 2], size=(count, 2))
    return np.concatenate([low, high], axis=1).astype(float)


def _peak_mib(pictures: int) -> float:
    """Of a process that judges so many pictures and keeps them on the disk, as `tscam evaluate` does."""
    done = subprocess.run([sys.executable, __file__, "peak", str(pictures)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@app.command(show=False)
def peak(pictures: int, /) -> None:
    """Prints this process's peak memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = _data_set(Path(folder), pictures)
        spool: Spool[JudgedPicture] = Spool(None)
        for picture in _judged(dataset, Path(folder), 0):
            spool.append(picture)
        _hits(spool)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    app()
