"""The threshold of a policy is the best on pictures that are not scored, as a loop over all thresholds finds it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_sets import write_cub, write_folder, write_imagenet, write_wsol
from judged_pictures import box_protocol, pixel_protocol
from tiny_runs import splits_of
from tscam.boxes import boxes_above
from tscam.config import TrainConfig
from tscam.datasets import Dataset, read_dataset
from tscam.datasets.mask_files import read_masks
from tscam.errors import ConfigError, DataError
from tscam.evaluation.judging import Task
from tscam.evaluation.map_sources import MappedSplit, SavedMaps
from tscam.evaluation.pseudo_boxes import with_pseudo_boxes
from tscam.evaluation.score_maps import map_path, read_map, write_map
from tscam.evaluation.scoring import Thresholds
from tscam.evaluation.thresholds import ThresholdPlan, choose_thresholds, plan_thresholds, requested_policy
from tscam.geometry import View, scale_boxes
from tscam.metrics.levels import truths_in_view
from tscam.metrics.overlap import overlaps
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.metrics.threshold import Threshold, ThresholdPolicy, threshold_policy

TS_CAM, REALISTIC = box_protocol("ts-cam"), box_protocol("realistic")
V1, V2 = box_protocol("max-box-acc"), box_protocol("max-box-acc-v2")
PX_AP = pixel_protocol()


def plan_of(
    root: Path,
    *protocols: BoxProtocol | PixelProtocol,
    requested: str | float | None = None,
    split: str = "test",
    maps: Path | None = None,
) -> ThresholdPlan:
    """Return the plan with the pictures that training holds out by default, and saved maps or `AnyMaps`."""
    dataset = read_dataset(root, split=split)
    return plan_thresholds(
        dataset, AnyMaps() if maps is None else SavedMaps(folder=maps), protocols,
        requested=None if requested is None else threshold_policy(requested),
        fraction=TrainConfig.val_fraction, seed=TrainConfig.seed,
    )  # fmt: skip


def held_out(
    root: Path, *, requested: str = "val", split: str = "test", protocol: BoxProtocol | PixelProtocol = REALISTIC
) -> Dataset:
    split_with_maps = plan_of(root, protocol, requested=requested, split=split).held_out
    assert split_with_maps is not None
    return split_with_maps.dataset


class AnyMaps:
    """A source with a map of every picture, which computes none."""

    batch_size = 1
    facts: Mapping[str, object] = {}
    has_classifier = False
    pixel_range = None

    def fingerprint(self, datasets: Iterable[Dataset]) -> str:  # noqa: ARG002
        return "any"

    def default_threshold(self, dataset: Dataset) -> Threshold:  # noqa: ARG002
        return Threshold(policy=threshold_policy("model"), value=0.27, explained="stored with the model")

    def tasks(
        self, dataset: Dataset, indices: Sequence[int], *, faults: Mapping[int, str], allow_unreadable: bool
    ) -> Iterator[Task]:
        raise NotImplementedError

    def missing(self, dataset: Dataset) -> Mapping[int, str]:  # noqa: ARG002
        return {}


def save_maps(dataset: Dataset, folder: Path, *, seed: int = 0) -> SavedMaps:
    """Write blurred maps of the first true box with some noise, 224×224."""
    assert dataset.boxes is not None or dataset.masks is not None
    for index, image_id in enumerate(dataset.image_ids):
        with Image.open(dataset.path(index)) as picture:
            size = picture.size
        random = np.random.default_rng([seed, index])
        if dataset.boxes is not None:
            box = scale_boxes(dataset.boxes[index][:1], from_wh=size, to_wh=(224, 224))[0]
            x0, y0, x1, y1 = box.astype(int).tolist()
        else:
            assert dataset.masks is not None
            ys, xs = np.nonzero(read_masks(dataset.masks[index], size_wh=(224, 224))[0])
            x0, y0, x1, y1 = int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())
        map_ = cv2.resize(random.random((7, 7)).astype(np.float32), (224, 224)) * np.float32(0.8)
        map_[y0:y1, x0:x1] += 1
        wide = np.asarray(cv2.GaussianBlur(map_, (0, 0), 4 + 10 * random.random()))
        write_map(map_path(folder, image_id), (wide - wide.min()) / (wide.max() - wide.min()))
    return SavedMaps(folder=folder)


def gt_known(dataset: Dataset, maps: SavedMaps, protocol: BoxProtocol, threshold: float) -> int:
    """Return the number of right pictures at one threshold."""
    assert dataset.boxes is not None
    right = 0
    for index, image_id in enumerate(dataset.image_ids):
        map_ = read_map(map_path(maps.folder, image_id))
        boxes = boxes_above(map_, threshold=threshold).astype(np.int64)[:1]
        box = boxes if len(boxes) else np.array([protocol.no_box])
        if protocol.clip:
            box = np.minimum(box, [224, 224, 223, 223])
        with Image.open(dataset.path(index)) as picture:
            view = View(picture.size, (224, 224))
        truths = truths_in_view(dataset.boxes[index], protocol, view=view, rule=dataset.box_rule)
        right += bool(overlaps(box, truths, edges=protocol.edges).iou.max() >= 0.5)
    return right


def choose(
    dataset: Dataset,
    maps: SavedMaps,
    *protocols: BoxProtocol | PixelProtocol,
    requested: str = "val",
    keep_in: Path | None = None,
) -> Thresholds:
    """Return the thresholds with the best scores on these pictures."""
    policy = threshold_policy(requested)
    by_masks = dataset.masks is not None and requested == "val"
    plan = ThresholdPlan(
        thresholds={protocol: Threshold(policy=policy, explained=policy.explained) for protocol in protocols},
        held_out=MappedSplit(dataset=dataset, maps=maps),
        chosen_by={
            protocol: protocol if by_masks or isinstance(protocol, BoxProtocol) else REALISTIC for protocol in protocols
        },
    )
    return choose_thresholds(plan, keep_in=keep_in, workers=0)


def test_a_protocols_own_policy_is_planned_unless_another_is_requested(tmp_path: Path) -> None:
    write_wsol(tmp_path)
    planned = plan_of(tmp_path, TS_CAM, REALISTIC, V1).thresholds
    assert planned == {
        TS_CAM: Threshold(policy=threshold_policy("model"), value=0.27, explained="stored with the model"),
        REALISTIC: Threshold(policy=threshold_policy("val"), explained="best on held-out pictures with true boxes"),
        V1: Threshold(policy=ThresholdPolicy(name="best"), explained="best on the scored pictures, by definition"),
    }
    fixed = plan_of(tmp_path, TS_CAM, REALISTIC, requested=0.3).thresholds
    assert set(fixed.values()) == {Threshold(policy=threshold_policy(0.3), value=0.3, explained="given")}
    assert plan_of(tmp_path, TS_CAM, requested="pseudo").thresholds[TS_CAM].policy.name == "pseudo"
    assert plan_of(tmp_path, REALISTIC, requested="otsu").thresholds[REALISTIC].value is None


def test_saved_maps_use_the_published_threshold_of_their_data_set(tmp_path: Path) -> None:
    write_imagenet(tmp_path)
    (tmp_path / "maps").mkdir()
    planned = plan_of(tmp_path, TS_CAM, split="val", maps=tmp_path / "maps").thresholds[TS_CAM]
    assert planned == Threshold(
        policy=threshold_policy("model"), value=0.12, explained="published for data sets like imagenet"
    )


@pytest.mark.parametrize("protocol", [V1, V2])
@pytest.mark.parametrize("requested", [None, 0.9, "model", "val", "oracle", "otsu"])
def test_no_policy_changes_the_definition_of_max_box_acc(
    tmp_path: Path, protocol: BoxProtocol, requested: str | float | None
) -> None:
    write_wsol(tmp_path)
    planned = plan_of(tmp_path, protocol, TS_CAM, requested=requested).thresholds[protocol]
    assert planned == Threshold(
        policy=ThresholdPolicy(name="best"), explained="best on the scored pictures, by definition"
    )


def test_a_request_that_no_protocol_takes_is_refused() -> None:
    assert requested_policy(None, (V1,)) is None
    assert requested_policy(" 0.3 ", (V1, TS_CAM)) == threshold_policy(0.3)
    with pytest.raises(
        ConfigError, match=r"^--threshold otsu: under max-box-acc and max-box-acc-v2 the best threshold is ta"
    ):
        requested_policy("otsu", (V1, V2))


def test_held_out_pictures_are_needed_for_val_and_pseudo_alone(tmp_path: Path) -> None:
    write_wsol(tmp_path)
    assert plan_of(tmp_path, TS_CAM, V1, PX_AP).held_out is None
    assert plan_of(tmp_path, TS_CAM, REALISTIC).chosen_by == {REALISTIC: REALISTIC}
    assert plan_of(tmp_path, TS_CAM, REALISTIC, requested="pseudo").chosen_by == {
        TS_CAM: TS_CAM, REALISTIC: REALISTIC,
    }  # fmt: skip
    for requested in (0.3, "otsu", "oracle", "model", "percentile:80"):
        assert plan_of(tmp_path, TS_CAM, REALISTIC, requested=requested).held_out is None
    assert (
        plan_of(tmp_path, V1, requested="val").held_out is None
    )  # MaxBoxAcc takes its own best threshold by definition.


def test_a_val_split_is_used_whole(tmp_path: Path) -> None:
    write_wsol(tmp_path)
    dataset = held_out(tmp_path)
    assert (dataset.split, len(dataset)) == ("val", 3)
    assert dataset.image_ids == read_dataset(tmp_path, split="val").image_ids


@pytest.mark.parametrize("layout", ["cub", "folder"])
def test_thresholds_are_chosen_on_the_pictures_that_training_holds_out(tmp_path: Path, layout: str) -> None:
    if layout == "cub":
        write_cub(tmp_path / "data", train=7, test=1)
    else:
        write_folder(tmp_path / "data", splits={"train": 9, "test": 1})
    dataset = held_out(tmp_path / "data")
    trained = splits_of(TrainConfig(data=tmp_path / "data", out=tmp_path / "out"))
    assert trained.choosing is not None
    assert dataset.image_ids == trained.choosing.image_ids
    assert not {*dataset.image_ids} & {*trained.training.image_ids}
    assert dataset.split == "held out of 'train'"
    assert len(dataset) >= 2


def test_thresholds_are_never_chosen_on_scored_pictures(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 5, "val": 2, "test": 1})
    assert held_out(tmp_path, split="test").split == "val"
    dataset = held_out(tmp_path, split="val")
    assert dataset.split == "held out of 'train'"
    assert not {*dataset.image_ids} & {*read_dataset(tmp_path, split="val").image_ids}
    assert held_out(tmp_path, split="train").split == "val"


def test_a_split_without_other_pictures_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    write_folder(tmp_path / "all")
    with pytest.raises(
        DataError,
        match=r"no pictures beside the split 'all' to choose a threshold on; it holds all\. Give a number, otsu or or",
    ):
        held_out(tmp_path / "all", split="all")
    write_folder(tmp_path / "train", splits={"train": 3})
    with pytest.raises(
        DataError, match="no pictures beside the split 'train' to choose a threshold on; it holds train"
    ):
        held_out(tmp_path / "train", split="train")


def test_too_few_pictures_to_hold_any_out_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, splits={"train": 1, "test": 1})
    with pytest.raises(
        DataError, match=r"'train' has too few pictures to hold any out; give a number, otsu or oracle as --th"
    ):
        held_out(tmp_path)


def test_pictures_without_boxes_are_refused_for_val_and_not_for_pseudo(tmp_path: Path) -> None:
    write_imagenet(tmp_path, train=5)
    message = "the split \"held out of 'train'\" has no boxes, and a threshold is to be chosen on it; take"
    with pytest.raises(DataError, match=message) as refused:
        held_out(tmp_path, split="val")
    assert str(refused.value).endswith("take --threshold pseudo, or a number")
    assert len(held_out(tmp_path, split="val", requested="pseudo")) >= 1


def test_a_protocol_of_masks_needs_no_boxes(tmp_path: Path) -> None:
    write_wsol(tmp_path, masks=True)
    assert len(held_out(tmp_path, protocol=PX_AP)) == 3
    with pytest.raises(DataError, match="the split 'val' has no boxes"):
        held_out(tmp_path, protocol=REALISTIC)


def test_boxes_choose_the_threshold_where_masks_are_missing(tmp_path: Path) -> None:
    write_wsol(tmp_path / "masks", masks=True)
    write_wsol(tmp_path / "boxes")
    assert plan_of(tmp_path / "masks", PX_AP, requested="val").chosen_by == {PX_AP: PX_AP}
    assert plan_of(tmp_path / "boxes", TS_CAM, PX_AP, requested="val").chosen_by == {TS_CAM: TS_CAM, PX_AP: REALISTIC}
    assert plan_of(tmp_path / "masks", PX_AP, requested="pseudo").chosen_by == {PX_AP: REALISTIC}


def test_held_out_pictures_without_a_map_are_refused(tmp_path: Path) -> None:
    write_wsol(tmp_path / "data")
    save_maps(read_dataset(tmp_path / "data", split="val").subset([0, 2], split="val"), tmp_path / "maps")
    with pytest.raises(DataError, match="1 of 3 pictures of split 'val', which choose the threshold, have no map; add"):
        plan_of(tmp_path / "data", REALISTIC, maps=tmp_path / "maps")


@pytest.mark.parametrize("seed", [0, 1])
def test_the_chosen_threshold_is_the_best_of_all_thresholds(tmp_path: Path, seed: int) -> None:
    write_folder(tmp_path / "data", splits={"val": 4, "test": 1})
    dataset = read_dataset(tmp_path / "data", split="val")
    maps = save_maps(dataset, tmp_path / "maps", seed=seed)
    protocols = (TS_CAM, replace(REALISTIC, step=0.01))
    chosen = choose(dataset, maps, *protocols)
    assert list(chosen) == list(protocols)
    for protocol in protocols:
        values = [step / 100 for step in range(100)]
        right = [gt_known(dataset, maps, protocol, value) for value in values]
        best = [value for value, count in zip(values, right, strict=True) if count == max(right)]
        assert max(right) > 0
        assert min(right) < max(right)
        threshold = chosen[protocol]
        assert threshold.value == pytest.approx(
            min(best, key=lambda value: (round(abs(value - 0.1), 9), value)), abs=1e-12
        )
        assert threshold.explained == "best on 12 pictures of split 'val' with true boxes"
        assert threshold.policy.name == "val"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "maps"]


@pytest.mark.parametrize("requested", ["val", "pseudo"])
def test_kept_pictures_are_not_judged_again_and_choose_the_same(tmp_path: Path, requested: str) -> None:
    write_folder(tmp_path / "data", splits={"val": 4, "test": 1})
    dataset = read_dataset(tmp_path / "data", split="val")
    maps = replace(save_maps(dataset, tmp_path / "maps"), batch_size=5)
    chosen = choose(dataset, maps, TS_CAM, requested=requested, keep_in=tmp_path / "kept")
    lines = (tmp_path / "kept" / "held_out.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == 12
    for count, missing in ((12, 12), (7, 5), (3, 0)):  # Whole batches are kept, and all pictures.
        (tmp_path / "kept" / "held_out.jsonl").write_bytes(b"".join(lines[:count]))
        for image_id in dataset.image_ids[:missing]:
            map_path(maps.folder, image_id).rename(tmp_path / f"map {count}")
        again = choose(dataset, maps, TS_CAM, requested=requested, keep_in=tmp_path / "kept")
        assert again == chosen
        assert (tmp_path / "kept" / "held_out.jsonl").read_bytes() == b"".join(lines)
        save_maps(dataset, tmp_path / "maps")


def test_thresholds_by_pseudo_boxes_do_not_depend_on_true_boxes(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"val": 3, "test": 1})
    dataset = read_dataset(tmp_path / "data", split="val")
    maps = save_maps(dataset, tmp_path / "maps")
    thresholds = choose(dataset, maps, TS_CAM, PX_AP, requested="pseudo")
    blind = choose(replace(dataset, boxes=None), maps, TS_CAM, PX_AP, requested="pseudo")
    assert thresholds == blind
    explained = {chosen.explained for chosen in thresholds.values()}
    assert explained == {"best on 9 pictures of split 'val' with pseudo boxes"}
    pseudo = with_pseudo_boxes(MappedSplit(dataset=dataset, maps=maps)).dataset
    right = [gt_known(pseudo, maps, TS_CAM, step / 100) for step in range(100)]
    value = thresholds[TS_CAM].value
    assert value is not None
    assert right[round(100 * value)] == max(right)


def test_the_threshold_of_masks_is_chosen_by_their_mean_iou(tmp_path: Path) -> None:
    write_wsol(tmp_path / "data", masks=True)
    dataset = read_dataset(tmp_path / "data", split="val")
    assert dataset.masks is not None
    maps = save_maps(dataset, tmp_path / "maps")
    protocol = replace(PX_AP, step=0.01)
    chosen = choose(dataset, maps, protocol)[protocol]
    means = []
    for threshold in protocol.thresholds:
        ious = []
        for index, image_id in enumerate(dataset.image_ids):
            levels = (read_map(map_path(maps.folder, image_id)) * np.float32(255)).astype(np.uint8)
            foreground, ignored = read_masks(dataset.masks[index], size_wh=(224, 224))
            above = (levels > int(threshold * levels.max())) & ~ignored
            ious.append(float(np.float32((above & foreground).sum() / (above | foreground).sum())))
        means.append(sum(ious))
    assert chosen.value == pytest.approx(protocol.thresholds[int(np.argmax(means))], abs=1e-12)
    assert chosen.explained == "best on 3 pictures of split 'val' with true masks"
