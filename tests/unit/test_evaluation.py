"""Scores of a data set equal the protocol written out once more, picture by picture; unfit data leave no trace."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_sets import write_cub, write_folder, write_imagenet
from tscam.checkpoint import save_model
from tscam.config import EvaluateConfig
from tscam.datasets import Dataset, read_dataset
from tscam.errors import DataError, OutputError
from tscam.evaluation import evaluate, require_boxes, require_same_classes, score_dataset, top1_cls
from tscam.image import InputFormat, preprocess, read_image
from tscam.metrics.ts_cam import summarize
from tscam.model import create_model
from tscam.predictor import Prediction, Predictor

VIEW_WH = (40, 32)
GRID_HW = (4, 5)
CLASS_NAMES = ("ant", "bee", "cat", "dog", "emu", "fox", "gnu")

Span = tuple[int, int]
Rectangle = tuple[Span, Span]  # rows and columns of the grid, half-open


class KnownPredictor:
    """Knows every picture by its pixels: its logits are given, the map of a class is high in a given rectangle."""

    input_format = InputFormat(size_hw=(VIEW_WH[1], VIEW_WH[0]))
    threshold = 0.5

    def __init__(
        self, dataset: Dataset, logits: Sequence[np.ndarray], rectangles: Sequence[Sequence[Rectangle | None]]
    ) -> None:
        self.label_names = dataset.class_names
        self.logits, self.rectangles = logits, rectangles
        self.numbers = {pixels_of(dataset, index): index for index in range(len(dataset))}
        self.asked: list[int] = []

    def predict(self, pixels: np.ndarray, *, top_k: int, labels: np.ndarray | None = None) -> list[Prediction]:
        self.asked.append(len(pixels))
        found = []
        for position, view in enumerate(pixels):
            index = self.numbers[view.tobytes()]
            chosen = np.argsort(-self.logits[index], kind="stable")[:top_k].tolist()
            chosen += [] if labels is None else [int(labels[position])]
            maps = np.stack([raw_map(self.rectangles[index][class_id]) for class_id in chosen])
            found.append(Prediction(logits=self.logits[index], classes=np.array(chosen), maps=maps))
        return found


def pixels_of(dataset: Dataset, index: int) -> bytes:
    return preprocess(read_image(dataset.path(index)), to=KnownPredictor.input_format)[0].tobytes()


def raw_map(rectangle: Rectangle | None) -> np.ndarray:
    """Flat, or 1.7 inside and −0.3 around."""
    raw = np.full(GRID_HW, -0.3, dtype=np.float32)
    if rectangle is not None:
        (top, bottom), (left, right) = rectangle
        raw[top:bottom, left:right] = 1.7
    return raw


def naive_box(rectangle: Rectangle | None, threshold: float) -> list[float]:
    """Rows and columns apart, since the map is their product: bilinear, then cut to 0…255, then what is above."""
    if rectangle is None:
        return [0, 0, 1, 1]
    profiles = []
    for (low, high), cells, side in zip(rectangle, GRID_HW, VIEW_WH[::-1], strict=True):
        step = [float(low <= cell < high) for cell in range(cells)]
        centres = [(pixel + 0.5) * cells / side - 0.5 for pixel in range(side)]
        profiles.append(np.interp(centres, range(cells), step))
    scaled = profiles[0][:, None] * profiles[1]
    scaled = (scaled - scaled.min()) / (scaled.max() - scaled.min())
    kept = [
        (x, y) for y in range(VIEW_WH[1]) for x in range(VIEW_WH[0]) if int(255 * scaled[y, x]) > int(threshold * 255)
    ]
    columns, rows = zip(*kept, strict=True)
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


def naive_truth(box: Sequence[float], picture_wh: tuple[int, int]) -> list[int]:
    edges = []
    for position, value in enumerate(box):
        size, side = VIEW_WH[position % 2], picture_wh[position % 2]
        scaled = value / side * size
        edges.append(int(max(scaled, 0)) if position < 2 else int(min(scaled, size - 1)))
    return edges


def naive_area(box: Sequence[float]) -> float:
    return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)


def naive_shared(box: Sequence[float], truth: Sequence[float]) -> float:
    return naive_area([max(box[0], truth[0]), max(box[1], truth[1]), min(box[2], truth[2]), min(box[3], truth[3])])


def naive_iou(box: Sequence[float], truth: Sequence[float]) -> float:
    shared = naive_shared(box, truth)
    return shared / (naive_area(box) + naive_area(truth) - shared)


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


def known(dataset: Dataset, seed: int) -> KnownPredictor:
    """Random logits with the label often on top; random rectangles, or those that lie on the picture's first box."""
    assert dataset.boxes is not None
    random = np.random.default_rng(seed)
    logits, rectangles = [], []
    for index, label in enumerate(dataset.labels.tolist()):
        scores = random.standard_normal(len(dataset.class_names)).astype(np.float32)
        scores[label] += random.choice([0, 3])
        logits.append(scores)
        of_picture: list[Rectangle | None] = []
        for _ in dataset.class_names:
            shape = random.integers(4)
            if shape == 0:
                of_picture.append(None)
            elif shape == 1:
                of_picture.append((random_span(random, GRID_HW[0]), random_span(random, GRID_HW[1])))
            else:
                with Image.open(dataset.path(index)) as picture:
                    of_picture.append(cells_of(dataset.boxes[index][0].tolist(), picture.size))
        rectangles.append(of_picture)
    return KnownPredictor(dataset, logits, rectangles)


