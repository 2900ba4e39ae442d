"""Scores of a data set equal a naive protocol, picture by picture; unusable data are named."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_sets import write_cub, write_folder, write_imagenet
from scoring import score
from tiny_models import STAND_IN, add_second_boxes, naive_area, naive_iou, naive_shared
from tscam.datasets import Dataset, read_dataset
from tscam.errors import DataError
from tscam.evaluation.map_sources import PredictedMaps, SavedMaps
from tscam.evaluation.requirements import require_same_classes, require_scorable
from tscam.image import InputFormat, preprocess, read_image
from tscam.metrics.protocol import TS_CAM
from tscam.metrics.ts_cam import OUTCOMES
from tscam.predictor import Prediction, Predictor
from tscam.system.processes import Processes

VIEW_WH = (40, 32)
GRID_HW = (4, 5)
CLASS_NAMES = ("ant", "bee", "cat", "dog", "emu", "fox", "gnu")

Span = tuple[int, int]
Rectangle = tuple[Span, Span]  # rows and columns of the grid, half-open


class KnownPredictor:
    """Recognizes pictures by their pixels; predicts given logits, and maps that are high in a given rectangle."""

    facts = STAND_IN
    input_format = InputFormat(size_hw=(VIEW_WH[1], VIEW_WH[0]))
    threshold = 0.5

    def __init__(
        self, dataset: Dataset, logits: Sequence[np.ndarray], rectangles: Sequence[Sequence[Rectangle | None]]
    ) -> None:
        self.label_names = dataset.class_names
        self.logits, self.rectangles = logits, rectangles
        self.numbers = {pixels_of(dataset, index): index for index in range(len(dataset))}
        self.batch_sizes: list[int] = []

    def fingerprint(self) -> str:
        return "a stand-in"

    def predict(self, pixels: np.ndarray, *, top_k: int, labels: np.ndarray | None = None) -> list[Prediction]:
        self.batch_sizes.append(len(pixels))
        predictions = []
        for position, view in enumerate(pixels):
            index = self.numbers[view.tobytes()]
            chosen = np.argsort(-self.logits[index], kind="stable")[:top_k].tolist()
            chosen += [] if labels is None else [int(labels[position])]
            maps = np.stack([raw_map(self.rectangles[index][class_id]) for class_id in chosen])
            predictions.append(Prediction(logits=self.logits[index], classes=np.array(chosen), maps=maps))
        return predictions


def pixels_of(dataset: Dataset, index: int) -> bytes:
    return preprocess(read_image(dataset.path(index)), to=KnownPredictor.input_format)[0].tobytes()


def raw_map(rectangle: Rectangle | None) -> np.ndarray:
    """Return a raw map: 1.7 inside the rectangle and −0.3 outside, or flat."""
    raw = np.full(GRID_HW, -0.3, dtype=np.float32)
    if rectangle is not None:
        (top, bottom), (left, right) = rectangle
        raw[top:bottom, left:right] = 1.7
    return raw


def naive_box(rectangle: Rectangle | None, threshold: float) -> list[float]:
    """Resize rows and columns bilinearly (the map is their product), scale, and return the box of what is above."""
    if rectangle is None:
        return [0, 0, 1, 1]
    profiles = []
    for (low, high), cells, side in zip(rectangle, GRID_HW, VIEW_WH[::-1], strict=True):
        step = [float(low <= cell < high) for cell in range(cells)]
        centres = [(pixel + 0.5) * cells / side - 0.5 for pixel in range(side)]
        profiles.append(np.interp(centres, range(cells), step))
    scaled = profiles[0][:, None] * profiles[1]
    scaled = (scaled - scaled.min()) / (scaled.max() - scaled.min())
    above = [
        (x, y) for y in range(VIEW_WH[1]) for x in range(VIEW_WH[0]) if int(255 * scaled[y, x]) > int(threshold * 255)
    ]
    columns, rows = zip(*above, strict=True)
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


def naive_truth(box: Sequence[float], picture_wh: tuple[int, int]) -> list[int]:
    edges = []
    for position, value in enumerate(box):
        size, side = VIEW_WH[position % 2], picture_wh[position % 2]
        scaled = value / side * size
        edges.append(int(max(scaled, 0)) if position < 2 else int(min(scaled, size - 1)))
    return edges


def naive_outcome(box: Sequence[float], truths: Sequence[Sequence[float]]) -> str:
    ious = [naive_iou(box, truth) for truth in truths]
    covered = [naive_shared(box, truth) / naive_area(truth) for truth in truths]
    best = ious.index(max(ious))
    if ious[best] > 0.5:
        return "right"
    if len(truths) > 1 and sum(part > 0.3 for part in covered) >= 2:
        return "multi_instance"
    if naive_shared(box, truths[best]) / naive_area(box) > 0.5:
        return "part"
    return "more" if covered[best] >= 0.7 else "wrong"


def random_span(random: np.random.Generator, cells: int) -> Span:
    low = int(random.integers(cells))
    return low, int(random.integers(low + 1, cells + 1))


def known_predictor(dataset: Dataset, seed: int) -> KnownPredictor:
    """Return random logits, often with the label on top, and rectangles at random or on the picture's first box."""
    assert dataset.boxes is not None
    random = np.random.default_rng(seed)
    logits, rectangles = [], []
    for index, label in enumerate(dataset.labels.tolist()):
        scores = random.standard_normal(len(dataset.class_names)).astype(np.float32)
        scores[label] += random.choice([0, 3])
        logits.append(scores)
        picture_rectangles: list[Rectangle | None] = []
        for _ in dataset.class_names:
            shape = random.integers(4)
            if shape == 0:
                picture_rectangles.append(None)
            elif shape == 1:
                picture_rectangles.append((random_span(random, GRID_HW[0]), random_span(random, GRID_HW[1])))
            else:
                with Image.open(dataset.path(index)) as picture:
                    picture_rectangles.append(cells_of(dataset.boxes[index][0].tolist(), picture.size))
        rectangles.append(picture_rectangles)
    return KnownPredictor(dataset, logits, rectangles)


