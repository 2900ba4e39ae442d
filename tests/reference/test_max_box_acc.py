"""Counts at every threshold, MaxBoxAcc, MaxBoxAccV2 and PxAP equal wsolevaluation's, to the last picture."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from figures import arrays, table
from tscam.geometry import View
from tscam.metrics.curves import curve_of
from tscam.metrics.levels import judge_levels, level_map, truths_in_view
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.pixels import judge_pixels
from tscam.metrics.protocol import BoxProtocol, PixelProtocol, protocols
from tscam.metrics.summary import ProtocolResult, summarize
from tscam.metrics.threshold import PolicyName, Threshold, ThresholdPolicy

SIDE = 56
IOUS = {"30": 0.3, "50": 0.5, "70": 0.7}
CONTOURS = {"largest": "largest_contour", "all": "multi_contour"}


def box_protocol(registered: str, /, **changes: object) -> BoxProtocol:
    protocol = protocols[registered]
    assert isinstance(protocol, BoxProtocol)
    return replace(protocol, view=SIDE, step=0.01, **changes)  # type: ignore[arg-type]


def pixel_protocol() -> PixelProtocol:
    protocol = protocols["pxap"]
    assert isinstance(protocol, PixelProtocol)
    return replace(protocol, view=SIDE, step=0.01)


PROTOCOLS = (
    box_protocol("max-box-acc", name="largest", ious=(0.3, 0.5, 0.7)),
    box_protocol("max-box-acc-v2", name="all"),
    box_protocol("max-box-acc"),
    box_protocol("max-box-acc-v2"),
)


@pytest.fixture(scope="module")
def judged() -> list[JudgedPicture]:
    """All 120 pictures, judged once."""
    return list(_judge())


def _judge() -> Iterator[JudgedPicture]:
    figures, tables = arrays("max_box_acc.npz"), table("max_box_acc.json")
    for index, image in enumerate(tables["image_ids"]):
        width, height = tables["image_sizes"][image]
        view, map_ = View((width, height), (SIDE, SIDE)), figures["score_maps"][index]
        boxes, by_level = np.array(tables["boxes"][image], dtype=float), level_map(map_)
        foreground = figures["masks"][index] > 0
        pixels = judge_pixels(
            map_, foreground=foreground, ignored=(figures["ignore"][index] > 0) & ~foreground, protocol=pixel_protocol()
        )
        yield JudgedPicture(
            image=image, label=0, top_classes=(), picture_wh=(width, height), truths=boxes,
            boxes={
                protocol.name: judge_levels(
                    by_level, truths_in_view(boxes, protocol, view=view, rule="ilsvrc"), protocol
                )
                for protocol in PROTOCOLS
            },
            pixels={"pxap": pixels}, map_levels={}, small_map=np.zeros((1, 1), dtype=np.uint8),
        )  # fmt: skip


def result(judged: list[JudgedPicture], protocol: BoxProtocol | PixelProtocol) -> ProtocolResult:
    name: PolicyName = "best" if protocol.threshold == "best" else "oracle"
    threshold = Threshold(policy=ThresholdPolicy(name=name), explained="")
    return summarize(judged, protocol, threshold, published=0.1, class_names=("bird",))


def test_the_thresholds_are_the_official_ones() -> None:
    assert PROTOCOLS[0].thresholds.tolist() == table("max_box_acc.json")["thresholds"]


@pytest.mark.parametrize("contours", CONTOURS)
def test_the_number_of_right_pictures_at_each_of_100_thresholds_is_the_official_one(
    judged: list[JudgedPicture], contours: str
) -> None:
    protocol = next(protocol for protocol in PROTOCOLS if protocol.name == contours)
    curve, expected = curve_of(judged, protocol), table("max_box_acc.json")[CONTOURS[contours]]
    for percent in IOUS:
        assert curve.hits[f"max_box_acc_{percent}"].tolist() == expected["num_correct"][percent]
        assert curve.percent(f"max_box_acc_{percent}").max() == pytest.approx(
            expected["max_box_acc"][percent], abs=1e-12
        )


def test_max_box_acc_is_the_official_one(judged: list[JudgedPicture]) -> None:
    expected = table("max_box_acc.json")["largest_contour"]
    scored = result(judged, box_protocol("max-box-acc"))
    assert list(scored.scores) == ["max_box_acc"]
    assert scored.scores["max_box_acc"].value == pytest.approx(expected["max_box_acc"]["50"], abs=1e-9)
    counts = expected["num_correct"]["50"]
    best = round(100 * scored.threshold_values["max_box_acc"])
    assert counts[best] == max(counts)


def test_max_box_acc_v2_is_the_official_mean_of_the_best_score_at_each_iou(judged: list[JudgedPicture]) -> None:
    expected = table("max_box_acc.json")["multi_contour"]
    scored = result(judged, box_protocol("max-box-acc-v2"))
    assert scored.scores["max_box_acc_v2"].value == pytest.approx(expected["mean"], abs=1e-9)
    for percent in IOUS:
        assert scored.scores[f"max_box_acc_{percent}"].value == pytest.approx(
            expected["max_box_acc"][percent], abs=1e-9
        )


def test_px_ap_is_the_official_one(judged: list[JudgedPicture]) -> None:
    scored = result(judged, pixel_protocol())
    assert scored.scores["px_ap"].value == pytest.approx(table("max_box_acc.json")["pxap"], abs=1e-9)
