"""All boxes, outcomes, ground truths and learning rates equal those of the official implementation."""

import numpy as np
import pytest

from figures import arrays, table
from tscam.boxes import boxes_above, localization_map
from tscam.geometry import View
from tscam.metrics.columns import columns_of
from tscam.metrics.levels import judge_levels, level_map
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.protocol import TS_CAM
from tscam.metrics.ts_cam import OUTCOMES, Outcome, ground_truth_in_view
from tscam.training.schedule import ScheduleSettings, learning_rate_factor


def test_all_400_maps_give_the_official_box() -> None:
    figures = arrays("map_to_box.npz")
    for map_, (grid, size, threshold, *box) in zip(figures["maps"], figures["rows"], strict=True):
        raw = map_[: int(grid), : int(grid)]
        map_ = localization_map(raw, size_wh=(int(size), int(size)))
        boxes = boxes_above(map_, threshold=float(threshold))
        assert (boxes[0].tolist() if len(boxes) else list(TS_CAM.no_box)) == box
        judged = judge_levels(level_map(map_), np.array([[0, 0, 9, 9]]), TS_CAM)  # any truth: only the box is compared
        assert judged.boxes[judged.levels(np.array([float(threshold)]))[0]].tolist() == box


@pytest.mark.parametrize("threshold", ["0.1", "0.3", "0.5"])
def test_all_eleven_outcomes_of_160_images_are_the_official_ones(threshold: str) -> None:
    figures, tables = arrays("localization_metrics.npz"), table("localization_metrics.json")
    size, expected = tables["crop_size"], tables["per_threshold"][threshold]
    pictures = []
    for index, (maps, label, logits) in enumerate(
        zip(figures["cams"], figures["labels"], figures["logits"], strict=True)
    ):
        map_ = localization_map(maps[int(label)], size_wh=(size, size))
        pictures.append(
            JudgedPicture(
                image=str(index), label=int(label), top_classes=tuple(np.argsort(-logits, kind="stable")[:5].tolist()),
                picture_wh=(size, size), truths=np.array(tables["boxes"][index], dtype=float),
                boxes={"ts-cam": judge_levels(level_map(map_), np.array(tables["boxes"][index]), TS_CAM)},
                pixels={}, map_levels={}, small_map=np.zeros((1, 1), dtype=np.uint8),
            )
        )  # fmt: skip
    columns = columns_of(pictures, TS_CAM, thresholds={"gt_known_loc": float(threshold)})
    names = {"cls_top1": "top1_cls", "cls_top5": "top5_cls", "loc_top1": "top1_loc", "loc_top5": "top5_loc",
             "gt_known": "gt_known_loc"}  # fmt: skip
    for theirs, ours in names.items():
        assert columns.measures[ours].astype(bool).tolist() == [bool(hit) for hit in expected[theirs]], ours
    assert columns.outcomes is not None
    for outcome in Outcome:
        hits = (columns.outcomes == OUTCOMES.index(outcome)).tolist()
        assert hits == [bool(hit) for hit in expected[outcome.value]], outcome
    assert columns.errors() == {outcome.value: int(sum(expected[outcome.value])) for outcome in Outcome}


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
    epochs = figures["epochs"]
    settings = ScheduleSettings(steps=tuple(figures["steps"]), epochs=epochs)
    for done in (0.0, 0.7):  # The original's rate is constant in an epoch.
        factors = [learning_rate_factor(settings, epoch, done=done) for epoch in range(1, epochs + 1)]
        assert factors == figures["factor_per_epoch"]