def cells_of(box: Sequence[float], picture_wh: tuple[int, int]) -> Rectangle:
    spans = []
    for axis in (1, 0):
        cells, side = GRID_HW[1 - axis], picture_wh[axis]
        low, high = round(box[axis] / side * cells), round(box[axis + 2] / side * cells)
        spans.append((min(low, cells - 1), max(high, low + 1)))
    return spans[0], spans[1]


@pytest.mark.parametrize("layout", ["folder", "cub", "imagenet"])
@pytest.mark.parametrize("threshold", [0.12, 0.6])
def test_every_picture_is_judged_as_by_the_naive_protocol(tmp_path: Path, layout: str, threshold: float) -> None:
    if layout == "folder":
        add_second_boxes(tmp_path, write_folder(tmp_path, class_names=CLASS_NAMES, splits={"train": 1, "test": 5}))
    elif layout == "cub":
        write_cub(tmp_path, classes=7, train=1, test=5)
    else:
        write_imagenet(tmp_path, classes=7, train=1, val=5)
    dataset = read_dataset(tmp_path)
    assert dataset.boxes is not None
    predictor = known_predictor(dataset, seed=3)
    assert isinstance(predictor, Predictor)
    scored = score(predictor, dataset, threshold=threshold, batch_size=8, workers=2)
    columns = scored.columns
    assert columns.boxes is not None
    assert columns.outcomes is not None
    assert [picture.image for picture in scored.pictures] == list(dataset.image_ids)
    assert predictor.batch_sizes == [8, 8, 8, 8, 3]

    counts = dict.fromkeys(("top1_cls", "top5_cls", "top1_loc", "top5_loc", "gt_known_loc"), 0)
    outcomes: dict[str, int] = {}
    for index, judged in enumerate(scored.pictures):
        label = int(dataset.labels[index])
        with Image.open(dataset.path(index)) as picture:
            truths = [naive_truth(box, picture.size) for box in dataset.boxes[index].tolist()]
        top = sorted(range(7), key=lambda class_id: -predictor.logits[index][class_id])[:5]
        boxes = [naive_box(predictor.rectangles[index][class_id], threshold) for class_id in range(7)]
        best = [max(naive_iou(box, truth) for truth in truths) for box in boxes]
        outcome = naive_outcome(boxes[label], truths) if top[0] == label else "cls_wrong"
        assert (judged.label, judged.top_classes) == (label, tuple(top))
        assert columns.boxes[index].tolist() == boxes[label]
        assert columns.iou[index] == pytest.approx(best[label], abs=1e-7)  # kept as float32
        assert OUTCOMES[columns.outcomes[index]] == outcome
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        counts["top1_cls"] += top[0] == label
        counts["top5_cls"] += label in top
        counts["top1_loc"] += top[0] == label and best[label] > 0.5
        counts["top5_loc"] += label in top and best[label] > 0.5
        counts["gt_known_loc"] += best[label] >= 0.5
    assert {name: scored.percent(name) for name in counts} == {name: 100 * n / 35 for name, n in counts.items()}
    errors = columns.errors()
    assert errors is not None
    assert {name: count for name, count in errors.items() if count} == outcomes
    assert len(outcomes) >= 4  # Fewer outcomes would test little.


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (4, 3), (100, 0)])
def test_batches_and_threads_change_no_score(tmp_path: Path, batch_size: int, workers: int) -> None:
    write_folder(tmp_path, class_names=CLASS_NAMES, splits={"test": 2})
    dataset = read_dataset(tmp_path)
    predictor = known_predictor(dataset, seed=5)
    lines = [
        score(predictor, dataset, threshold=0.1, batch_size=size, workers=threads).lines()
        for size, threads in ((3, 2), (batch_size, workers))
    ]
    assert lines[0] == lines[1]


