"""A protocol judges a picture alone as beside others; saved maps and masks that do not fit are named."""

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from judged_pictures import box_protocol, pixel_protocol
from tscam.datasets.mask_files import Masks
from tscam.errors import DataError
from tscam.evaluation.judging import Judge, Protocols, Task
from tscam.evaluation.score_maps import map_path, read_map, write_map
from tscam.geometry import View
from tscam.metrics.levels import judge_levels, level_map, map_in_view, truths_in_view
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.threshold import threshold_policy
from tscam.metrics.ts_cam import OUTCOMES

PICTURE_WH, VIEW_WH = (90, 60), (40, 32)
TRUTHS = np.array([[20.0, 10.0, 70.0, 50.0], [0.0, 0.0, 12.0, 9.0]])

TS_CAM, V1, V2 = box_protocol("ts-cam"), box_protocol("max-box-acc"), box_protocol("max-box-acc-v2")
REALISTIC, PX_AP = box_protocol("realistic"), pixel_protocol()
ALL: Protocols = (TS_CAM, V1, V2, REALISTIC, PX_AP)


def raw_map(seed: int = 0) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(size=(4, 5)).astype(np.float32)
    raw[1:3, 1:4] += 3
    return raw


@pytest.fixture
def masks(tmp_path: Path) -> Masks:
    """Masks of the first true box; the second box is ignored."""
    files = tmp_path / "object.png", tmp_path / "ignore.png"
    for file, (x0, y0, x1, y1) in zip(files, TRUTHS.astype(int).tolist(), strict=True):
        pixels = np.zeros(PICTURE_WH[::-1], dtype=np.uint8)
        pixels[y0:y1, x0:x1] = 255
        Image.fromarray(pixels).save(file)
    return Masks(files[:1], files[1])


def task(map_: np.ndarray | Path, **changes: object) -> Task:
    default = Task(
        image="cat/a.png", label=2, picture_wh=PICTURE_WH, view_wh=VIEW_WH if isinstance(map_, np.ndarray) else None,
        truths=TRUTHS, rule="ilsvrc", masks=None, map=map_, top_classes=(2, 0) if isinstance(map_, np.ndarray) else (),
    )  # fmt: skip
    return replace(default, **changes)  # type: ignore[arg-type]


def judge(*protocols: object, policy: str | None = None, save_to: Path | None = None) -> Judge:
    per_map = None if policy is None else threshold_policy(policy)
    return Judge(protocols=protocols, per_map=per_map, save_to=save_to)  # type: ignore[arg-type]


def facts(judged: Mapping[str, object]) -> dict[str, dict[str, object]]:
    return {
        name: {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(scores).items()}
        for name, scores in judged.items()
    }


def all_facts(picture: JudgedPicture) -> tuple[object, ...]:
    return (
        picture.image, picture.label, picture.top_classes, picture.picture_wh, picture.truths.tolist(),
        facts(picture.boxes), facts(picture.pixels), dict(picture.map_levels), picture.small_map.tolist(),
        picture.fault,
    )  # fmt: skip


@pytest.mark.parametrize("policy", [None, "otsu", "percentile:80"])
def test_protocols_judge_together_as_each_alone(masks: Masks, policy: str | None) -> None:
    picture_task = task(raw_map(), masks=masks)
    together = judge(*ALL, policy=policy)(picture_task)
    assert [*together.boxes, *together.pixels] == [protocol.name for protocol in ALL]
    for protocol in ALL:
        alone = judge(protocol, policy=policy)(picture_task)
        for part in ("boxes", "pixels"):
            ours, theirs = facts(getattr(alone, part)), facts(getattr(together, part))
            assert ours == {name: theirs[name] for name in ours}
        assert alone.map_levels == {name: together.map_levels[name] for name in alone.map_levels}
    assert set(together.map_levels) == (set() if policy is None else {protocol.name for protocol in ALL})


def test_boxes_are_those_of_the_map_in_each_protocols_view() -> None:
    judged = judge(TS_CAM, V1)(task(raw_map()))
    for protocol, size_wh in ((TS_CAM, VIEW_WH), (V1, (224, 224))):
        map_ = map_in_view(raw_map(), protocol, view_wh=VIEW_WH)
        truths = truths_in_view(TRUTHS, protocol, view=View(PICTURE_WH, size_wh), rule="ilsvrc")
        expected = judge_levels(level_map(map_), truths, protocol)
        assert facts({"": judged.boxes[protocol.name]}) == facts({"": expected})
    assert judged.boxes["ts-cam"].boxes.max() <= 40
    assert judged.boxes["max-box-acc"].boxes.max() == 223


