"""Boxes, outcomes, ground truths and learning rates equal the official implementation's, to the last one."""

import numpy as np
import pytest

from reference.figures import arrays, table
from tscam.boxes import localization_map
from tscam.geometry import View
from tscam.metrics.ts_cam import Outcome, ground_truth_in_view, predicted_box, score_image, summarize
from tscam.training.schedule import learning_rate_factor


def test_all_400_maps_give_the_official_box() -> None:
    figures = arrays("map_to_box.npz")
    for map_, (grid, size, threshold, *box) in zip(figures["maps"], figures["rows"], strict=True):
        raw = map_[: int(grid), : int(grid)]
        shown = localization_map(raw, size_wh=(int(size), int(size)))
        assert predicted_box(shown, threshold=float(threshold)).tolist() == box


@pytest.mark.parametrize("threshold", ["0.1", "0.3", "0.5"])
def test_all_eleven_outcomes_of_160_images_are_the_official_ones(threshold: str) -> None:
    figures, tables = arrays("localization_metrics.npz"), table("localization_metrics.json")
    size, expected = tables["crop_size"], tables["per_threshold"][threshold]
    scores = []
    for index, (maps, label, logits) in enumerate(
        zip(figures["cams"], figures["labels"], figures["logits"], strict=True)
    ):
        boxes = np.stack(
            [predicted_box(localization_map(map_, size_wh=(size, size)), threshold=float(threshold)) for map_ in maps]
        )
        top = np.argsort(-logits, kind="stable")[:5]
        score = score_image(
            label=int(label), top_classes=top, top_boxes=boxes[top], label_box=boxes[int(label)],
            truths=np.array(tables["boxes"][index]),
        )  # fmt: skip
        scores.append(score)
        assert {
            "cls_top1": score.top1_cls, "cls_top5": score.top5_cls, "loc_top1": score.top1_loc,
            "loc_top5": score.top5_loc, "gt_known": score.gt_known_loc,
            **{outcome.value: score.outcome is outcome for outcome in Outcome},
        } == {name: bool(outcomes[index]) for name, outcomes in expected.items()}  # fmt: skip
    result = summarize(scores)
    assert result.gt_known_loc == pytest.approx(100 * np.mean(expected["gt_known"]), abs=1e-12)
    assert result.top1_loc == pytest.approx(100 * np.mean(expected["loc_top1"]), abs=1e-12)
    assert result.errors == {outcome.value: int(sum(expected[outcome.value])) for outcome in Outcome}


def test_all_200_ground_truths_are_the_official_ones_by_both_rules() -> None:
    rows = table("ground_truth_boxes.json")
    assert len(rows) == 200
    for row in rows:
        view = View(tuple(row["image_size"]), (row["crop_size"], row["crop_size"]))
        x, y, width, height = row["cub_xywh"]
        cub = ground_truth_in_view(np.array([[x, y, x + width, y + height]]), view=view, rule="cub")
        ilsvrc = ground_truth_in_view(np.array([row["ilsvrc_xyxy"]]), view=view, rule="ilsvrc")
        assert (cub[0].tolist(), ilsvrc[0].tolist()) == (row["cub_box"], row["ilsvrc_box"])


@pytest.mark.parametrize("run", ["cub", "ilsvrc", "other"])
def test_the_learning_rate_falls_as_in_the_official_runs(run: str) -> None:
    figures = table("learning_rate.json")[run]
    steps, epochs = figures["steps"], figures["epochs"]
    for done in (0.0, 0.7):  # The original's rate is one throughout an epoch.
        factors = [learning_rate_factor(epoch, done=done, steps=steps, epochs=epochs) for epoch in range(1, epochs + 1)]
        assert factors == figures["factor_per_epoch"]
