"""The threshold of a policy is the best one on pictures that are not scored, found again by trying each alone."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_sets import write_cub, write_folder, write_imagenet, write_wsol
from judged_pictures import box_protocol, pixel_protocol
from tscam.boxes import boxes_above
from tscam.config import TrainConfig
from tscam.datasets import Dataset, read_dataset
from tscam.datasets.mask_files import read_masks
from tscam.errors import DataError
from tscam.geometry import View
from tscam.metrics.levels import truths_in_view
from tscam.metrics.overlap import overlaps
from tscam.metrics.protocol import BoxProtocol
from tscam.metrics.threshold import Kind, threshold_policy
from tscam.pseudo_boxes import with_pseudo_boxes
from tscam.score_maps import map_path, read_map, write_map
from tscam.tasks import SavedMaps
from tscam.thresholds import Chosen, choose_on, chosen_by, held_out_pictures, needs_held_out, policy_of
from tscam.training.splits import read_splits

TS_CAM, REALISTIC, V1 = box_protocol("ts-cam"), box_protocol("realistic"), box_protocol("max-box-acc")
PX_AP = pixel_protocol()


def held_out(root: Path, *, kind: Kind = "val", scored: str = "test", protocol: object = REALISTIC) -> Dataset:
    return held_out_pictures(
        root, kind, (protocol,), name=None, scored=scored, fraction=TrainConfig.val_fraction, seed=TrainConfig.seed  # type: ignore[arg-type]
    )  # fmt: skip


def save_maps(dataset: Dataset, folder: Path, *, seed: int = 0) -> SavedMaps:
    """Blurred maps of the first true box with some noise around, 224×224."""
    assert dataset.boxes is not None or dataset.masks is not None
    for index, image_id in enumerate(dataset.image_ids):
        with Image.open(dataset.path(index)) as picture:
            size = picture.size
        random = np.random.default_rng([seed, index])
        if dataset.boxes is not None:
            x0, y0, x1, y1 = View(size, (224, 224)).to_view(dataset.boxes[index][:1])[0].astype(int).tolist()
        else:
            assert dataset.masks is not None
            ys, xs = np.nonzero(read_masks(dataset.masks[index], size_wh=(224, 224))[0])
            x0, y0, x1, y1 = int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())
        map_ = cv2.resize(random.random((7, 7)).astype(np.float32), (224, 224)) * np.float32(0.8)
        map_[y0:y1, x0:x1] += 1
        wide = np.asarray(cv2.GaussianBlur(map_, (0, 0), 4 + 10 * random.random()))
        write_map(map_path(folder, image_id), (wide - wide.min()) / (wide.max() - wide.min()))
    return SavedMaps(folder=folder)


def gt_known(dataset: Dataset, tasks: SavedMaps, protocol: BoxProtocol, threshold: float) -> int:
    """How many pictures are right at one threshold, each map cut at it alone."""
    assert dataset.boxes is not None
    right = 0
    for index, image_id in enumerate(dataset.image_ids):
        map_ = read_map(map_path(tasks.folder, image_id))
        boxes = boxes_above(map_, threshold=threshold).astype(np.int64)[:1]
        box = boxes if len(boxes) else np.array([protocol.no_box])
        if protocol.clip:
            box = np.minimum(box, [224, 224, 223, 223])
        with Image.open(dataset.path(index)) as picture:
            view = View(picture.size, (224, 224))
        truths = truths_in_view(dataset.boxes[index], protocol, view=view, rule=dataset.box_rule)
        right += bool(overlaps(box, truths, edges=protocol.edges).iou.max() >= 0.5)
    return right


def choose(dataset: Dataset, tasks: SavedMaps, out: Path, *protocols: object, kind: Kind = "val") -> dict[str, Chosen]:
    return choose_on(dataset, kind, protocols, tasks=tasks, spool_in=out, workers=0)  # type: ignore[arg-type]


def test_a_protocols_own_policy_holds_unless_another_is_asked_for() -> None:
    assert policy_of(TS_CAM, None).kind == "model"
    assert policy_of(REALISTIC, None).kind == "val"
    assert policy_of(REALISTIC, threshold_policy(0.3)).value == 0.3
    assert policy_of(TS_CAM, threshold_policy("pseudo")).kind == "pseudo"


def test_held_out_pictures_are_needed_for_val_and_pseudo_alone() -> None:
    assert needs_held_out((TS_CAM, V1, PX_AP), None) is None
    assert needs_held_out((TS_CAM, REALISTIC), None) == "val"
    assert needs_held_out((TS_CAM, REALISTIC), threshold_policy("pseudo")) == "pseudo"
    for given in (0.3, "otsu", "oracle", "model", "percentile:80"):
        assert needs_held_out((TS_CAM, REALISTIC), threshold_policy(given)) is None
    assert needs_held_out((V1,), threshold_policy("val")) is None  # it is its own best, by definition


def test_a_split_for_it_is_taken_whole(tmp_path: Path) -> None:
    write_wsol(tmp_path)
    found = held_out(tmp_path)
    assert (found.split, len(found)) == ("val", 3)
    assert found.image_ids == read_dataset(tmp_path, split="val").image_ids


@pytest.mark.parametrize("layout", ["cub", "folder"])
def test_what_training_holds_out_is_what_thresholds_are_chosen_on(tmp_path: Path, layout: str) -> None:
    if layout == "cub":
        write_cub(tmp_path / "data", train=7, test=1)
    else:
        write_folder(tmp_path / "data", splits={"train": 9, "test": 1})
    found = held_out(tmp_path / "data")
    trained = read_splits(TrainConfig(data=tmp_path / "data", out=tmp_path / "out"))
    assert trained.choosing is not None
    assert found.image_ids == trained.choosing.image_ids
    assert not {*found.image_ids} & {*trained.training.image_ids}
    assert found.split == "held out of 'train'"
    assert len(found) >= 2


def test_pictures_that_are_scored_are_not_chosen_on(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 5, "val": 2, "test": 1})
    assert held_out(tmp_path, scored="test").split == "val"
    found = held_out(tmp_path, scored="val")
    assert found.split == "held out of 'train'"
    assert not {*found.image_ids} & {*read_dataset(tmp_path, split="val").image_ids}
    assert held_out(tmp_path, scored="train").split == "val"


def test_without_other_pictures_the_ways_out_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "all")
    with pytest.raises(
        DataError,
        match=r"no pictures beside the split 'all' to choose a threshold on; it holds all\. Give a number, otsu or or",
    ):
        held_out(tmp_path / "all", scored="all")
    write_folder(tmp_path / "train", splits={"train": 3})
    with pytest.raises(
        DataError, match="no pictures beside the split 'train' to choose a threshold on; it holds train"
    ):
        held_out(tmp_path / "train", scored="train")


def test_too_few_pictures_to_hold_any_out_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 1, "test": 1})
    with pytest.raises(
        DataError, match=r"'train' has too few pictures to hold any out; give a number, otsu or oracle as --th"
    ):
        held_out(tmp_path)


def test_pictures_without_boxes_are_refused_for_val_and_not_for_pseudo(tmp_path: Path) -> None:
    write_imagenet(tmp_path, train=5)
    said = "the split \"held out of 'train'\" has pictures without boxes, and a threshold is to be chosen on it; take"
    with pytest.raises(DataError, match=said) as refused:
        held_out(tmp_path, scored="val")
    assert str(refused.value).endswith("take --threshold pseudo, or a number")
    assert len(held_out(tmp_path, scored="val", kind="pseudo")) >= 1


def test_masks_alone_are_enough_for_a_protocol_of_masks(tmp_path: Path) -> None:
    write_wsol(tmp_path, masks=True)
    assert len(held_out(tmp_path, protocol=PX_AP)) == 3
    with pytest.raises(DataError, match="the split 'val' has pictures without boxes"):
        held_out(tmp_path, protocol=REALISTIC)


def test_boxes_stand_in_for_masks_that_are_not_there(tmp_path: Path) -> None:
    write_wsol(tmp_path / "masks", masks=True)
    write_wsol(tmp_path / "boxes")
    with_masks, with_boxes = (read_dataset(tmp_path / name, split="val") for name in ("masks", "boxes"))
    assert chosen_by((TS_CAM, PX_AP), with_masks, "val") == {"ts-cam": TS_CAM, "pxap": PX_AP}
    assert chosen_by((TS_CAM, PX_AP), with_boxes, "val") == {"ts-cam": TS_CAM, "pxap": REALISTIC}
    assert chosen_by((PX_AP,), with_masks, "pseudo") == {"pxap": REALISTIC}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_chosen_threshold_is_the_best_by_trying_each_alone(tmp_path: Path, seed: int) -> None:
    write_folder(tmp_path / "data", splits={"val": 4, "test": 1})
    dataset = read_dataset(tmp_path / "data", split="val")
    tasks = save_maps(dataset, tmp_path / "maps", seed=seed)
    asked = (TS_CAM, replace(REALISTIC, step=0.01))
    found = choose(dataset, tasks, tmp_path, *asked)
    assert list(found) == ["ts-cam", "realistic"]
    for protocol in asked:
        thresholds = [step / 100 for step in range(100)]
        right = [gt_known(dataset, tasks, protocol, threshold) for threshold in thresholds]
        best = [threshold for threshold, count in zip(thresholds, right, strict=True) if count == max(right)]
        assert max(right) > 0
        assert min(right) < max(right)
        chosen = found[protocol.name]
        assert chosen.value == pytest.approx(min(best, key=lambda each: (round(abs(each - 0.1), 9), each)), abs=1e-12)
        assert chosen.explained == "best on 12 pictures of split 'val' with true boxes"
        assert chosen.policy.kind == "val"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "maps"]


def test_pseudo_boxes_choose_without_a_look_at_true_ones(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"val": 3, "test": 1})
    dataset = read_dataset(tmp_path / "data", split="val")
    tasks = save_maps(dataset, tmp_path / "maps")
    found = choose(dataset, tasks, tmp_path, TS_CAM, PX_AP, kind="pseudo")
    blind = choose(replace(dataset, boxes=None), tasks, tmp_path, TS_CAM, PX_AP, kind="pseudo")
    assert found == blind
    said = {chosen.explained for chosen in found.values()}
    assert said == {"best on 9 pictures of split 'val' with pseudo boxes"}
    drawn = with_pseudo_boxes(dataset, tasks)
    right = [gt_known(drawn, tasks, TS_CAM, step / 100) for step in range(100)]
    assert found["ts-cam"].value is not None
    assert right[round(100 * found["ts-cam"].value)] == max(right)


def test_the_threshold_of_masks_is_chosen_by_their_mean_iou(tmp_path: Path) -> None:
    write_wsol(tmp_path / "data", masks=True)
    dataset = read_dataset(tmp_path / "data", split="val")
    assert dataset.masks is not None
    tasks = save_maps(dataset, tmp_path / "maps")
    protocol = replace(PX_AP, step=0.01)
    found = choose(dataset, tasks, tmp_path, protocol)["pxap"]
    means = []
    for threshold in protocol.thresholds:
        ious = []
        for index, image_id in enumerate(dataset.image_ids):
            levels = (read_map(map_path(tasks.folder, image_id)) * np.float32(255)).astype(np.uint8)
            foreground, ignored = read_masks(dataset.masks[index], size_wh=(224, 224))
            above = (levels > int(threshold * levels.max())) & ~ignored
            ious.append(float(np.float32((above & foreground).sum() / (above | foreground).sum())))
        means.append(sum(ious))
    assert found.value == pytest.approx(protocol.thresholds[int(np.argmax(means))], abs=1e-12)
    assert found.explained == "best on 3 pictures of split 'val' with true masks"