def cells_of(box: Sequence[float], picture_wh: tuple[int, int]) -> Rectangle:
    spans = []
    for axis in (1, 0):
        cells, side = GRID_HW[1 - axis], picture_wh[axis]
        low, high = round(box[axis] / side * cells), round(box[axis + 2] / side * cells)
        spans.append((min(low, cells - 1), max(high, low + 1)))
    return spans[0], spans[1]


def with_second_boxes(root: Path, drawn: Mapping[str, Sequence[int]]) -> None:
    """Every third picture gets a box right beside its own."""
    rows = [f"{name},{x0},{y0},{(x0 + x1) // 2},{y1}" for name, (x0, y0, x1, y1) in list(drawn.items())[::3]]
    with (root / "boxes.csv").open("a") as file:
        file.writelines(f"\n{row}" for row in rows)


@pytest.mark.parametrize("layout", ["folder", "cub", "imagenet"])
@pytest.mark.parametrize("threshold", [0.12, 0.6])
def test_every_picture_is_judged_as_the_protocol_written_out_once_more(
    tmp_path: Path, layout: str, threshold: float
) -> None:
    if layout == "folder":
        with_second_boxes(tmp_path, write_folder(tmp_path, class_names=CLASS_NAMES, splits={"train": 1, "test": 5}))
    elif layout == "cub":
        write_cub(tmp_path, classes=7, train=1, test=5)
    else:
        write_imagenet(tmp_path, classes=7, train=1, val=5)
    dataset = read_dataset(tmp_path)
    assert dataset.boxes is not None
    predictor = known(dataset, seed=3)
    assert isinstance(predictor, Predictor)
    images = list(score_dataset(predictor, dataset, threshold=threshold, batch_size=8, workers=2))
    assert [image.image for image in images] == list(dataset.image_ids)
    assert predictor.asked == [8, 8, 8, 8, 3]

    counts = dict.fromkeys(("top1_cls", "top5_cls", "top1_loc", "top5_loc", "gt_known_loc"), 0)
    outcomes: dict[str, int] = {}
    for index, image in enumerate(images):
        label = int(dataset.labels[index])
        with Image.open(dataset.path(index)) as picture:
            truths = [naive_truth(box, picture.size) for box in dataset.boxes[index].tolist()]
        top = sorted(range(7), key=lambda class_id: -predictor.logits[index][class_id])[:5]
        boxes = [naive_box(predictor.rectangles[index][class_id], threshold) for class_id in range(7)]
        best = [max(naive_iou(box, truth) for truth in truths) for box in boxes]
        outcome = naive_outcome(boxes[label], truths) if top[0] == label else "cls_wrong"
        assert (image.label, image.top_classes.tolist()) == (label, top)
        assert image.label_box.tolist() == boxes[label]
        assert image.top_boxes.tolist() == [boxes[class_id] for class_id in top]
        assert image.score.iou == pytest.approx(best[label], abs=1e-12)
        assert image.score.outcome == outcome
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        counts["top1_cls"] += top[0] == label
        counts["top5_cls"] += label in top
        counts["top1_loc"] += top[0] == label and best[label] > 0.5
        counts["top5_loc"] += label in top and best[label] > 0.5
        counts["gt_known_loc"] += best[label] >= 0.5
    result = summarize(image.score for image in images)
    assert {name: getattr(result, name) for name in counts} == {name: 100 * n / 35 for name, n in counts.items()}
    assert {name: count for name, count in result.errors.items() if count} == outcomes
    assert len(outcomes) >= 4  # Else the pictures would show little.


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (4, 3), (100, 0)])
def test_batches_and_threads_change_no_score(tmp_path: Path, batch_size: int, workers: int) -> None:
    write_folder(tmp_path, class_names=CLASS_NAMES, splits={"test": 2})
    dataset = read_dataset(tmp_path)
    predictor = known(dataset, seed=5)
    lines = [
        [
            image.to_json()
            for image in score_dataset(predictor, dataset, threshold=0.1, batch_size=size, workers=threads)
        ]
        for size, threads in ((3, 2), (batch_size, workers))
    ]
    assert lines[0] == lines[1]
    accuracy = top1_cls(predictor, dataset, batch_size=batch_size, workers=workers)
    assert accuracy == 100 * sum(np.argmax(predictor.logits, axis=1) == dataset.labels) / 14