@pytest.mark.parametrize("policy", ["otsu", "percentile:70"])
def test_the_level_of_a_map_is_the_policys_level_of_its_bytes(masks: Masks, policy: str) -> None:
    judged = judge(*ALL, policy=policy)(task(raw_map(), masks=masks))
    for protocol in ALL:
        map_ = map_in_view(raw_map(), protocol, view_wh=VIEW_WH)
        assert judged.map_levels[protocol.name] == threshold_policy(policy).level((map_ * 255).astype(np.uint8))


def test_pixels_are_compared_with_the_masks_in_the_protocols_view(masks: Masks) -> None:
    scores = judge(PX_AP)(task(raw_map(), masks=masks)).pixels["pxap"]
    x0, y0, x1, y1 = TRUTHS[0]
    assert scores.foreground.sum() == pytest.approx((x1 - x0) * (y1 - y0) * 224 * 224 / (90 * 60), rel=0.02)
    dropped = 224 * 224 - scores.foreground.sum() - scores.background.sum()
    assert dropped == pytest.approx(12 * 9 * 224 * 224 / (90 * 60), rel=0.05)


def test_contours_are_not_computed_without_a_protocol_of_boxes(masks: Masks, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("contours are not needed")

    monkeypatch.setattr("tscam.evaluation.judging.level_map", refuse)
    assert list(judge(PX_AP)(task(raw_map(), masks=masks)).pixels) == ["pxap"]
    assert judge(PX_AP, policy="otsu")(task(raw_map(), masks=masks)).map_levels["pxap"] > 0


def test_a_judge_its_tasks_and_its_results_can_be_sent_to_another_process(masks: Masks) -> None:
    the_judge, picture_task = judge(*ALL, policy="otsu"), task(raw_map(), masks=masks)
    judged = the_judge(picture_task)
    copy = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(the_judge))(pickle.loads(pickle.dumps(picture_task)))))
    assert all_facts(copy) == all_facts(judged)


def test_a_saved_map_is_judged_as_the_map_of_the_network(tmp_path: Path, masks: Masks) -> None:
    saving_judge = judge(V1, V2, REALISTIC, PX_AP, save_to=tmp_path / "maps")
    predicted = saving_judge(task(raw_map(), masks=masks))
    file = map_path(tmp_path / "maps", "cat/a.png")
    assert np.array_equal(read_map(file), map_in_view(raw_map(), V1, view_wh=VIEW_WH))
    saved = judge(V1, V2, REALISTIC, PX_AP)(task(file, masks=masks))
    assert facts(saved.boxes) == facts(predicted.boxes)
    assert facts(saved.pixels) == facts(predicted.pixels)
    assert saved.top_classes == ()


def test_maps_are_saved_in_the_first_view_of_a_fixed_size_and_not_for_faults(tmp_path: Path) -> None:
    judge(TS_CAM, V1, save_to=tmp_path / "both")(task(raw_map()))
    judge(TS_CAM, save_to=tmp_path / "own")(task(raw_map()))
    judge(TS_CAM, save_to=tmp_path / "fault")(task(raw_map(), fault="no box"))
    assert read_map(tmp_path / "both" / "cat" / "a.png.npy").shape == (224, 224)
    assert read_map(tmp_path / "own" / "cat" / "a.png.npy").shape == (32, 40)
    assert not (tmp_path / "fault").exists()


