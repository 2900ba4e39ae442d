"""A localization survives its JSON line, a broken line is named by its number, and a grid map keeps its shape."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tscam.errors import DataError
from tscam.localization import Localization, LocalizedObject, StoredMap, grid_map, read_localizations


def example(image: str = "a/fox.jpg") -> Localization:
    obj = LocalizedObject(
        label='red "fox"\t<b>, лиса',
        class_id=3,
        score=0.123457,
        box=(1.5, 2.25, 30.125, 19.999),
    )
    stored = StoredMap(levels=np.array([[0, 7, 255], [1, 128, 9]], dtype=np.uint8), low=-1 / 3, high=0.75)
    return Localization(
        image=image, width=31, height=20, status="ok", reason="", objects=(obj, obj), maps={3: stored}, threshold=0.35,
        objectness=0.123457,
    )  # fmt: skip


def fields(localization: Localization) -> tuple[object, ...]:
    objects = [(o.label, o.class_id, o.score, o.box) for o in localization.objects]
    maps = {id_: (stored.levels.tolist(), stored.low, stored.high) for id_, stored in localization.maps.items()}
    head = (localization.image, localization.width, localization.height, localization.status, localization.reason)
    return (*head, localization.threshold, localization.objectness, objects, maps)


# Written by the version before the first that states its number: every object has its map.
OLD_LINE = (
    '{"image": "pictures/0.png", "width": 72, "height": 42, "status": "ok", "reason": "", "objects": [{"label": "emu", '
    '"class_id": 2, "score": 0.398962, "box": [0.0, 0.0, 72.0, 42.0], "map": {"grid": [4, 4], "uint8": '
    '"ent/uLr7/3iSXENuN0ccAA=="}}, {"label": "dog", "class_id": 1, "score": 0.307805, "box": [0.0, 0.0, 72.0, 42.0], '
    '"map": {"grid": [4, 4], "uint8": "WAAzpZA61Zd6WH1Qn8H/VA=="}}]}'
)


def write_lines(path: Path, *lines: str) -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


@pytest.mark.parametrize("image", ["a/fox.jpg", "🦊\nfox.jpg", "a\r\nb\u2028c\x85d\0.jpg", "=cmd|'/c'!A1", "../x", ""])
def test_a_json_line_gives_back_what_was_written(image: str, tmp_path: Path) -> None:
    written = example(image)
    line = written.to_json()
    assert "\n" not in line
    assert "\r" not in line
    (read,) = read_localizations(write_lines(tmp_path / "l.jsonl", line))
    assert fields(read) == fields(written)


def test_a_line_of_the_version_before_is_read_its_maps_by_class(tmp_path: Path) -> None:
    (read,) = read_localizations(write_lines(tmp_path / "l.jsonl", OLD_LINE))
    assert (read.image, read.width, read.height, read.status, read.reason) == ("pictures/0.png", 72, 42, "ok", "")
    assert [(o.label, o.class_id, o.score) for o in read.objects] == [("emu", 2, 0.398962), ("dog", 1, 0.307805)]
    assert read.objects[0].box == (0.0, 0.0, 72.0, 42.0)
    emu = [[122, 123, 127, 184], [186, 251, 255, 120], [146, 92, 67, 110], [55, 71, 28, 0]]
    assert read.maps.keys() == {1, 2}
    assert read.maps[2].levels.tolist() == emu
    assert read.maps[1].levels.max() == 255
    assert (read.threshold, read.objectness) == (None, None)
    # The range is unknown; boxes do not depend on it.
    assert (read.maps[2].low, read.maps[2].high) == (0.0, 1.0)
    # Written again it is a line of the current version.
    (again,) = read_localizations(write_lines(tmp_path / "again.jsonl", read.to_json()))
    assert json.loads(read.to_json())["version"] == 2
    assert fields(again) == fields(read)


def test_a_line_holds_the_map_of_a_class_once_however_many_objects_it_has() -> None:
    line = json.loads(example().to_json())
    assert [sorted(written) for written in line["objects"]] == [["box", "class_id", "label", "score"]] * 2
    assert line["maps"] == {"3": {"low": -1 / 3, "high": 0.75, "grid": [2, 3], "uint8": "AAf/AYAJ"}}


@given(
    image=st.text(st.characters(exclude_categories=["Cs"])), reason=st.text(st.characters(exclude_categories=["Cs"]))
)
def test_any_text_survives_the_json_line(image: str, reason: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    written = Localization(image=image, width=0, height=0, status="bad_image", reason=reason, objects=())
    path = write_lines(tmp_path_factory.mktemp("lines") / "l.jsonl", written.to_json(), written.to_json())
    assert [fields(read) for read in read_localizations(path)] == [fields(written)] * 2


def test_a_line_keeps_six_decimals_of_a_score_and_four_of_an_edge() -> None:
    obj = LocalizedObject(label="a", class_id=0, score=1 / 3, box=(1 / 3, 0.0, 2 / 3, 5.0))
    line = Localization(image="a", width=7, height=5, status="ok", reason="", objects=(obj,)).to_json()
    (written,) = json.loads(line)["objects"]
    assert written["score"] == 0.333333
    assert written["box"] == [0.3333, 0.0, 0.6667, 5.0]


def broken(**changes: object) -> str:
    return json.dumps({**json.loads(example().to_json()), **changes})


def broken_object(**changes: object) -> str:
    (obj, _) = json.loads(example().to_json())["objects"]
    return broken(objects=[{**obj, **changes}])


def broken_map(**changes: object) -> str:
    stored = json.loads(example().to_json())["maps"]["3"]
    return broken(maps={"3": {**stored, **changes}})


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        example().to_json()[:-40],
        "[]",
        "3",
        "null",
        "{}",
        broken(status="fine"),
        broken(width="wide"),
        broken(objects=5),
        broken(objects=[5]),
        broken_object(box=[1, 2, 3]),
        broken_object(score=None),
        broken_object(score=float("nan")),
        broken(maps=5),
        broken(maps=[1]),
        broken(maps={"fox": json.loads(example().to_json())["maps"]["3"]}),
        broken(maps={"3": {"grid": [2, 3], "uint8": "AAAAAAAA"}}),
        broken_map(uint8="AAAA"),
        broken_map(uint8="no base64!"),
        broken_map(grid=[6]),
        broken_map(low=float("nan")),
        broken(version=3),
        broken(version=1),
        OLD_LINE.replace("ent/uLr7/3iSXENuN0ccAA==", "ent/"),
    ],
)
def test_a_broken_line_is_named_by_its_number(line: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "l.jsonl", example().to_json(), line)
    reading = read_localizations(path)
    next(reading)
    with pytest.raises(DataError, match=r"l\.jsonl:2: not a localization") as caught:
        next(reading)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"l\.jsonl: cannot be read"):
        list(read_localizations(tmp_path / "l.jsonl"))


def test_a_known_map_is_spread_over_the_eight_bits() -> None:
    raw = np.array([[-1.0, 0.0, 1.0], [-0.5, 0.5, 0.25]])
    assert grid_map(raw).tolist() == [[0, 128, 255], [64, 191, 159]]


def test_a_stored_map_gives_back_the_raw_map_within_half_a_level() -> None:
    raw = np.random.default_rng(3).normal(5.0, 2.0, size=(7, 4)).astype(np.float32)
    stored = StoredMap.from_raw(raw)
    half_a_level = (raw.max() - raw.min()) / 255 / 2
    assert np.abs(stored.to_raw() - raw).max() <= half_a_level * 1.001
    assert (stored.to_raw().min(), stored.to_raw().max()) == (raw.min(), raw.max())


def test_a_flat_raw_map_is_stored_flat_and_one_that_is_not_finite_as_zeros() -> None:
    assert StoredMap.from_raw(np.full((2, 3), 7.5)).to_raw().tolist() == [[7.5] * 3] * 2
    for value in (np.nan, np.inf):
        stored = StoredMap.from_raw(np.array([[0.0, value], [1.0, 2.0]]))
        assert (stored.levels.max(), stored.low, stored.high) == (0, 0.0, 0.0)


@pytest.mark.parametrize("level", [-3.0, 0.0, 1e-9, 7.5])
def test_a_flat_map_becomes_zeros(level: float) -> None:
    assert grid_map(np.full((2, 3), level)).tolist() == [[0, 0, 0], [0, 0, 0]]


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=6, max_size=6))
def test_a_grid_map_keeps_the_order_of_the_raw_map_and_uses_the_whole_range(values: list[float]) -> None:
    raw = np.array(values).reshape(2, 3)
    levels = grid_map(raw).ravel()[np.argsort(values)].astype(int)
    assert (np.diff(levels) >= 0).all()
    assert (levels[0], levels[-1]) == ((0, 255) if raw.max() > raw.min() else (0, 0))