def test_with_fewer_than_five_classes_top_5_means_all_of_them(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"test": 4})
    dataset = read_dataset(tmp_path)
    images = list(score_dataset(known(dataset, seed=7), dataset, threshold=0.1, batch_size=5, workers=1))
    assert all(sorted(image.top_classes.tolist()) == [0, 1, 2] for image in images)
    result = summarize(image.score for image in images)
    assert result.top5_cls == 100
    assert result.top1_cls < 100
    assert result.top5_loc == 100 * sum(image.score.iou > 0.5 for image in images) / 12


def test_progress_is_told_after_every_picture(tmp_path: Path) -> None:
    write_folder(tmp_path)
    dataset = read_dataset(tmp_path)
    told: list[tuple[int, int]] = []
    predictor = known(dataset, seed=0)
    list(
        score_dataset(
            predictor, dataset, threshold=0.1, batch_size=4, workers=1, on_progress=lambda *at: told.append(at)
        )
    )
    assert told == [(done, 6) for done in range(1, 7)]


def test_a_picture_without_a_box_is_refused_and_named(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"test": 2})
    rows = (tmp_path / "boxes.csv").read_text().splitlines()
    (tmp_path / "boxes.csv").write_text("\n".join(row for row in rows if "emu_0_1" not in row))
    with pytest.raises(DataError, match=r"1 of 6 pictures have no box, the first is 'test/emu/emu_0_1\.png'"):
        require_boxes(read_dataset(tmp_path))


def test_a_data_set_without_boxes_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, boxes=None)
    with pytest.raises(DataError, match="no boxes for split 'all'"):
        require_boxes(read_dataset(tmp_path))


