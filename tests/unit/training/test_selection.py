"""The chosen epoch and threshold are the best by the scores of evaluation, tried one by one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_sets import write_folder, write_imagenet
from scoring import Scored, score
from tiny_models import tiny_model
from tiny_runs import rows, saved_facts, settings, splits_of
from tscam.checkpoints.loader import load_model
from tscam.config import TrainConfig
from tscam.datasets import Dataset, read_dataset
from tscam.evaluation.map_sources import MappedSplit, PredictedMaps
from tscam.predictors.pytorch import PyTorchPredictor
from tscam.system.processes import ALONE
from tscam.training.run.progress import EpochRow
from tscam.training.selection import THRESHOLDS, score_epoch
from tscam.verbs.train import train

ROW = EpochRow(epoch=3, train_loss=0.5, learning_rate=1e-3)


def predictor_of(model: Path) -> PyTorchPredictor:
    return PyTorchPredictor(load_model(model), device="cpu")


def scored(
    model: Path, dataset: Dataset, *, choose_threshold: bool, batch_size: int = 4
) -> tuple[EpochRow, list[tuple[int, int]]]:
    """The row, and the reported progress."""
    progress: list[tuple[int, int]] = []
    maps = PredictedMaps(predictor=predictor_of(model), batch_size=batch_size, workers=2)
    row = score_epoch(
        ROW, MappedSplit(dataset=dataset, maps=maps), choose_threshold=choose_threshold, processes=ALONE,
        on_picture=lambda *counts: progress.append(counts),
    )  # fmt: skip
    return row, progress


def evaluated(predictor: PyTorchPredictor, dataset: Dataset, *, threshold: float) -> Scored:
    """The scores of evaluation."""
    return score(predictor, dataset, threshold=threshold)


def best_threshold(predictor: PyTorchPredictor, dataset: Dataset) -> tuple[float, list[float]]:
    """The threshold of best GT-known Loc, of equal ones the nearest to the dataset's; and the score of each."""
    scores = [evaluated(predictor, dataset, threshold=threshold).percent("gt_known_loc") for threshold in THRESHOLDS]
    best = [threshold for threshold, score in zip(THRESHOLDS, scores, strict=True) if score == max(scores)]
    return min(best, key=lambda threshold: abs(threshold - dataset.threshold)), scores


@pytest.mark.parametrize("layout", ["folder", "imagenet"])
def test_the_threshold_is_the_best_candidate_and_its_scores_are_those_of_evaluation(
    tmp_path: Path, layout: str
) -> None:
    if layout == "folder":
        write_folder(tmp_path / "data", splits={"train": 1, "test": 4})
    else:
        write_imagenet(tmp_path / "data", train=1, val=4)
    dataset = read_dataset(tmp_path / "data")
    model = tiny_model(tmp_path / "model", label_names=dataset.class_names)
    row, progress = scored(model, dataset, choose_threshold=True)
    threshold, scores = best_threshold(predictor_of(model), dataset)
    assert len({*scores}) > 2  # Otherwise the choice would prove little.
    assert (row.threshold, row.gt_known_loc) == (threshold, max(scores))
    result = evaluated(predictor_of(model), dataset, threshold=threshold)
    assert row == replace(
        ROW, split=dataset.split, top1_cls=result.percent("top1_cls"),
        top1_loc=result.percent("top1_loc"), gt_known_loc=result.percent("gt_known_loc"), threshold=threshold,
    )  # fmt: skip
    assert progress == [(done, 12) for done in range(1, 13)]
    assert row.measure == "gt_known_loc"
    assert row.quality == max(scores)


