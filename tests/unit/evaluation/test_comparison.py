"""Two evaluations are compared picture by picture, if they have equal pictures and equal rules."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tscam.errors import DataError, OutputError
from tscam.metrics.statistics import difference, mean_scores
from tscam.verbs.compare import compare

SETTINGS = {"name": "ts-cam", "view": None, "ious": [0.5]}

IMAGES = tuple(f"cat/{number}.png" for number in range(12))


def evaluation(
    folder: Path,
    columns: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    images: Sequence[str] = IMAGES,
    settings: Mapping[str, object] = SETTINGS,
    label: int = 3,
) -> Path:
    """Write the files of an evaluation that `compare` reads, with columns by protocol and measure."""
    folder.mkdir(parents=True)
    threshold = {"policy": "oracle", "explained": "ORACLE: best on them", "values": {"gt_known_loc": 0.3}}
    metrics = {
        "method": "cam",
        "protocols": {name: {"settings": dict(settings), "threshold": threshold} for name in columns},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    lines = []
    for index, image in enumerate(images):
        scores_by_protocol = {
            name: {"iou": 0.9, "box": [0, 0, 1, 1], "outcome": "right"}
            | {measure: values[index] for measure, values in measures.items()}
            for name, measures in columns.items()
        }
        lines.append(
            json.dumps({"image": image, "label": label, "truths": [[1, 2, 3, 4]], "protocols": scores_by_protocol})
        )
    (folder / "per_image.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


ONE = [1.0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
TWO = [1.0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two evaluations; the second one gains six pictures and loses one."""
    return (
        evaluation(tmp_path / "one", {"ts-cam": {"gt_known_loc": ONE, "top1_loc": ONE}}),
        evaluation(tmp_path / "two", {"ts-cam": {"gt_known_loc": TWO}}),
    )


def test_the_difference_is_the_second_minus_the_first_by_hand(pair: tuple[Path, Path]) -> None:
    comparison = compare(*pair)
    assert (comparison.first, comparison.second, comparison.pictures) == (*pair, 12)
    (row,) = comparison.measures  # A measure that only one of them has is not compared.
    assert (row.protocol, row.measure) == ("ts-cam", "gt_known_loc")
    assert (row.first, row.second) == pytest.approx((500 / 12, 1000 / 12))
    assert row.difference.value == pytest.approx(500 / 12)
    assert row.difference.p == pytest.approx(2 * (1 + 7) / 2**7)  # 1 lost, 6 won
    change = np.array(TWO) - np.array(ONE)
    (score,) = mean_scores(change[:, None])
    assert (row.difference.low, row.difference.high) == (score.low, score.high)