def test_other_classes_than_the_models_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    dataset = read_dataset(tmp_path)
    predictor = known(dataset, seed=0)
    require_same_classes(predictor, dataset)
    predictor.label_names = ("cat", "dog")
    with pytest.raises(DataError, match="3 classes, the model has 2"):
        require_same_classes(predictor, dataset)
    predictor.label_names = ("cat", "fox", "emu")
    with pytest.raises(DataError, match="class 1 is 'dog', the model's is 'fox'"):
        require_same_classes(predictor, dataset)
    predictor.label_names = ("0", "1", "2")  # A converted checkpoint has no names.
    require_same_classes(predictor, dataset)
    predictor.label_names = ("0", "1", "cat")  # These are names.
    with pytest.raises(DataError, match="class 0 is 'cat', the model's is '0'"):
        require_same_classes(predictor, dataset)


TINY = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


def tiny_model(folder: Path, *, label_names: Sequence[str] = ("cat", "dog", "emu")) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(26)
        model = create_model("vit_tiny_patch16_224", label_names=label_names, image_size=32, backbone_args=TINY)
    save_model(model, folder)
    return folder


def test_the_files_hold_every_number_unrounded_and_every_picture(tmp_path: Path) -> None:
    with_second_boxes(tmp_path / "data", write_folder(tmp_path / "data", splits={"train": 1, "test": 7}))
    model = tiny_model(tmp_path / "model")
    found = evaluate(model, EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", batch_size=4))
    assert found.out == tmp_path / "out"
    assert sorted(path.name for path in found.out.iterdir()) == ["metrics.json", "per_image.jsonl"]

    lines = [json.loads(line) for line in (found.out / "per_image.jsonl").read_text().splitlines()]
    dataset = read_dataset(tmp_path / "data")
    assert dataset.boxes is not None
    assert [line["image"] for line in lines] == list(dataset.image_ids)
    for line, boxes, path in zip(lines, dataset.boxes, map(dataset.path, range(21)), strict=True):
        assert set(line) == {"image", "label", "top_classes", "top_boxes", "label_box", "iou", "outcome"}
        assert dataset.class_names[line["label"]] == path.parent.name
        assert sorted(line["top_classes"]) == [0, 1, 2]
        assert line["label_box"] == line["top_boxes"][line["top_classes"].index(line["label"])]
        assert all(0 <= edge <= 32 for box in line["top_boxes"] for edge in box)
        with Image.open(path) as picture:
            truths = [[int(min(v / s * 32, 31)) for v, s in zip(box, picture.size * 2, strict=True)] for box in boxes]
        assert line["iou"] == pytest.approx(max(naive_iou(line["label_box"], truth) for truth in truths), abs=1e-12)

    metrics = json.loads((found.out / "metrics.json").read_text())
    assert set(metrics) >= {
        "protocol", "images", "top1_cls", "top5_cls", "top1_loc", "top5_loc", "gt_known_loc", "errors", "threshold",
        "model", "method",
    }  # fmt: skip
    right = [line["top_classes"][0] == line["label"] for line in lines]
    half = [line["iou"] > 0.5 for line in lines]
    assert metrics["protocol"] == "ts-cam"
    assert metrics["images"] == 21
    assert metrics["top1_cls"] == 100 * sum(right) / 21
    assert metrics["top5_cls"] == 100
    assert metrics["top1_loc"] == 100 * sum(map(all, zip(right, half, strict=True))) / 21
    assert metrics["top5_loc"] == 100 * sum(half) / 21
    assert metrics["gt_known_loc"] == 100 * sum(line["iou"] >= 0.5 for line in lines) / 21
    outcomes = [line["outcome"] for line in lines]
    assert metrics["errors"] == {
        name: outcomes.count(name) for name in ("right", "cls_wrong", "multi_instance", "part", "more", "wrong")
    }
    assert sum(metrics["errors"].values()) == 21
    assert (metrics["threshold"], metrics["method"], metrics["model"]) == (0.1, "ts-cam", str(model))
    assert f"{metrics['gt_known_loc']:6.2f} %" in found.describe()
    assert "protocol ts-cam, threshold 0.1, 21 pictures" in found.describe()


def test_the_threshold_is_the_data_sets_unless_another_is_given(tmp_path: Path) -> None:
    write_imagenet(tmp_path / "imagenet", train=1, val=1)
    names = read_dataset(tmp_path / "imagenet").class_names
    model = tiny_model(tmp_path / "model", label_names=names)
    for given, taken in ((None, 0.12), (0.35, 0.35)):
        out = tmp_path / f"out {given}"
        found = evaluate(model, EvaluateConfig(data=tmp_path / "imagenet", out=out, threshold=given))
        assert found.threshold == json.loads((out / "metrics.json").read_text())["threshold"] == taken


def test_the_maps_can_be_read_by_another_method(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 2})
    model = tiny_model(tmp_path / "model")
    boxes = {}
    for method in ("ts-cam", "attention"):
        config = EvaluateConfig(data=tmp_path / "data", out=tmp_path / method, method=method, threshold=0.6)
        boxes[method] = [image.top_boxes.tolist() for image in evaluate(model, config).images]
        assert json.loads((tmp_path / method / "metrics.json").read_text())["method"] == method
    assert boxes["ts-cam"] != boxes["attention"]
    assert all(box == of_picture[0] for of_picture in boxes["attention"] for box in of_picture)


