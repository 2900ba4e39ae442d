"""Predictor + data set → scores under the protocol `ts-cam`, and the files of `tscam evaluate`."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from tscam.boxes import localization_map
from tscam.checkpoint import load_model
from tscam.config import EvaluateConfig
from tscam.datasets import Dataset, read_dataset, require_usable
from tscam.errors import DataError
from tscam.geometry import View
from tscam.image import preprocess, read_image
from tscam.loading import Progress, batches, read_ahead
from tscam.metrics import ts_cam
from tscam.metrics.ts_cam import ImageScore, TsCamResult
from tscam.predictor import Prediction, Predictor
from tscam.processes import ALONE, Processes
from tscam.torch_predictor import TorchPredictor
from tscam.writing import claim_output, write_json, write_text_atomically

Judged = TypeVar("Judged")


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredImage:
    """One picture of a data set, what the model said of it, and how that was judged.

    Attributes:
        image: its id.
        label: its class.
        top_classes: the most likely ones, at most five, best first.
        top_boxes: the box of each one's own map, in view pixels.
        label_box: the box of the label's map, in view pixels.
        score: the judgement.
    """

    image: str
    label: int
    top_classes: Int[np.ndarray, " k"]
    top_boxes: Float[np.ndarray, "k 4"]
    label_box: Float[np.ndarray, " 4"]
    score: ImageScore

    def to_json(self) -> str:
        """One line of `per_image.jsonl`."""
        fields = {
            "image": self.image,
            "label": self.label,
            "top_classes": self.top_classes.tolist(),
            "top_boxes": self.top_boxes.tolist(),
            "label_box": self.label_box.tolist(),
            "iou": self.score.iou,
            "outcome": self.score.outcome.value,
        }
        return json.dumps(fields)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What `evaluate` found and where it wrote it."""

    result: TsCamResult
    threshold: float
    images: list[ScoredImage]
    out: Path

    def describe(self) -> str:
        """The numbers as lines of text, with the protocol that they hold under."""
        result = self.result
        top = f"top-{min(ts_cam.TOP_K, len(self.images[0].top_classes))}"  # with fewer than five classes all of them
        scores = {"top-1 cls": result.top1_cls, f"{top} cls": result.top5_cls, "top-1 loc": result.top1_loc,
                  f"{top} loc": result.top5_loc, "GT-known loc": result.gt_known_loc}  # fmt: skip
        lines = [f"protocol {ts_cam.PROTOCOL}, threshold {self.threshold:g}, {result.images} pictures"]
        lines += [f"{name:>14} {score:6.2f} %" for name, score in scores.items()]
        lines += [f"{name:>14} {count:6d}" for name, count in result.errors.items()]
        return "\n".join(lines)


def evaluate(model: Path, config: EvaluateConfig, *, on_progress: Progress | None = None) -> Evaluation:
    """Scores a model on a data set and writes `metrics.json` and `per_image.jsonl`.

    Raises:
        TscamError: model, data or place are not fit; nothing is written then.
    """
    dataset = read_dataset(config.data, name=config.dataset, split=config.split)
    require_boxes(dataset)
    predictor = TorchPredictor(
        load_model(model, method=config.method, method_args=config.method_args),
        device=config.device,
        precision=config.precision,
    )
    require_same_classes(predictor, dataset)
    require_usable(dataset, workers=max(config.workers, 1))
    out = claim_output(config.out, overwrite=config.overwrite, inputs=(config.data, model))
    return evaluate_to(
        out, predictor, dataset, threshold=config.threshold, model=model, batch_size=config.batch_size,
        workers=config.workers, on_progress=on_progress,
    )  # fmt: skip


