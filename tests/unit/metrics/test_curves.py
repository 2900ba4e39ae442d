"""Curves, columns and summaries: each number of a protocol, computed from pictures with known IoUs."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from judged_pictures import box_protocol, picture, pixel_protocol, scores
from tscam.errors import DataError
from tscam.metrics.columns import columns_of
from tscam.metrics.curves import curve_of, levels_of
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.pixels import PixelScores, judge_pixels, px_ap
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.metrics.statistics import resamples
from tscam.metrics.summary import ProtocolResult, summarize
from tscam.metrics.threshold import Threshold, ThresholdPolicy, threshold_policy
from tscam.metrics.ts_cam import OUTCOMES, Outcome

TS_CAM, V1, V2 = box_protocol("ts-cam"), box_protocol("max-box-acc"), box_protocol("max-box-acc-v2")
REALISTIC, PX_AP = box_protocol("realistic"), pixel_protocol()

R, W, P = Outcome.RIGHT, Outcome.WRONG, Outcome.PART


def steps(*spans: tuple[int, int, float]) -> list[float]:
    """Return the IoUs of 256 levels: zero outside the half-open spans of levels."""
    iou = [0.0] * 256
    for low, high, value in spans:
        iou[low:high] = [value] * (high - low)
    return iou


def summary(
    pictures: Sequence[JudgedPicture],
    protocol: BoxProtocol | PixelProtocol,
    *,
    policy: float | str = "oracle",
    value: float | None = None,
    published: float = 0.1,
    class_names: tuple[str, ...] = ("ant", "bee", "cat"),
) -> ProtocolResult:
    threshold_by = ThresholdPolicy(name="best") if protocol.threshold == "best" else threshold_policy(policy)
    threshold = Threshold(policy=threshold_by, value=value, explained="by hand")
    return summarize(pictures, protocol, threshold, published=published, class_names=class_names)


@pytest.mark.parametrize("highest", [255, 203, 77, 1, 0])
def test_each_threshold_reads_the_level_that_it_cuts_at(highest: int) -> None:
    one = picture({"max-box-acc": scores(np.arange(256) / 256, highest=highest)})  # type: ignore[arg-type]
    thresholds = V1.thresholds
    assert levels_of(one, V1, thresholds).tolist() == [int(threshold * highest) for threshold in thresholds]
    curve = curve_of([one], V1)
    assert curve.hits["max_box_acc"].tolist() == [int(threshold * highest) >= 128 for threshold in thresholds]


def test_max_box_acc_v2_is_the_mean_of_the_best_score_at_each_iou() -> None:
    pictures = [
        picture({"max-box-acc-v2": scores(steps((0, 60, 0.35), (60, 100, 0.6)))}),
        picture({"max-box-acc-v2": scores(steps((40, 110, 0.3), (200, 256, 0.7)))}),
        picture({"max-box-acc-v2": scores(steps((205, 230, 0.9)))}),
    ]
    result = summary(pictures, V2, published=0.1)
    # At 0.3: two of the three between levels 40 and 100. At 0.5 and at 0.7: two from 205 to 230.
    values = {name: score.value for name, score in result.scores.items()}
    assert values == pytest.approx(
        {"max_box_acc_v2": 200 / 3, "max_box_acc_30": 200 / 3, "max_box_acc_50": 200 / 3, "max_box_acc_70": 200 / 3}
    )
    levels = {name: int(255 * tau) for name, tau in result.threshold_values.items()}
    assert 40 <= levels["max_box_acc_30"] < 100
    assert levels["max_box_acc_50"] == levels["max_box_acc_70"] == 205  # the nearest to 0.1
    assert result.threshold.policy.label == "best"
    alone = summary(pictures[:1], V2)
    assert alone.scores["max_box_acc_v2"].value == pytest.approx(200 / 3)
    # A picture's value is the fraction of its three hits, each at the best threshold of that IoU.
    assert result.columns.measures["max_box_acc_v2"].tolist() == pytest.approx([1 / 3, 1, 2 / 3])


@pytest.mark.parametrize("name", ["max-box-acc", "max-box-acc-v2"])
def test_max_box_acc_ignores_a_given_threshold_and_takes_the_best(name: str) -> None:
    pictures = [picture({name: scores(steps((100, 120, 0.8)))}, map_levels={name: 3})]
    result = summary(pictures, box_protocol(name), value=0.9)
    assert all(100 <= int(255 * tau) < 120 for tau in result.threshold_values.values())
    assert next(iter(result.scores.values())).value == 100


def test_an_iou_of_exactly_a_half_is_gt_known_and_not_top_k() -> None:
    def judged(iou: float) -> JudgedPicture:
        by_protocol = {name: scores(iou, outcome=W if name == "ts-cam" else None) for name in ("ts-cam", "realistic")}
        return picture(by_protocol, top_classes=(0, 2))

    exact, above, below = judged(0.5), judged(np.nextafter(np.float32(0.5), np.float32(1)).item()), judged(0.4999999)
    for protocol, exact_hit in ((TS_CAM, 0.0), (REALISTIC, 1.0)):
        columns = columns_of([exact, above, below], protocol, thresholds={"gt_known_loc": 0.3})
        assert columns.measures["gt_known_loc"].tolist() == [1, 1, 0]
        assert columns.measures["top1_loc"].tolist() == [exact_hit, 1, 0]
        assert columns.measures["top5_loc"].tolist() == [exact_hit, 1, 0]


@pytest.mark.parametrize(("part", "whole"), [(7, 10), (21, 30), (35119, 50170)])
def test_an_iou_of_exactly_seven_tenths_is_right_and_one_pixel_less_is_not(part: int, whole: int) -> None:
    exact, below = (picture({"max-box-acc-v2": scores(count / whole)}) for count in (part, part - 1))
    assert part * 10 == whole * 7
    assert curve_of([exact], V2).hits["max_box_acc_70"].all()
    assert not curve_of([below], V2).hits["max_box_acc_70"].any()


@pytest.mark.parametrize(("share", "percent"), [(0.3, "30"), (0.5, "50"), (0.7, "70")])
def test_every_ratio_of_whole_pixels_is_judged_in_float32_as_in_exact_arithmetic(share: float, percent: str) -> None:
    for whole in (50_176, 50_175, 49_999, 9_973):
        nearest = round(share * whole)
        for part in range(nearest - 2, nearest + 3):
            curve = curve_of([picture({"max-box-acc-v2": scores(part / whole)})], V2)
            assert curve.hits[f"max_box_acc_{percent}"][0] == (part / whole >= share), (part, whole)


def test_top_5_needs_the_class_among_the_five_and_top_1_at_their_head() -> None:
    def judged(*top: int) -> JudgedPicture:
        return picture({"ts-cam": scores(0.8, outcome=R)}, label=2, top_classes=top)

    columns = columns_of(
        [judged(2, 0, 1, 3, 4), judged(0, 1, 3, 4, 2), judged(0, 1, 3, 4, 5)], TS_CAM, thresholds={"gt_known_loc": 0.1}
    )
    assert {name: column.tolist() for name, column in columns.measures.items()} == {
        "top1_cls": [1, 0, 0], "top5_cls": [1, 1, 0], "gt_known_loc": [1, 1, 1], "top1_loc": [1, 0, 0],
        "top5_loc": [1, 1, 0],
    }  # fmt: skip
    assert [OUTCOMES[index] for index in columns.outcomes.tolist()] == ["right", "cls_wrong", "cls_wrong"]  # type: ignore[union-attr]
    assert columns.errors() == {"right": 1, "cls_wrong": 2, "multi_instance": 0, "part": 0, "more": 0, "wrong": 0}


def test_without_classes_the_box_alone_is_judged() -> None:
    columns = columns_of([picture({"ts-cam": scores(0.8, outcome=R)})], TS_CAM, thresholds={"gt_known_loc": 0.1})
    assert list(columns.measures) == ["gt_known_loc"]
    assert columns.errors() == {"right": 1, "cls_wrong": 0, "multi_instance": 0, "part": 0, "more": 0, "wrong": 0}


def test_iou_box_and_outcome_are_those_at_the_threshold() -> None:
    iou = [level / 300 for level in range(256)]
    outcomes = [R if value > 0.5 else P for value in iou]
    one = picture({"ts-cam": scores(iou, highest=200, outcome=outcomes)})
    for tau in (0.1, 0.55, 0.9):
        columns, level = columns_of([one], TS_CAM, thresholds={"gt_known_loc": tau}), int(tau * 200)
        assert columns.iou[0] == np.float32(iou[level])
        assert columns.boxes is not None
        assert columns.boxes[0].tolist() == [0, 0, level, 7]
        assert OUTCOMES[columns.outcomes[0]] == outcomes[level]  # type: ignore[index]


def test_a_threshold_per_map_reads_each_map_at_its_own_level() -> None:
    pictures = [
        picture({"ts-cam": scores(steps((90, 91, 0.7)), outcome=P)}, map_levels={"ts-cam": 90}),
        picture({"ts-cam": scores(steps((90, 91, 0.7)), outcome=P)}, map_levels={"ts-cam": 91}),
        picture({"ts-cam": scores(steps((255, 256, 0.9)), outcome=P)}, map_levels={"ts-cam": 255}),
    ]
    result = summary(pictures, TS_CAM, policy="otsu")
    assert result.columns.measures["gt_known_loc"].tolist() == [1, 0, 1]
    assert result.columns.boxes is not None
    assert result.columns.boxes[:, 2].tolist() == [90, 91, 255]
    assert result.threshold_values == {}
    assert result.describe().startswith("protocol ts-cam, threshold by hand, 3 pictures\n")


def test_scores_are_those_at_the_chosen_threshold_and_the_oracles_is_reported_too() -> None:
    pictures = [
        picture({"ts-cam": scores(steps((50, 150, 0.8)), outcome=[R if 50 <= n < 150 else W for n in range(256)])}),
        picture({"ts-cam": scores(steps((140, 200, 0.8)), outcome=[R if 140 <= n < 200 else P for n in range(256)])}),
        picture({"ts-cam": scores(0.1, outcome=P)}),
    ]
    result = summary(pictures, TS_CAM, policy="val", value=0.3)
    assert result.scores["gt_known_loc"].value == pytest.approx(100 / 3)
    assert result.threshold_values == {"gt_known_loc": 0.3}
    assert result.best_threshold == 0.55  # the nearest to 0.1 of those from 140 to 150
    errors = result.to_json()["errors"]
    assert errors == {"right": 1, "cls_wrong": 0, "multi_instance": 0, "part": 2, "more": 0, "wrong": 0}
    moved = result.to_json()["errors_moved"]
    assert isinstance(moved, dict)
    assert {(one, other): n for one, row in moved.items() for other, n in row.items() if n} == {
        ("right", "right"): 1,
        ("part", "right"): 1,
        ("part", "part"): 1,
    }


def test_the_oracle_is_the_best_of_the_curve_and_is_called_an_oracle() -> None:
    pictures = [picture({"realistic": scores(steps((start, start + 60, 0.8)))}) for start in (10, 40, 65, 180)]
    oracle = threshold_policy("oracle")
    threshold = Threshold(policy=oracle, explained=oracle.explained)
    result = summarize(pictures, REALISTIC, threshold, published=0.2, class_names=())
    assert result.scores["gt_known_loc"].value == 75 == result.curve.percent("gt_known_loc").max()
    assert int(result.threshold_values["gt_known_loc"] * 255) in range(65, 70)
    first_line = result.describe().splitlines()[0]
    assert first_line.startswith("protocol realistic, threshold 0.2")
    assert first_line.endswith(" (ORACLE: best on the scored pictures themselves), 4 pictures")


def test_the_curve_counts_each_outcome_at_each_threshold() -> None:
    outcomes = [P] * 100 + [R] * 50 + [W] * 106
    pictures = [
        picture({"ts-cam": scores(0.2, outcome=outcomes)}, top_classes=(0,)),
        picture({"ts-cam": scores(0.2, outcome=outcomes)}, top_classes=(1, 0)),
    ]
    curve = curve_of(pictures, TS_CAM)
    assert curve.outcomes is not None
    for index, threshold in enumerate(curve.thresholds):
        counts = dict(zip(OUTCOMES, curve.outcomes[index].tolist(), strict=True))
        assert counts.pop(Outcome.CLS_WRONG) == 1
        assert {name for name, count in counts.items() if count} == {outcomes[int(threshold * 255)]}


def test_a_measure_over_several_ious_is_the_fraction_of_hits() -> None:
    protocol = box_protocol("realistic", ious=(0.3, 0.5, 0.7))
    one = picture({"realistic": scores(0.6)}, top_classes=(0,))
    columns = columns_of([one], protocol, thresholds={"gt_known_loc": 0.2})
    assert columns.measures["gt_known_loc"].tolist() == pytest.approx([2 / 3])
    assert columns.measures["top1_loc"].tolist() == pytest.approx([2 / 3])


def test_pictures_are_grouped_by_size_count_and_class() -> None:
    boxes: list[list[tuple[int, int, int, int]]] = [
        [(0, 0, 10, 49)],  # 9.8 %
        [(0, 0, 10, 50)],  # 10 %
        [(0, 0, 30, 50), (1, 1, 3, 3)],  # 30 %, two objects
        [(0, 0, 50, 50)] * 3,  # 50 %, three objects
        [(0, 0, 99, 50)] * 5,
        [],
    ]
    pictures = [
        picture({"ts-cam": scores(0.2 * index, outcome=W)}, truths=truths, label=index % 2)
        for index, truths in enumerate(boxes)
    ]
    result = summary(pictures, TS_CAM, policy=0.1, value=0.1)
    assert [(group.name, group.pictures) for group in result.by_size] == [
        ("under 10 % of the picture", 1), ("10 to 30 %", 1), ("30 to 50 %", 1), ("over 50 %", 2),
    ]  # fmt: skip
    assert [group.scores["gt_known_loc"] for group in result.by_size] == [0, 0, 0, 100]
    assert [(group.name, group.pictures) for group in result.by_count] == [
        ("1 object", 2), ("2 objects", 1), ("3 or more", 2),
    ]  # fmt: skip
    assert [(group.name, group.pictures) for group in result.by_class] == [("ant", 3), ("bee", 3)]
    assert [group.scores["gt_known_loc"] for group in result.by_class] == pytest.approx([100 / 3, 50])


def test_the_histogram_of_ious_has_20_bins_and_every_picture() -> None:
    ious = [0.0, 0.01, 0.049, 0.051, 0.5, 0.999, 1.0]
    result = summary([picture({"ts-cam": scores(iou, outcome=W)}) for iou in ious], TS_CAM, policy=0.2, value=0.2)
    histogram = result.to_json()["iou_histogram"]
    assert histogram == [3, 1] + [0] * 8 + [1] + [0] * 8 + [2]


def test_every_number_is_printed_with_its_protocol_and_threshold() -> None:
    pictures = [picture({"ts-cam": scores(0.8, outcome=R)}, top_classes=(0,))] * 3
    lines = summary(pictures, TS_CAM, policy=0.2, value=0.2).describe().splitlines()
    assert lines[0] == "protocol ts-cam, threshold 0.2 (by hand), 3 pictures"
    names = ("top-1 cls", "top-5 cls", "GT-known loc", "top-1 loc", "top-5 loc")
    assert [line.strip() for line in lines[1:6]] == [f"{name} 100.00 %  [100.00, 100.00]" for name in names]
    assert lines[6].split() == ["right", "3"]


def pixels(map_: np.ndarray, foreground: np.ndarray) -> PixelScores:
    return judge_pixels(map_, foreground=foreground, ignored=np.zeros_like(foreground), protocol=PX_AP)


def random_pixels(seed: int) -> PixelScores:
    random = np.random.default_rng(seed)
    map_ = random.random((9, 11)).astype(np.float32)
    return pixels(map_ / map_.max(), random.random((9, 11)) < 0.2 + 0.1 * seed)


def test_px_ap_pools_all_pixels_and_its_interval_pools_those_of_each_sample() -> None:
    judged = [random_pixels(seed) for seed in range(4)]
    pictures = [picture(pixels={"pxap": pixel_scores}) for pixel_scores in judged]
    result = summary(pictures, PX_AP, policy=0.2, value=0.2)
    inside, outside = (np.stack([getattr(one, part) for one in judged]) for part in ("foreground", "background"))
    assert result.scores["px_ap"].value == pytest.approx(float(px_ap(inside.sum(axis=0), outside.sum(axis=0))))
    areas = [
        float(px_ap((row[:, None] * inside).sum(axis=0), (row[:, None] * outside).sum(axis=0)))
        for samples in resamples(4)
        for row in samples.astype(np.int64)
    ]
    low, high = np.percentile(areas, [2.5, 97.5])
    assert (result.scores["px_ap"].low, result.scores["px_ap"].high) == pytest.approx((low, high), abs=1e-9)
    ious = [float(one.mask_iou[int(0.2 * one.highest)]) for one in judged]
    assert result.columns.measures["mean_iou"].tolist() == ious
    assert result.scores["mean_iou"].value == pytest.approx(100 * sum(ious) / 4)
    assert list(result.scores) == ["px_ap", "mean_iou"]


def test_px_ap_does_not_change_where_pictures_are_pooled_in_several_blocks() -> None:
    judged = [random_pixels(seed % 7) for seed in range(513)]
    result = summary([picture(pixels={"pxap": pixel_scores}) for pixel_scores in judged], PX_AP, policy=0.2, value=0.2)
    inside, outside = (sum(getattr(one, part) for one in judged) for part in ("foreground", "background"))
    assert isinstance(inside, np.ndarray)
    assert isinstance(outside, np.ndarray)
    assert result.scores["px_ap"].value == pytest.approx(float(px_ap(inside, outside)), abs=1e-9)


def test_the_interval_is_finite_where_some_samples_have_no_foreground() -> None:
    map_ = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    foreground = map_ > 0.6
    pictures = [picture(pixels={"pxap": pixels(map_, mask)}) for mask in (foreground, np.zeros_like(foreground))]
    result = summary(pictures, PX_AP, policy=0.2, value=0.2).scores["px_ap"]
    assert 0 < result.low <= result.value <= result.high == 100
    assert not math.isnan(result.low)


def test_masks_that_are_all_empty_are_refused() -> None:
    map_ = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    nothing = [picture(pixels={"pxap": pixels(map_, np.zeros((4, 5), dtype=bool))})] * 2
    with pytest.raises(DataError, match="protocol 'pxap': the masks of all 2 pictures are empty; there is no PxAP"):
        summary(nothing, PX_AP, policy=0.2, value=0.2)
