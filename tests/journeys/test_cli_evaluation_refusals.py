"""Every mistake in an evaluation is one line that names the place, and nothing is written or emptied."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import Call, assert_refused
from data_sets import write_folder, write_wsol
from tiny_models import save_ramps, tiny_model
from tscam.datasets import read_dataset
from tscam.evaluation.score_maps import map_path, read_map, write_map
from tscam.system.output_folder import locked


def wrong_size(maps: Path, image: str, data: Path) -> str:  # noqa: ARG001
    write_map(map_path(maps, image), np.zeros((28, 28), dtype=np.float32))
    return f"{map_path(maps, image)}: a map of 28×28; expected 224×224 (height × width)"


def with_nan(maps: Path, image: str, data: Path) -> str:  # noqa: ARG001
    map_ = read_map(map_path(maps, image)).astype(np.float32)
    map_[100, 3] = np.nan
    write_map(map_path(maps, image), map_)
    return f"{map_path(maps, image)}: NaN or infinity in the map; expected finite numbers"


def wrong_range(maps: Path, image: str, data: Path) -> str:  # noqa: ARG001
    write_map(map_path(maps, image), read_map(map_path(maps, image)).astype(np.float32) * 2)
    return f"{map_path(maps, image)}: values from 0 to 2; expected 0 to 1, scale the map"


def cut_off_map(maps: Path, image: str, data: Path) -> str:  # noqa: ARG001
    map_path(maps, image).write_bytes(b"\x93NUMPY")
    return f"{map_path(maps, image)}: not a readable .npy file ("


def wrong_mask(maps: Path, image: str, data: Path) -> str:  # noqa: ARG001
    mask = (data / "dataset" / "OpenImages" / image).with_name(f"{Path(image).stem}_m0.png")
    Image.fromarray(np.zeros((9, 11), dtype=np.uint8)).save(mask)
    return f"{mask}: a mask of 11×9 pixels for a picture of "


def missing_picture(maps: Path, image: str, data: Path) -> str:  # noqa: ARG001
    (data / "dataset" / "OpenImages" / image).unlink()
    return str(data / "dataset" / "OpenImages" / image)


@pytest.mark.parametrize("split", ["test", "val"])
@pytest.mark.parametrize("damage", [wrong_size, with_nan, wrong_range, cut_off_map, wrong_mask, missing_picture])
def test_maps_and_masks_that_do_not_fit_are_named_before_anything_is_written(
    tmp_path: Path, tscam: Call, split: str, damage: Callable[[Path, str, Path], str]
) -> None:
    data, maps, out = tmp_path / "data", tmp_path / "maps", tmp_path / "out"
    write_wsol(data, name="OpenImages", masks=True)
    for each in ("val", "test"):
        save_ramps(data, maps, each)
    message = damage(maps, read_dataset(data, split=split).image_ids[-1], data)
    out.mkdir()
    (out / "metrics.json").write_text("{}")
    answer = tscam(
        "evaluate", "--maps", maps, "--data", data, "--out", out, "--protocol", "pxap", "--threshold", "val",
        "--overwrite",
    )  # fmt: skip
    assert_refused(answer, message)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("metrics.json", "{}")]


def test_a_broken_picture_to_choose_on_is_named_before_anything_is_written(
    tmp_path: Path, tscam: Call, studio: Path
) -> None:
    write_wsol(tmp_path / "data")
    image = read_dataset(tmp_path / "data", split="val").image_ids[1]
    (tmp_path / "data" / "dataset" / "CUB" / image).write_bytes(b"\x89PNG")
    for arguments in ((studio / "model",), ("--maps", studio / "maps", "--threshold", "pseudo")):
        answer = tscam(
            "evaluate", *arguments, "--data", tmp_path / "data", "--out", tmp_path / "out", "--protocol", "realistic"
        )
        assert_refused(answer, f"1 of 3 pictures of the split 'val' cannot be read: {image!r}")
        assert not (tmp_path / "out").exists()


MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown protocol": (
        ("MODEL", "--protocol", "max-box-ac"),
        "no protocol named 'max-box-ac'; did you mean 'max-box-acc'",
    ),
    "one of several is unknown": (("MODEL", "--protocol", "ts-cam", "coco"), "no protocol named 'coco'"),
    "an unknown policy": (("MODEL", "--threshold", "orakel"), "threshold 'orakel'; did you mean 'oracle'? expected"),
    "a threshold above 1": (("MODEL", "--threshold", "1.5"), "threshold 1.5; expected a fraction of the map's maximum"),
    "a percentile above 100": (("MODEL", "--threshold", "percentile:101"), "threshold 'percentile:101'"),
    "a threshold for none to take": (
        ("MODEL", "--protocol", "max-box-acc", "max-box-acc-v2", "--threshold", "0.3"),
        "--threshold 0.3: under max-box-acc and max-box-acc-v2 the best threshold is taken by definition; leave it out",
    ),
    "a model and maps": (
        ("MODEL", "--maps", "MAPS"),
        "both a MODEL and --maps given; evaluate scores one or the other",
    ),
    "neither": ((), "neither a MODEL nor --maps given; evaluate scores one or the other"),
    "maps that are there are saved": (
        ("--maps", "MAPS", "--save-maps"),
        "--save-maps beside --maps: the maps are there already",
    ),
    "maps are read by a method": (("--maps", "MAPS", "--method", "cam"), "--method beside --maps: no model is read"),
    "no such folder of maps": (("--maps", "nowhere"), "nowhere: no such folder; --maps takes the folder of .npy maps"),
    "masks that are not there": (
        ("MODEL", "--protocol", "pxap"),
        "split 'test' has no masks; the protocol pxap compare",
    ),
    "boxes that are not there": (("MODEL", "--data", "MASKED"), "no boxes for split 'test'; evaluation compares with"),
    "no such split": (("MODEL", "--split", "holdout"), "no split 'holdout'; available: train, val, test"),
    "maps of another split": (("--maps", "MAPS", "--split", "train"), "6 of 6 pictures have no map ("),
    "no protocol": (("MODEL", "--protocol"), "protocol: none; expected one or more, such as ts-cam max-box-acc-v2"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(studio: Path, tmp_path: Path, tscam: Call, mistake: str) -> None:
    flags, message = MISTAKES[mistake]
    paths = {"MODEL": studio / "model", "MAPS": studio / "maps", "MASKED": studio / "masked"}
    arguments: list[str | Path] = [paths.get(argument, argument) for argument in flags]
    if "--data" not in flags:
        arguments += ["--data", studio / "data"]
    assert_refused(tscam("evaluate", *arguments, "--out", tmp_path / "out"), message)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_run_holds_is_not_emptied(studio: Path, tmp_path: Path, tscam: Call) -> None:
    out = tmp_path / "out"
    with locked(out):
        (out / "weights.safetensors").write_text("days of work")
        answer = tscam(
            "evaluate", "--maps", studio / "maps", "--data", studio / "data", "--out", out, "--overwrite",
        )  # fmt: skip
        assert_refused(answer, "another run is writing here; wait until it has ended, or choose another folder")
        assert (out / "weights.safetensors").read_text() == "days of work"


def test_held_out_pictures_without_a_map_are_no_matter_of_allow_missing(
    studio: Path, tmp_path: Path, tscam: Call
) -> None:
    maps = tmp_path / "maps"
    shutil.copytree(studio / "maps", maps)
    first = read_dataset(studio / "data", split="val").image_ids[0]
    map_path(maps, first).unlink()
    answer = tscam(
        "evaluate", "--maps", maps, "--data", studio / "data", "--out", tmp_path / "out", "--threshold", "val",
        "--allow-missing",
    )  # fmt: skip
    assert_refused(answer, "1 of 3 pictures of split 'val', which choose the threshold, have no map; add them, or give")


def test_missing_masks_are_listed_and_count_as_wrong_where_that_is_allowed(tmp_path: Path, tscam: Call) -> None:
    data, maps, out = tmp_path / "data", tmp_path / "maps", tmp_path / "out"
    write_wsol(data, name="OpenImages", masks=True)
    save_ramps(data, maps, "test")
    masks = read_dataset(data, split="test").masks
    assert masks is not None
    for each in masks[:2]:
        each.objects[0].unlink()
    arguments = ("evaluate", "--maps", maps, "--data", data, "--out", out, "--protocol", "pxap")
    assert_refused(tscam(*arguments), "2 of 6 pictures have no mask (")
    answer = tscam(*arguments, "--allow-missing")
    assert answer.code == 0, answer
    assert (out / "missing.csv").read_text().count("no mask") == 2
    lines = [json.loads(line) for line in (out / "per_image.jsonl").read_text().splitlines()]
    assert [line["protocols"]["pxap"]["mean_iou"] for line in lines[:2]] == [0, 0]
    assert min(line["protocols"]["pxap"]["mean_iou"] for line in lines[2:]) > 0


def test_where_nothing_is_left_to_judge_there_is_no_number(studio: Path, tmp_path: Path, tscam: Call) -> None:
    (tmp_path / "maps").mkdir()
    answer = tscam(
        "evaluate", "--maps", tmp_path / "maps", "--data", studio / "data", "--out", tmp_path / "out",
        "--allow-missing",
    )  # fmt: skip
    assert_refused(answer, "6 of 6 pictures have no map (")
    assert not (tmp_path / "out").exists()


def test_an_empty_split_is_refused(studio: Path, tmp_path: Path, tscam: Call) -> None:
    write_wsol(tmp_path / "data")
    for name in ("image_ids", "class_labels", "image_sizes", "localization"):
        (tmp_path / "data" / "metadata" / "CUB" / "test" / f"{name}.txt").write_text("")
    answer = tscam("evaluate", studio / "model", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert_refused(answer, "the split 'test' has no pictures")
    assert not (tmp_path / "out").exists()


def test_no_pictures_to_choose_on_are_refused(tmp_path: Path, tscam: Call) -> None:
    write_folder(tmp_path / "data")
    tiny_model(tmp_path / "model")
    answer = tscam(
        "evaluate", tmp_path / "model", "--data", tmp_path / "data", "--out", tmp_path / "out", "--threshold", "val"
    )
    assert_refused(answer, "no pictures beside the split 'all' to choose a threshold on")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", ["data", "maps"])
def test_what_is_read_is_never_emptied(tmp_path: Path, tscam: Call, inside: str) -> None:
    write_wsol(tmp_path / "data")
    save_ramps(tmp_path / "data", tmp_path / "maps", "test")
    out = tmp_path / "data" / "dataset" if inside == "data" else tmp_path / "maps"
    before = sorted(path for path in tmp_path.rglob("*"))
    answer = tscam(
        "evaluate", "--maps", tmp_path / "maps", "--data", tmp_path / "data", "--out", out, "--protocol", "max-box-acc",
        "--overwrite",
    )  # fmt: skip
    assert_refused(answer, f"{out}: --overwrite would empty the input ")
    assert sorted(path for path in tmp_path.rglob("*")) == before