def test_fractions_have_an_interval_and_no_test(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    columns = {name: random.random(12).tolist() for name in ("one", "two")}
    folders = [
        evaluation(tmp_path / name, {"pxap": {"mean_iou": columns[name]}, "v2": {"max_box_acc_v2": columns[name]}})
        for name in columns
    ]
    for row in compare(*folders).measures:
        assert row.difference.p is None
        expected = difference(np.array(columns["one"]), np.array(columns["two"]), is_hit=False)
        assert row.difference == expected
    assert compare(*folders).describe().count(" –") == 2


def test_the_table_has_each_number_with_its_protocol(pair: tuple[Path, Path]) -> None:
    lines = compare(*pair).describe().splitlines()
    about = ["        method cam", "        ts-cam: threshold 0.3 (ORACLE: best on them)"]
    assert lines[:8] == [f"first:  {pair[0]}", *about, f"second: {pair[1]}", *about, "12 pictures, in %", ""]
    assert lines[8].split() == [
        "protocol",
        "measure",
        "first",
        "second",
        "second",
        "-",
        "first",
        "95",
        "%",
        "interval",
        "p",
    ]
    assert lines[9].split()[:5] == ["ts-cam", "gt_known_loc", "41.67", "83.33", "+41.67"]
    assert lines[9].endswith("0.1250")
    assert len(lines) == 10


def test_a_p_below_one_in_ten_thousand_is_printed_as_a_bound(tmp_path: Path) -> None:
    images = [f"{number}.png" for number in range(40)]
    one = evaluation(tmp_path / "one", {"ts-cam": {"gt_known_loc": [0] * 40}}, images=images)
    two = evaluation(tmp_path / "two", {"ts-cam": {"gt_known_loc": [1] * 40}}, images=images)
    assert compare(one, two).describe().endswith("  [+100.00, +100.00]  < 0.0001")


def test_an_evaluation_does_not_differ_from_itself(pair: tuple[Path, Path]) -> None:
    for row in compare(pair[0], pair[0]).measures:
        assert (row.difference.value, row.difference.low, row.difference.high, row.difference.p) == (0, 0, 0, 1)


def test_a_run_folder_stands_for_its_test(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    pair[0].rename(tmp_path / "run" / "test")
    comparison = compare(tmp_path / "run", pair[1])
    assert comparison.first == tmp_path / "run" / "test"
    assert comparison.measures[0].difference.value == pytest.approx(500 / 12)


def test_the_result_is_written_as_json(pair: tuple[Path, Path], tmp_path: Path) -> None:
    comparison = compare(*pair, out=tmp_path / "result.json")
    written = json.loads((tmp_path / "result.json").read_text())
    row = comparison.measures[0]
    assert written == {
        "first": str(pair[0]),
        "second": str(pair[1]),
        "about_first": list(comparison.about[0]),
        "about_second": list(comparison.about[1]),
        "pictures": 12,
        "measures": [
            {
                "protocol": "ts-cam",
                "measure": "gt_known_loc",
                "first": row.first,
                "second": row.second,
                "difference": vars(row.difference),
            }
        ],
    }


def test_a_result_replaces_no_file(pair: tuple[Path, Path]) -> None:
    metrics = pair[0] / "metrics.json"
    before = metrics.read_bytes()
    with pytest.raises(OutputError, match=r"metrics\.json: a file of this name exists; choose another"):
        compare(*pair, out=metrics)
    assert metrics.read_bytes() == before


def refused(one: Path, two: Path, message: str) -> None:
    with pytest.raises(DataError) as caught:
        compare(one, two, out=one.parent / "result.json")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (one.parent / "result.json").exists()


@pytest.mark.parametrize(
    "images", [(*IMAGES[:11], "cat/99.png"), IMAGES[::-1]], ids=["another picture", "another order"]
)
def test_other_pictures_are_refused(pair: tuple[Path, Path], tmp_path: Path, images: Sequence[str]) -> None:
    other = evaluation(tmp_path / "other", {"ts-cam": {"gt_known_loc": TWO}}, images=images)
    refused(pair[0], other, "has 12 pictures, ")
    refused(pair[0], other, "12, not the same in the same order; evaluate both on one split")


def test_fewer_pictures_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = evaluation(tmp_path / "other", {"ts-cam": {"gt_known_loc": TWO}}, images=IMAGES[:7])
    refused(pair[0], other, f"{pair[0]} has 12 pictures, {other} 7, not the same in the same order")


def test_one_protocol_with_different_rules_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = evaluation(tmp_path / "other", {"ts-cam": {"gt_known_loc": TWO}}, settings={**SETTINGS, "ious": [0.7]})
    refused(
        pair[0], other, "protocol 'ts-cam': ious is [0.5] in one and [0.7] in the other; evaluate both with one ver"
    )
    more = evaluation(tmp_path / "more", {"ts-cam": {"gt_known_loc": TWO}}, settings={**SETTINGS, "clip": True})
    refused(pair[0], more, "protocol 'ts-cam': clip is None in one and True in the other")


def test_no_protocol_in_common_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = evaluation(tmp_path / "other", {"pxap": {"mean_iou": TWO}})
    refused(pair[0], other, f"{pair[0]} and {other} share no protocol (ts-cam and pxap); evaluate both under one")


def test_a_folder_that_is_no_evaluation_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(pair[0], tmp_path / "empty", "empty: not the result of an evaluation (FileNotFoundError")
    refused(pair[0], tmp_path / "nowhere", "nowhere: not the result of an evaluation (FileNotFoundError")
    for number, content in enumerate(('{"gt_known_loc": 3}', "[1]", "{", '{"protocols": {"ts-cam": 3}}', '"text"')):
        folder = tmp_path / f"broken {number}"
        folder.mkdir()
        (folder / "metrics.json").write_text(content)
        refused(folder, pair[0], f"broken {number}: not the result of an evaluation (")


LINES = {
    "cut off": '{"image": "cat/2.png", "proto',
    "no protocols": '{"image": "cat/2.png"}',
    "another protocol": '{"image": "cat/2.png", "protocols": {"pxap": {"mean_iou": 1}}}',
    "no number": '{"image": "cat/2.png", "protocols": {"ts-cam": {"gt_known_loc": "much"}}}',
    "null": '{"image": "cat/2.png", "protocols": {"ts-cam": {"gt_known_loc": null}}}',
    "a measure is missing": '{"image": "cat/2.png", "protocols": {"ts-cam": {"iou": 0.3}}}',
    "a list": "[1, 2]",
    "empty": "",
}


@pytest.mark.parametrize("fault", LINES)
def test_a_broken_line_is_named_by_its_number(pair: tuple[Path, Path], fault: str) -> None:
    path = pair[1] / "per_image.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = LINES[fault]
    path.write_text("\n".join(lines))
    refused(*pair, f"{path}:3: not a judged picture (")


def test_bytes_that_are_no_text_are_named(pair: tuple[Path, Path]) -> None:
    path = pair[1] / "per_image.jsonl"
    path.write_bytes(b"\xff\xfe" + path.read_bytes())
    refused(*pair, f"{path}:1: not a judged picture (UnicodeDecodeError")


def test_an_evaluation_without_pictures_is_refused(pair: tuple[Path, Path]) -> None:
    path = pair[1] / "per_image.jsonl"
    path.write_text("")
    refused(*pair, f"{path}: no pictures in this file; evaluate again")
    path.unlink()
    refused(*pair, f"{path}: no such file; evaluate again")


def test_other_classes_or_boxes_of_a_picture_are_refused_by_its_name(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = evaluation(tmp_path / "other", {"ts-cam": {"gt_known_loc": TWO}}, label=4)
    refused(pair[0], other, f"cat/0.png: class or true boxes differ between {pair[0]} and {other}; evaluate")


@pytest.mark.parametrize("value", ["NaN", "0.5", "7e300", "-1", "2"])
def test_a_hit_that_is_neither_0_nor_1_is_refused(pair: tuple[Path, Path], value: str) -> None:
    path = pair[1] / "per_image.jsonl"
    path.write_text(path.read_text().replace('"gt_known_loc": 1.0', f'"gt_known_loc": {value}'))
    refused(*pair, "not a judged picture (ValueError: gt_known_loc is ")


def test_an_evaluation_of_an_earlier_version_and_a_deeply_nested_one_are_refused(pair: tuple[Path, Path]) -> None:
    metrics = pair[1] / "metrics.json"
    metrics.write_text('{"protocol": "ts-cam", "gt_known_loc": 3}')
    refused(*pair, "written by an earlier version, with one protocol; evaluate again")
    metrics.write_text("[" * 100_000)
    refused(*pair, "not the result of an evaluation (RecursionError")
