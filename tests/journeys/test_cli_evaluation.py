"""`tscam evaluate` and `tscam compare` end to end: protocols, thresholds, saved maps."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from command_line import Answer, Call, assert_refused
from data_sets import write_wsol
from tiny_models import save_ramps
from tscam.datasets import read_dataset
from tscam.evaluation.score_maps import map_path, read_map

BOXES = ("max-box-acc", "max-box-acc-v2")


def metrics(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return content


def numbers(answer: Answer) -> dict[str, dict[str, float]]:
    """Return the printed numbers in percent, by protocol and by the name beside them."""
    numbers_by_protocol: dict[str, dict[str, float]] = {}
    for block in answer.out.split("\n\n"):
        heading, *lines = block.splitlines()
        if not (named := re.match(r"protocol (\S+), threshold .+, \d+ pictures$", heading)):
            continue
        rows = [re.match(r" *(.+?) +(\d+\.\d\d) %  \[\d+\.\d\d, \d+\.\d\d\]$", line) for line in lines]
        numbers_by_protocol[named[1]] = {row[1]: float(row[2]) for row in rows if row}
    return numbers_by_protocol


def test_several_protocols_come_from_one_pass_each_with_its_threshold(
    studio: Path, tmp_path: Path, tscam: Call
) -> None:
    out = tmp_path / "out"
    answer = tscam(
        "evaluate", studio / "model", "--data", studio / "data", "--out", out,
        "--protocol", "ts-cam", "max-box-acc", "max-box-acc-v2", "realistic", "--workers", "1",
    )  # fmt: skip
    assert answer.code == 0, answer
    assert answer.last_line == str(out)
    assert answer.err == "evaluating 6/6\n"
    headings = [line for line in answer.out.splitlines() if line.startswith("protocol ")]
    assert [heading.split(",")[0] for heading in headings] == [
        "protocol ts-cam", "protocol max-box-acc", "protocol max-box-acc-v2", "protocol realistic",
    ]  # fmt: skip
    assert headings[0].endswith("threshold 0.1 (stored with the model), 6 pictures")
    assert headings[1].endswith("(best on the scored pictures, by definition), 6 pictures")
    assert headings[3].endswith("(best on 3 pictures of split 'val' with true boxes), 6 pictures")

    written, printed = metrics(out)["protocols"], numbers(answer)
    keys = {"top-1 loc": "top1_loc", "top-5 cls": "top5_cls", "GT-known loc": "gt_known_loc"}
    for name, protocol_metrics in printed.items():
        scores = written[name]["scores"]
        assert len(protocol_metrics) == len(scores)
        for row, value in protocol_metrics.items():
            assert value == round(scores[keys.get(row, row.replace("-", "").replace(" ", "_"))]["value"], 2)
    # No number stands outside a block that begins with a protocol and its threshold.
    assert answer.out.count(" %  [") == sum(map(len, printed.values())) == 5 + 1 + 4 + 5
    names = sorted(path.name for path in out.iterdir())
    assert names == [".lock", "metrics.json", "per_image.jsonl", "report.html", "run.json"]


def test_an_oracle_is_called_so_wherever_it_stands(studio: Path, tmp_path: Path, tscam: Call) -> None:
    out = tmp_path / "out"
    answer = tscam(
        "evaluate", studio / "model", "--data", studio / "data", "--out", out, "--threshold", "oracle",
        "--protocol", "ts-cam", "realistic",
    )  # fmt: skip
    assert answer.code == 0, answer
    headings = [line for line in answer.out.splitlines() if line.startswith("protocol ")]
    assert all("(ORACLE: best on the scored pictures themselves)" in heading for heading in headings)
    for protocol_metrics in metrics(out)["protocols"].values():
        assert protocol_metrics["threshold"]["policy"] == "oracle"
        assert protocol_metrics["threshold"]["explained"] == "ORACLE: best on the scored pictures themselves"
        best = max(protocol_metrics["curve"]["scores"]["gt_known_loc"])
        assert protocol_metrics["scores"]["gt_known_loc"]["value"] == best


@pytest.mark.parametrize(
    ("policy", "origin"),
    [
        ("0.35", "threshold 0.35 (given)"),
        ("model", "threshold 0.1 (stored with the model)"),
        ("otsu", "threshold of each map by itself (Otsu)"),
        ("percentile:80", "threshold of each map by itself (percentile of its pixels: 80)"),
        ("val", "(best on 3 pictures of split 'val' with true boxes)"),
        ("pseudo", "(best on 3 pictures of split 'val' with pseudo boxes)"),
    ],
)
def test_each_policy_is_named_beside_its_numbers(
    studio: Path, tmp_path: Path, tscam: Call, policy: str, origin: str
) -> None:
    out = tmp_path / "out"
    answer = tscam("evaluate", studio / "model", "--data", studio / "data", "--out", out, "--threshold", policy)
    assert answer.code == 0, answer
    heading = answer.out.splitlines()[0]
    assert heading.startswith("protocol ts-cam, threshold ")
    assert origin in heading
    assert metrics(out)["protocols"]["ts-cam"]["threshold"]["policy"] == policy


def test_saved_maps_score_as_the_model_that_made_them_on_what_was_written_beside_them(
    studio: Path, tmp_path: Path, tscam: Call
) -> None:
    made, again, apart = (tmp_path / name for name in ("made", "again", "apart"))
    answer = tscam(
        "evaluate", studio / "model", "--data", studio / "data", "--out", made, "--protocol", *BOXES, "--save-maps"
    )
    assert answer.code == 0, answer
    assert sorted(path.name for path in made.iterdir()) == [
        ".lock", "metadata", "metrics.json", "per_image.jsonl", "report.html", "run.json", "scoremaps",
    ]  # fmt: skip
    for image_id in read_dataset(studio / "data").image_ids:
        assert read_map(map_path(made / "scoremaps", image_id)).shape == (224, 224)
    # Of the same data, and of the metadata that were written: no picture is there to look at.
    for data, out in ((studio / "data", again), (made, apart)):
        answer = tscam(
            "evaluate", "--maps", made / "scoremaps", "--data", data, "--dataset", "wsol", "--out", out,
            "--protocol", *BOXES,
        )  # fmt: skip
        assert answer.code == 0, answer
        for name in BOXES:
            ours, theirs = metrics(out)["protocols"][name], metrics(made)["protocols"][name]
            assert ours == theirs
        assert (out / "per_image.jsonl").read_text().count("\n") == 6


def test_saved_maps_give_the_same_px_ap(studio: Path, tmp_path: Path, tscam: Call) -> None:
    made, again, apart = (tmp_path / name for name in ("made", "again", "apart"))
    arguments = ("--protocol", "pxap", "--threshold", "0.3")
    answer = tscam("evaluate", studio / "model", "--data", studio / "masked", "--out", made, "--save-maps", *arguments)
    assert answer.code == 0, answer
    answer = tscam("evaluate", "--maps", made / "scoremaps", "--data", studio / "masked", "--out", again, *arguments)
    assert answer.code == 0, answer
    assert metrics(again)["protocols"] == metrics(made)["protocols"]
    assert numbers(answer)["pxap"].keys() == {"PxAP", "mean IoU"}
    # The metadata name masks below dataset/<NAME>; with these beside them they are read, too.
    (made / "dataset").symlink_to(studio / "masked" / "dataset")
    (name,) = (path.name for path in (made / "metadata").iterdir())
    if name != "OpenImages":
        (made / "metadata" / name).rename(made / "metadata" / "OpenImages")
    answer = tscam(
        "evaluate", "--maps", made / "scoremaps", "--data", made, "--dataset", "wsol", "--out", apart, *arguments
    )
    assert answer.code == 0, answer
    assert metrics(apart)["protocols"] == metrics(made)["protocols"]


def test_thresholds_are_chosen_on_masks_where_there_are_no_boxes(studio: Path, tmp_path: Path, tscam: Call) -> None:
    answer = tscam(
        "evaluate", "--maps", studio / "masked maps", "--data", studio / "masked", "--out", tmp_path / "out",
        "--protocol", "pxap", "--threshold", "val",
    )  # fmt: skip
    assert answer.code == 0, answer
    assert "(best on 3 pictures of split 'val' with true masks), 6 pictures" in answer.out


def test_missing_maps_are_listed_and_count_as_wrong_where_that_is_allowed(tmp_path: Path, tscam: Call) -> None:
    data, maps, out = tmp_path / "data", tmp_path / "maps", tmp_path / "out"
    write_wsol(data)
    save_ramps(data, maps, "test")
    ids = read_dataset(data).image_ids
    map_path(maps, ids[0]).unlink()
    map_path(maps, ids[3]).unlink()
    localization = data / "metadata" / "CUB" / "test" / "localization.txt"
    lines = localization.read_text().splitlines()
    localization.write_text("\n".join(line for line in lines if not line.startswith((ids[1], ids[3]))))

    arguments = ("evaluate", "--maps", maps, "--data", data, "--out", out, "--protocol", "max-box-acc")
    refused = tscam(*arguments)
    assert_refused(refused, f"2 of 6 pictures have no map ({ids[0]!r}, {ids[3]!r}); add them, or count them as wrong")
    assert not out.exists()

    answer = tscam(*arguments, "--allow-missing")
    assert answer.code == 0, answer
    assert f"2 pictures count as wrong without being judged: {out}/missing.csv" in answer.out
    assert "split 'test': 4 of 6 pictures have an object" in answer.out
    with (out / "missing.csv").open(newline="") as file:
        rows = {row["image"]: row["reason"] for row in csv.DictReader(file)}
    assert rows == {ids[0]: "no map", ids[3]: "no map"}
    lines = (out / "per_image.jsonl").read_text().splitlines()
    judged = {(line := json.loads(text))["image"]: line for text in lines}
    assert [judged[image]["protocols"]["max-box-acc"]["max_box_acc"] for image in rows] == [0, None]
    assert {image: line["fault"] for image, line in judged.items() if line["fault"]} == rows
    protocol_metrics = metrics(out)["protocols"]["max-box-acc"]
    hits = sum(line["protocols"]["max-box-acc"]["max_box_acc"] or 0 for line in judged.values())
    assert protocol_metrics["pictures"] == 4
    assert protocol_metrics["scores"]["max_box_acc"]["value"] == pytest.approx(100 * hits / 4)
    assert metrics(out)["not_judged"] == 2


def test_a_single_layer_or_head_can_be_named_even_the_first_two(studio: Path, tmp_path: Path, tscam: Call) -> None:
    for number in (0, 1):
        options = json.dumps({"layers": [number], "heads": [0]})
        out = tmp_path / str(number)
        answer = tscam(
            "evaluate", studio / "model", "--data", studio / "data", "--out", out, "--method", "attention",
            "--method-args", options,
        )  # fmt: skip
        assert answer.code == 0, answer
        assert metrics(out)["method_args"] == {"layers": [number], "heads": [0]}


def test_two_evaluations_are_compared(studio: Path, tmp_path: Path, tscam: Call) -> None:
    for name, threshold in (("one", "0.1"), ("two", "0.6")):
        answer = tscam(
            "evaluate", studio / "model", "--data", studio / "data", "--out", tmp_path / name, "--threshold", threshold,
            "--protocol", "ts-cam", "max-box-acc",
        )  # fmt: skip
        assert answer.code == 0, answer
    answer = tscam("compare", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "compared.json")
    assert answer.code == 0, answer
    assert answer.last_line == str(tmp_path / "compared.json")
    written = json.loads((tmp_path / "compared.json").read_text())
    assert written["pictures"] == 6
    rows = {(row["protocol"], row["measure"]): row for row in written["measures"]}
    assert len(rows) == 6
    for (protocol, measure), row in rows.items():
        for side, name in (("first", "one"), ("second", "two")):
            score = metrics(tmp_path / name)["protocols"][protocol]["scores"][measure]["value"]
            assert row[side] == pytest.approx(score)
        assert row["difference"]["value"] == pytest.approx(row["second"] - row["first"])
    assert rows["max-box-acc", "max_box_acc"]["difference"] == {"value": 0, "low": 0, "high": 0, "p": 1}
    assert answer.out.count("\n") == 2 * (1 + 3) + 2 + 1 + 6 + 1


def test_evaluations_of_other_pictures_are_not_compared(studio: Path, tmp_path: Path, tscam: Call) -> None:
    for split in ("val", "test"):
        answer = tscam(
            "evaluate", "--maps", studio / "maps", "--data", studio / "data", "--out", tmp_path / split,
            "--protocol", "max-box-acc", "--split", split,
        )  # fmt: skip
        assert answer.code == 0, answer
    answer = tscam("compare", tmp_path / "val", tmp_path / "test", "--out", tmp_path / "compared.json")
    assert_refused(answer, "has 3 pictures, ")
    assert not (tmp_path / "compared.json").exists()
    assert_refused(tscam("compare", tmp_path / "val", studio), f"{studio}: not the result of an evaluation (")
