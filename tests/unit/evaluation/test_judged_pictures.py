"""Judged pictures come back from their file bit by bit, and those of an interrupted run are kept in whole batches."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from judged_pictures import picture, scores
from tscam.errors import DataError
from tscam.evaluation.judged_pictures import JudgedPictures
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.pixels import PixelScores
from tscam.metrics.ts_cam import Outcome


def judged(number: int) -> JudgedPicture:
    """A picture of which no two numbers are equal."""
    random = np.random.default_rng(number)
    pixels = PixelScores(
        highest=number, foreground=random.integers(0, 2**31, 12).astype(np.int32),
        background=random.integers(0, 2**31, 12).astype(np.int32), mask_iou=random.random(256).astype(np.float32),
    )  # fmt: skip
    made = picture(
        {"ts-cam": scores(random.random(256).tolist(), highest=7, outcome=Outcome.PART), "realistic": scores(0.1)},
        image=f"лиса \udcff {number}.png", label=number, top_classes=(number, 3),
        truths=random.random((number % 3, 4)).tolist(), pixels={"pxap": pixels}, map_levels={"ts-cam": 9},
    )  # fmt: skip
    return replace(made, small_map=random.integers(0, 256, (2, 3)).astype(np.uint8), fault="no map" * (number % 2))


def bits(judged_picture: JudgedPicture) -> bytes:
    return pickle.dumps(json.dumps(judged_picture, default=lambda value: _plain(value), sort_keys=True))


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.shape, value.tobytes().hex()]
    return vars(value)


@pytest.mark.parametrize("is_temporary", [False, True])
def test_pictures_come_back_bit_by_bit_and_again(is_temporary: bool, tmp_path: Path) -> None:
    pictures = [judged(number) for number in range(5)]
    with JudgedPictures(None if is_temporary else tmp_path / "kept" / "pictures.jsonl") as file:
        for each in pictures:
            file.append(each)
        assert len(file) == 5
        for _ in range(2):
            assert list(map(bits, file)) == list(map(bits, pictures))
    assert len({*map(bits, pictures)}) == 5


@pytest.mark.parametrize(("kept", "of", "left"), [(0, 8, 0), (2, 8, 0), (3, 8, 3), (5, 8, 3), (8, 8, 8), (7, 7, 7)])
def test_whole_batches_are_kept_and_all_pictures(kept: int, of: int, left: int, tmp_path: Path) -> None:
    pictures = [judged(number) for number in range(of)]
    with JudgedPictures(tmp_path / "pictures.jsonl") as file:
        for each in pictures[:kept]:
            file.append(each)
    with (tmp_path / "pictures.jsonl").open("ab") as torn:
        torn.write(b'{"image": "torn')
    with JudgedPictures(tmp_path / "pictures.jsonl") as file:
        file.keep([each.image for each in pictures], batch_size=3)
        assert [each.image for each in file] == [each.image for each in pictures[:left]]
        for each in pictures[left:]:
            file.append(each)
        assert list(map(bits, file)) == list(map(bits, pictures))


def test_pictures_of_another_run_and_broken_lines_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pictures.jsonl"
    with JudgedPictures(path) as file:
        file.append(judged(0))
        file.append(judged(1))
        for due in ([judged(1).image, judged(0).image], [judged(0).image]):
            with pytest.raises(
                DataError, match=r"pictures\.jsonl:\d: '.*\.png' is not due here; begin with --overwrite"
            ):
                file.keep(due, batch_size=1)
    line = json.loads(path.read_bytes().splitlines()[0])
    broken = {"small_map": ["|O", [1], "AAAAAAAAAAA="], "picture_wh": [7], "truths": None, "boxes": []}
    for name, value in broken.items():
        path.write_text(json.dumps(line | {name: value}) + "\n")
        with (
            JudgedPictures(path) as file,
            pytest.raises(DataError, match=r"pictures\.jsonl:1: not a judged picture \(.*\); begin with --overwrite$"),
        ):
            list(file)
