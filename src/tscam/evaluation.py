"""Predictor + data set → scores under the protocol `ts-cam`, and the files of `tscam evaluate`."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

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
from tscam.torch_predictor import TorchPredictor
from tscam.writing import claim_output, write_json, write_text_atomically


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
        load_model(model, method=config.method), device=config.device, precision=config.precision
    )
    require_same_classes(predictor, dataset)
    require_usable(dataset, workers=max(config.workers, 1))
    out = claim_output(config.out, overwrite=config.overwrite, inputs=(config.data, model))
    threshold = dataset.threshold if config.threshold is None else config.threshold
    images = list(
        score_dataset(
            predictor, dataset, threshold=threshold, batch_size=config.batch_size, workers=config.workers,
            on_progress=on_progress,
        )
    )  # fmt: skip
    result = ts_cam.summarize(image.score for image in images)
    write_text_atomically(out / "per_image.jsonl", "".join(image.to_json() + "\n" for image in images))
    summary = {
        "protocol": ts_cam.PROTOCOL,
        **asdict(result),
        "threshold": threshold,
        "model": str(model),
        "method": predictor.model.spec.method,
        "dataset": dataset.name,
        "split": dataset.split,
        "view": list(predictor.input_format.size_wh),
    }
    write_json(out / "metrics.json", summary, indent=2)
    return Evaluation(result=result, threshold=threshold, images=images, out=out)


def score_dataset(
    predictor: Predictor,
    dataset: Dataset,
    *,
    threshold: float,
    batch_size: int,
    workers: int,
    on_progress: Progress | None = None,
) -> Iterator[ScoredImage]:
    """Every picture of a data set with boxes, judged, in the data set's order.

    Raises:
        ImageError: a picture cannot be read.
    """
    for index, view, prediction in _predictions(
        predictor, dataset, top_k=ts_cam.TOP_K, batch_size=batch_size, workers=workers
    ):
        yield _judged(dataset, index, view, prediction, threshold=threshold)
        if on_progress is not None:
            on_progress(index + 1, len(dataset))


def top1_cls(predictor: Predictor, dataset: Dataset, *, batch_size: int, workers: int) -> float:
    """Percent of the pictures whose most likely class is their label; needs no boxes."""
    found = _predictions(predictor, dataset, top_k=1, batch_size=batch_size, workers=workers)
    right = sum(int(prediction.classes[0]) == int(dataset.labels[index]) for index, _, prediction in found)
    return 100.0 * right / len(dataset)


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


def _predictions(
    predictor: Predictor, dataset: Dataset, *, top_k: int, batch_size: int, workers: int
) -> Iterator[tuple[int, View, Prediction]]:
    def load(index: int) -> tuple[int, Float[np.ndarray, "3 H W"], View]:
        pixels, view = preprocess(read_image(dataset.path(index)), to=predictor.input_format)
        return index, pixels, view

    loaded = read_ahead(range(len(dataset)), load, workers=max(workers, 1), depth=2 * batch_size)
    for batch in batches(loaded, batch_size):
        indices, pixels, views = zip(*batch, strict=True)
        found = predictor.predict(np.stack(pixels), top_k=top_k, labels=dataset.labels[list(indices)])
        yield from zip(indices, views, found, strict=True)


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