def test_processes_predict_whole_batches_in_turn_and_gather_every_picture_once(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=CLASS_NAMES, splits={"test": 2})
    dataset = read_dataset(tmp_path)
    alone = score(known_predictor(dataset, seed=5), dataset, threshold=0.1, batch_size=4)
    rounds: list[list[Any]] = []

    class Second(Processes):
        """The second of two processes: it gathers its own items after those of the first, batch by batch."""

        def gather(self, items: list[Any]) -> list[Any]:
            items_of_first = rounds.pop(0)
            return [*items_of_first, *items]

    class First(Processes):
        def gather(self, items: list[Any]) -> list[Any]:
            rounds.append(items)
            return items

    predictor = known_predictor(dataset, seed=5)
    with pytest.raises(RuntimeError, match="each counts once"):  # Without the second process, pictures are missing.
        score(predictor, dataset, threshold=0.1, batch_size=4, processes=First(rank=0, count=2))
    rounds.clear()
    rounds.extend([alone.pictures[:4], alone.pictures[8:12]])
    predictor = known_predictor(dataset, seed=5)
    scored = score(predictor, dataset, threshold=0.1, batch_size=4, processes=Second(rank=1, count=2))
    assert scored.lines() == alone.lines()
    assert predictor.batch_sizes == [4, 2]


def test_top_5_means_all_classes_where_there_are_fewer_than_five(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"test": 4})
    dataset = read_dataset(tmp_path)
    scored = score(known_predictor(dataset, seed=7), dataset, threshold=0.1, batch_size=5)
    assert all(sorted(picture.top_classes) == [0, 1, 2] for picture in scored.pictures)
    assert scored.percent("top5_cls") == 100
    assert scored.percent("top1_cls") < 100
    assert scored.percent("top5_loc") == 100 * sum(scored.columns.iou > 0.5) / 12


def test_progress_is_reported_after_every_picture(tmp_path: Path) -> None:
    write_folder(tmp_path)
    dataset = read_dataset(tmp_path)
    calls: list[tuple[int, int]] = []
    predictor = known_predictor(dataset, seed=0)
    score(predictor, dataset, threshold=0.1, batch_size=4, on_progress=lambda *counts: calls.append(counts))
    assert calls == [(done, 6) for done in range(1, 7)]


def test_a_picture_without_a_box_is_no_fault(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"test": 2})
    rows = (tmp_path / "boxes.csv").read_text().splitlines()
    maps = PredictedMaps(predictor=known_predictor(read_dataset(tmp_path), seed=0), batch_size=4, workers=0)
    (tmp_path / "boxes.csv").write_text("\n".join(row for row in rows if "emu_0_1" not in row))
    assert not require_scorable(read_dataset(tmp_path), maps, (TS_CAM,), allow_missing=False).faults


def test_a_data_set_without_boxes_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, boxes=None)
    with pytest.raises(DataError, match="no boxes for split 'all'"):
        require_scorable(read_dataset(tmp_path), SavedMaps(folder=tmp_path), (TS_CAM,), allow_missing=True)


def test_other_classes_than_the_models_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    dataset = read_dataset(tmp_path)
    predictor = known_predictor(dataset, seed=0)
    require_same_classes(predictor, dataset)
    predictor.label_names = ("cat", "dog")
    with pytest.raises(DataError, match="3 classes, the model has 2"):
        require_same_classes(predictor, dataset)
    predictor.label_names = ("cat", "fox", "emu")
    with pytest.raises(DataError, match="class 1 is 'dog', the model's is 'fox'"):
        require_same_classes(predictor, dataset)
    predictor.label_names = ("0", "1", "2")  # A converted checkpoint has no class names.
    require_same_classes(predictor, dataset)
    predictor.label_names = ("0", "1", "cat")  # One name makes all of them names.
    with pytest.raises(DataError, match="class 0 is 'cat', the model's is '0'"):
        require_same_classes(predictor, dataset)