@pytest.mark.parametrize("size_wh", [(40, 32), (61, 17), (500, 333)])
def test_a_saved_map_may_have_any_size_under_ts_cam(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    map_ = cv2.resize(raw_map(), size_wh)
    map_ = (map_ - map_.min()) / (map_.max() - map_.min())
    write_map(tmp_path / "a.npy", map_)
    judged = judge(TS_CAM)(task(tmp_path / "a.npy"))
    truths = truths_in_view(TRUTHS, TS_CAM, view=View(PICTURE_WH, size_wh), rule="ilsvrc")
    expected = judge_levels(level_map(map_), truths, TS_CAM)
    assert facts(judged.boxes)["ts-cam"] == facts({"": expected})[""]


def saved(folder: Path, map_: np.ndarray) -> Path:
    np.save(folder / "a.npy", map_)
    return folder / "a.npy"


BROKEN = {
    "another size": (np.zeros((56, 224), dtype=np.float32), r"a\.npy: a map of 56×224; expected 224×224"),
    "NaN": (
        np.full((224, 224), np.nan, dtype=np.float32),
        r"a\.npy: NaN or infinity in the map; expected finite numbers",
    ),
    "infinity": (np.full((224, 224), np.inf), r"a\.npy: NaN or infinity in the map"),
    "above 1": (
        np.full((224, 224), 1.5, dtype=np.float32),
        r"a\.npy: values from 1\.5 to 1\.5; expected 0 to 1, scale the map$",
    ),
    "below 0": (
        np.linspace(-0.25, 1, 224 * 224).reshape(224, 224),
        r"a\.npy: values from -0\.25 to 1; expected 0 to 1",
    ),
    "bytes": (np.full((224, 224), 255, dtype=np.uint8), r"a\.npy: values from 255 to 255; expected 0 to 1"),
    "three dimensions": (np.zeros((1, 224, 224)), r"a\.npy: an array of 3 dimensions .*; expected a 2-d map"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_an_unusable_map_is_named(tmp_path: Path, fault: str) -> None:
    map_, message = BROKEN[fault]
    with pytest.raises(DataError, match=message) as refused:
        judge(V1)(task(saved(tmp_path, map_)))
    assert "\n" not in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_missing_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.npy: not a readable \.npy file \(FileNotFoundError"):
        judge(V1)(task(tmp_path / "b.npy"))


def test_a_mask_of_another_size_is_named(masks: Masks) -> None:
    Image.fromarray(np.zeros((60, 91), dtype=np.uint8)).save(masks.objects[0])
    with pytest.raises(DataError, match=r"object\.png: a mask of 91×60 pixels for a picture of 90×60; expected masks"):
        judge(PX_AP)(task(raw_map(), masks=masks))


def test_a_picture_without_a_mask_is_named() -> None:
    with pytest.raises(DataError, match=r"^cat/a\.png: no mask; the protocol 'pxap' compares with masks$"):
        judge(PX_AP)(task(raw_map()))


def test_a_fault_is_wrong_under_every_protocol_though_its_map_is_perfect(masks: Masks) -> None:
    judged = judge(*ALL, policy="otsu")(task(raw_map(), masks=masks, fault="no map"))
    assert judged.fault == "no map"
    assert not any(scores.iou.any() for scores in judged.boxes.values())
    outcomes = judged.boxes["ts-cam"].outcomes
    assert outcomes is not None
    assert {OUTCOMES[index] for index in outcomes} == {"wrong"}
    pixels = judged.pixels["pxap"]
    assert pixels.foreground[1:].sum() == pixels.background[1:].sum() == 0
    assert pixels.foreground[0] > 0
    assert not pixels.mask_iou.any()
    assert set(judged.map_levels.values()) == {0}
    assert judged.small_map.tolist() == [[0]]


def test_a_fault_needs_no_map_file(tmp_path: Path) -> None:
    judged = judge(TS_CAM, V1)(task(tmp_path / "none.npy", fault="no map"))
    assert not judged.boxes["max-box-acc"].iou.any()


def test_a_picture_without_a_true_box_is_wrong_and_its_map_is_not_read(tmp_path: Path) -> None:
    judged = judge(V1)(task(raw_map(), truths=np.empty((0, 4))))
    assert not judged.boxes["max-box-acc"].iou.any()
    assert judged.object_share is None
    from_file = judge(V1)(task(tmp_path / "not read.npy", truths=np.empty((0, 4))))
    assert from_file.small_map.tolist() == [[0]]


def test_the_size_of_the_largest_object_and_the_map_of_the_report(tmp_path: Path) -> None:
    judged = judge(TS_CAM)(task(raw_map()))
    assert judged.object_share == 50 * 40 / (90 * 60)
    assert judged.small_map.shape == (4, 5)
    assert (judged.small_map.min(), judged.small_map.max()) == (0, 255)
    large = judge(V1)(task(saved(tmp_path, map_in_view(raw_map(), V1, view_wh=VIEW_WH))))
    assert large.small_map.shape == (28, 28)