def test_of_equally_good_thresholds_the_published_one_is_chosen(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", class_names=("cat",))
    (tmp_path / "data" / "boxes.csv").write_text("image,x0,y0,x1,y1\ncat/cat_0_0.png,0,0,1,1\ncat/cat_0_1.png,0,0,1,1")
    model = tiny_model(tmp_path / "model", label_names=("cat",))
    for published in (0.1, 0.12, 0.3):
        dataset = replace(read_dataset(tmp_path / "data"), threshold=published)
        row, _ = scored(model, dataset, choose_threshold=True)
        assert (row.gt_known_loc, row.threshold) == (0, published)


def test_unless_it_is_chosen_the_threshold_is_that_of_the_dataset(tmp_path: Path) -> None:
    write_imagenet(tmp_path / "data", train=1, val=4)
    dataset = read_dataset(tmp_path / "data")
    model = tiny_model(tmp_path / "model", label_names=dataset.class_names)
    row, _ = scored(model, dataset, choose_threshold=False)
    result = evaluated(predictor_of(model), dataset, threshold=0.12)
    assert row.threshold == 0.12
    for name in ("top1_cls", "top1_loc", "gt_known_loc"):
        assert getattr(row, name) == result.percent(name)


@pytest.mark.parametrize("choose_threshold", [True, False])
def test_without_boxes_only_accuracy_is_scored(tmp_path: Path, choose_threshold: bool) -> None:
    write_folder(tmp_path / "data", splits={"test": 5})
    model = tiny_model(tmp_path / "model")
    accuracy = evaluated(predictor_of(model), read_dataset(tmp_path / "data"), threshold=0.1).percent("top1_cls")
    lines = (tmp_path / "data" / "boxes.csv").read_text().splitlines()
    for left in (lines[:1], None):  # A file of boxes without any, or no such file.
        (tmp_path / "data" / "boxes.csv").unlink(missing_ok=True)
        if left:
            (tmp_path / "data" / "boxes.csv").write_text("\n".join(left))
        for batch_size in (4, 100):
            row, _ = scored(
                model, read_dataset(tmp_path / "data"), choose_threshold=choose_threshold, batch_size=batch_size
            )
            assert row == replace(ROW, split="test", top1_cls=accuracy)
            assert (row.measure, row.quality) == ("top1_cls", accuracy)


def test_localization_is_scored_on_the_pictures_with_an_object(tmp_path: Path) -> None:
    write_imagenet(tmp_path / "data", train=1, val=4)
    dataset = read_dataset(tmp_path / "data")
    assert dataset.boxes is not None
    model = tiny_model(tmp_path / "model", label_names=dataset.class_names)
    some = replace(dataset, boxes=(*dataset.boxes[:7], *[np.empty((0, 4))] * 5))
    row, _ = scored(model, some, choose_threshold=False)
    predictor = predictor_of(model)
    assert row.top1_cls == evaluated(predictor, dataset, threshold=0.12).percent("top1_cls")
    result = evaluated(predictor, dataset.subset(range(7), split="val"), threshold=0.12)
    assert (row.gt_known_loc, row.top1_loc) == (result.percent("gt_known_loc"), result.percent("top1_loc"))


# In a run


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    write_folder(tmp_path / "data", splits={"train": 6, "test": 2})
    return settings(tmp_path / "data", tmp_path / "run", select="val", val_fraction=0.5, epochs=3, learning_rate=3e-3)


def test_the_threshold_of_an_epoch_is_saved_with_its_weights(config: TrainConfig) -> None:
    run = train(config)
    held_out = splits_of(config).choosing
    assert held_out is not None
    epochs = rows(run)
    best = max(epochs, key=lambda row: float(row["gt_known_loc"]))  # The first of equal ones.
    threshold, scores = best_threshold(predictor_of(run), held_out)
    assert (float(best["threshold"]), float(best["gt_known_loc"])) == (threshold, max(scores))
    for which, row in (("best", best), ("last", epochs[-1])):
        folder = run / "weights" / which
        again, _ = scored(folder, held_out, choose_threshold=True, batch_size=5)
        threshold = float(row["threshold"])
        assert saved_facts(run, which)["threshold"] == load_model(folder).spec.threshold == again.threshold == threshold
        assert again.gt_known_loc == float(row["gt_known_loc"])
        metrics = saved_facts(run, which)["metrics"]
        assert metrics["selection"] == "val (epoch of best gt_known_loc on 9 pictures held out of 'train')"
        assert (str(metrics["epoch"]), metrics["threshold"], metrics["split"]) == (row["epoch"], threshold, "val")
    tested = json.loads((run / "test" / "metrics.json").read_text())["protocols"]["ts-cam"]
    assert tested["threshold"]["values"]["gt_known_loc"] == saved_facts(run, "best")["threshold"]


def test_a_test_split_without_boxes_gives_the_accuracy_of_the_chosen_weights(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"train": 4, "test": 3}, boxes=None)
    run = train(settings(tmp_path / "data", tmp_path / "run", select="val", val_fraction=0.3))
    test = read_dataset(tmp_path / "data")
    row, _ = scored(run, test, choose_threshold=False)
    tested = json.loads((run / "test" / "metrics.json").read_text())
    wanted = {"split": "test", "pictures": 9, "top1_cls": row.top1_cls, "model": str(run / "weights" / "best")}
    assert {name: tested[name] for name in wanted} == wanted
    assert "protocols" not in tested
    assert saved_facts(run, "best")["threshold"] == 0.1


def test_without_a_test_split_nothing_is_tested(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"": 4})
    run = train(settings(tmp_path / "data", tmp_path / "run", select="val", val_fraction=0.3))
    assert not (run / "test").exists()
    assert {row["split"] for row in rows(run)} == {"val"}