def test_no_threads_are_one_thread(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    config = EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", workers=0)
    assert len(evaluate(tiny_model(tmp_path / "model"), config).images) == 6


@pytest.fixture(params=["no boxes", "a picture without a box", "a broken picture", "other classes", "no such split"])
def unfit(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A data set that cannot be evaluated, and what is said of it."""
    data = tmp_path / "data"
    write_folder(data, splits={"test": 2}, boxes=None if request.param == "no boxes" else "csv")
    if request.param == "a picture without a box":
        write_folder(data, splits={"test": 3}, boxes=None)
        return data, r"3 of 9 pictures have no box, the first is 'test/cat/cat_0_2\.png'"
    if request.param == "a broken picture":
        (data / "test" / "dog" / "dog_0_1.png").write_bytes(b"\x89PNG")
        return data, r"1 of 6 pictures of the split 'test' cannot be read: 'test/dog/dog_0_1\.png'"
    if request.param == "other classes":
        (data / "test" / "emu").rename(data / "test" / "fox")
        (data / "boxes.csv").write_text((data / "boxes.csv").read_text().replace("test/emu/", "test/fox/"))
        return data, "class 2 is 'fox', the model's is 'emu'"
    if request.param == "no such split":
        (data / "test").rename(data / "train")
        return data, "no test split; it holds train, expected test or val or all"
    return data, "no boxes for split 'test'"


def test_unfit_data_are_refused_before_anything_is_written(unfit: tuple[Path, str], tmp_path: Path) -> None:
    data, said = unfit
    model = tiny_model(tmp_path / "model")
    with pytest.raises(DataError, match=said) as refused:
        evaluate(model, EvaluateConfig(data=data, out=tmp_path / "out"))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_and_kept_unless_it_may_be_overwritten(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    model = tiny_model(tmp_path / "model")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not empty; choose another one, or empty it with --overwrite"):
        evaluate(model, EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    found = evaluate(model, EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", overwrite=True))
    assert sum(found.result.errors.values()) == 6
    assert not (tmp_path / "out" / "thesis.txt").exists()


def test_bad_data_do_not_empty_a_folder_that_may_be_overwritten(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", boxes=None)
    model = tiny_model(tmp_path / "model")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.json").write_text("{}")
    with pytest.raises(DataError, match="no boxes"):
        evaluate(model, EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", overwrite=True))
    assert (tmp_path / "out" / "metrics.json").read_text() == "{}"