def evaluate_to(
    out: Path,
    predictor: TorchPredictor,
    dataset: Dataset,
    *,
    threshold: float | None = None,
    model: Path,
    batch_size: int,
    workers: int,
    processes: Processes = ALONE,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Scores a model that fits a data set with boxes; the first process writes the files into `out`.

    Args:
        threshold: the model's own when not given.
        model: where it was read from, for the files.

    Raises:
        TscamError: a picture cannot be read, or the disk refuses.
    """
    level = predictor.threshold if threshold is None else threshold
    images = score_dataset(
        predictor, dataset, threshold=level, batch_size=batch_size, workers=workers, processes=processes,
        on_progress=on_progress,
    )  # fmt: skip
    result = ts_cam.summarize(image.score for image in images)
    summary = {
        "protocol": ts_cam.PROTOCOL,
        **asdict(result),
        "threshold": level,
        "model": str(model),
        "method": predictor.model.spec.method,
        "method_args": dict(predictor.model.spec.method_args),
        "dataset": dataset.name,
        "split": dataset.split,
        "view": list(predictor.input_format.size_wh),
    }
    if processes.is_main:
        write_text_atomically(out / "per_image.jsonl", "".join(image.to_json() + "\n" for image in images))
        write_json(out / "metrics.json", summary, indent=2)
    return Evaluation(result=result, threshold=level, images=images, out=out)


def score_dataset(
    predictor: Predictor,
    dataset: Dataset,
    *,
    threshold: float,
    batch_size: int,
    workers: int,
    processes: Processes = ALONE,
    on_progress: Progress | None = None,
) -> list[ScoredImage]:
    """Every picture of a data set with boxes, judged, in the data set's order; the same list in every process.

    Raises:
        ImageError: a picture cannot be read.
    """

    def judged(index: int, view: View, prediction: Prediction) -> ScoredImage:
        return _judged(dataset, index, view, prediction, threshold=threshold)

    return each_prediction(
        predictor, dataset, judged, top_k=ts_cam.TOP_K, batch_size=batch_size, workers=workers, processes=processes,
        on_progress=on_progress,
    )  # fmt: skip


def each_prediction(
    predictor: Predictor,
    dataset: Dataset,
    judge: Callable[[int, View, Prediction], Judged],
    *,
    top_k: int,
    batch_size: int,
    workers: int,
    processes: Processes = ALONE,
    on_progress: Progress | None = None,
) -> list[Judged]:
    """What `judge` makes of the prediction of each picture, in the data set's order; the same list in every process.

    Processes take whole batches in turn, so that each picture is predicted among the same others, and to the same bits,
    whatever their number.

    Args:
        judge: takes a picture's index, its view and its prediction, whose last map is the label's.
        top_k: most likely classes that have a map, beside the label.

    Raises:
        ImageError: a picture cannot be read.
    """
    starts = range(processes.rank * batch_size, len(dataset), processes.count * batch_size)
    mine = [index for start in starts for index in range(start, min(start + batch_size, len(dataset)))]

    def load(index: int) -> tuple[int, Float[np.ndarray, "3 H W"], View]:
        pixels, view = preprocess(read_image(dataset.path(index)), to=predictor.input_format)
        return index, pixels, view

    judged: list[tuple[int, Judged]] = []
    loaded = read_ahead(mine, load, workers=max(workers, 1), depth=2 * batch_size)
    with closing(loaded):
        for batch in batches(loaded, batch_size):
            indices, pixels, views = zip(*batch, strict=True)
            found = predictor.predict(np.stack(pixels), top_k=top_k, labels=dataset.labels[list(indices)])
            for index, view, prediction in zip(indices, views, found, strict=True):
                judged.append((index, judge(index, view, prediction)))
                if on_progress is not None:
                    on_progress(min(len(judged) * processes.count, len(dataset)), len(dataset))
    of_all = sorted(processes.gather(judged), key=lambda item: item[0])
    if [index for index, _ in of_all] != list(range(len(dataset))):
        raise RuntimeError(f"{len(of_all)} results for {len(dataset)} pictures: each must count once")
    return [result for _, result in of_all]


def require_boxes(dataset: Dataset) -> None:
    """Refuses a data set that cannot be scored.

    Raises:
        DataError: no boxes at all, or a picture without any (named).
    """
    if dataset.boxes is None:
        raise DataError(f"{dataset.root}: no boxes for split {dataset.split!r}; evaluation compares with boxes")
    without = [name for name, boxes in zip(dataset.image_ids, dataset.boxes, strict=True) if not len(boxes)]
    if without:
        raise DataError(
            f"{dataset.root}: {len(without)} of {len(dataset)} pictures have no box, the first is {without[0]!r}; "
            "evaluation needs one for every picture"
        )


def require_same_classes(predictor: Predictor, dataset: Dataset) -> None:
    """Refuses a data set of other classes than the model's; a model whose classes are mere numbers fits by count.

    Raises:
        DataError: says what differs first.
    """
    ours, theirs = predictor.label_names, dataset.class_names
    if len(ours) != len(theirs):
        raise DataError(
            f"{dataset.root}: {len(theirs)} classes, the model has {len(ours)}; give the data it was made for"
        )
    named = any(name != str(number) for number, name in enumerate(ours))
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if named and our != their:
            raise DataError(
                f"{dataset.root}: class {number} is {their!r}, the model's is {our!r}; give the data it was made for"
            )


def _judged(dataset: Dataset, index: int, view: View, prediction: Prediction, *, threshold: float) -> ScoredImage:
    assert dataset.boxes is not None
    label = int(dataset.labels[index])
    boxes = np.stack(
        [
            ts_cam.predicted_box(localization_map(raw, size_wh=view.view_wh), threshold=threshold)
            for raw in prediction.maps
        ]
    )
    truths = ts_cam.ground_truth_in_view(dataset.boxes[index], view=view, rule=dataset.box_rule)
    top_classes, top_boxes, label_box = prediction.classes[:-1], boxes[:-1], boxes[-1]
    return ScoredImage(
        image=dataset.image_ids[index],
        label=label,
        top_classes=top_classes,
        top_boxes=top_boxes,
        label_box=label_box,
        score=ts_cam.score_image(
            label=label, top_classes=top_classes, top_boxes=top_boxes, label_box=label_box, truths=truths
        ),
    )
