"""The curves and the summary of a run state its scores, their protocol, and how the epoch was chosen."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tscam.errors import OutputError, TrainingError
from tscam.system.writing import write_csv, write_json
from tscam.training.run.progress import EpochRow
from tscam.training.run.run_results import describe_run, draw_results

VAL = "val (epoch of best gt_known_loc on 42 pictures held out of 'train')"
ORACLE = "oracle (epoch of best gt_known_loc on split 'test')"


def row(epoch: int, gt_known: float | None, *, top1: float | None = 50.0, threshold: float = 0.2) -> EpochRow:
    return EpochRow(
        epoch=epoch, train_loss=4.0 / epoch, learning_rate=1e-4, split=None if top1 is None else "val", top1_cls=top1,
        top1_loc=None if gt_known is None else gt_known / 2, gt_known_loc=gt_known,
        threshold=None if gt_known is None else threshold,
    )  # fmt: skip


def without_scores(epochs: int) -> list[EpochRow]:
    return [EpochRow(epoch=epoch, train_loss=2.5 / epoch, learning_rate=1e-3) for epoch in range(1, epochs + 1)]


def finished_run(run: Path, rows: Sequence[EpochRow], *, selection: str = VAL, test: object = None) -> Path:
    """A run folder with the files that are read."""
    names = [column.name for column in fields(EpochRow)]
    write_csv(run / "metrics.csv", names, [[getattr(row, name) for name in names] for row in rows])
    write_json(run / "run.json", {"seed": 26, "selection": selection})
    (run / "weights" / "best").mkdir(parents=True)
    (run / "results.png").write_bytes(b"")
    if isinstance(test, dict):
        write_json(run / "test" / "metrics.json", test)
    return run


def table(text: str) -> list[list[str]]:
    """The cells of the table below its heading."""
    block = text.split("\n\n")[1]
    return [line.split() for line in block.splitlines()[1:]]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return picture.size


def drawn(path: Path, rows: Sequence[EpochRow], *, selection: str = VAL) -> np.ndarray:
    draw_results(path, rows, selection=selection)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def has_colour(pixels: np.ndarray, colour: str) -> bool:
    rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return bool((pixels == rgb).all(axis=-1).any())


def test_scores_stand_above_loss_and_rate_and_a_changing_threshold_has_the_fourth_plot(tmp_path: Path) -> None:
    path = tmp_path / "results.png"
    pink, blue, orange, green = "#CC79A7", "#0072B2", "#D55E00", "#009E73"
    pixels = drawn(path, [row(1, 20.0), row(2, 60.0)])
    assert [has_colour(pixels, colour) for colour in (blue, orange, green, pink)] == [True, True, True, False]
    pixels = drawn(path, [row(1, 20.0), row(2, 60.0, threshold=0.3)])
    assert [has_colour(pixels, colour) for colour in (blue, orange, green, pink)] == [True] * 4


def test_without_boxes_only_accuracy_is_drawn_and_without_scores_half_the_height(tmp_path: Path) -> None:
    path = tmp_path / "results.png"
    pixels = drawn(path, [row(1, None), row(2, None, top1=80.0)], selection="val (epoch of best top1_cls on 'val')")
    assert [has_colour(pixels, colour) for colour in ("#0072B2", "#D55E00", "#009E73")] == [True, False, False]
    whole = size_of(path)
    drawn(path, without_scores(7), selection="last epoch")
    assert size_of(path)[0] == whole[0]
    assert size_of(path)[1] < 0.6 * whole[1]


@pytest.mark.parametrize("rows", [[row(1, 0.0)], without_scores(1), [row(epoch, epoch / 4) for epoch in range(1, 301)]])
def test_one_epoch_and_three_hundred_have_the_same_width(tmp_path: Path, rows: list[EpochRow]) -> None:
    draw_results(tmp_path / "results.png", rows, selection=VAL)
    assert size_of(tmp_path / "results.png")[0] == 1792


def test_the_heading_of_an_oracle_has_another_colour(tmp_path: Path) -> None:
    rows = without_scores(3)  # Nothing else is orange.
    assert has_colour(drawn(tmp_path / "a.png", rows, selection=ORACLE), "#D55E00")
    assert not has_colour(drawn(tmp_path / "b.png", rows, selection=VAL), "#D55E00")


def test_the_same_rows_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_results(tmp_path / name, [row(1, 20.0), row(2, 60.0)], selection=VAL)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_curves_that_cannot_be_written_are_one_line_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "results.png").mkdir()
    with pytest.raises(OutputError, match=r"results\.png: cannot be written \(IsADirectoryError: .*\); free space, or"):
        draw_results(tmp_path / "results.png", [row(1, 20.0)], selection=VAL)
    assert [path.name for path in tmp_path.iterdir()] == ["results.png"]


def test_the_best_epoch_is_the_first_of_equal_ones_and_stands_above_the_last(tmp_path: Path) -> None:
    rows = [row(1, 20.0), row(2, 61.125, threshold=0.28), row(3, 61.125), row(4, 30.0, top1=70.0)]
    text = describe_run(finished_run(tmp_path / "run", rows))
    lines = text.splitlines()
    assert lines[:2] == ["protocol ts-cam, scores in %", f"selection of the best epoch: {VAL}"]
    assert " ".join(lines[3].split()) == "weights epoch loss split top-1 cls top-1 loc GT-known threshold"
    assert table(text) == [
        ["best", "2", "2.0000", "val", "50.00", "30.56", "61.12", "0.28"],
        ["last", "4", "1.0000", "val", "70.00", "15.00", "30.00", "0.2"],
    ]
    assert lines[-2:] == [f"best weights {tmp_path}/run/weights/best", f"curves       {tmp_path}/run/results.png"]


def test_the_test_split_has_its_own_row(tmp_path: Path) -> None:
    scores = {"top1_cls": 91.0, "top5_cls": 99.0, "top1_loc": 80.5, "gt_known_loc": 87.25}
    tested = {
        "scores": {name: {"value": value, "low": 0.0, "high": 100.0} for name, value in scores.items()},
        "threshold": {"policy": "model", "values": {"gt_known_loc": 0.18}},
    }
    test = {"split": "test", "pictures": 210, "protocols": {"ts-cam": tested}}
    run = finished_run(tmp_path / "run", [row(1, 20.0), row(2, 10.0)], selection=ORACLE, test=test)
    (run / "samples").mkdir()
    text = describe_run(run)
    assert table(text)[2] == ["best", "1", "–", "test", "91.00", "80.50", "87.25", "0.18"]
    assert text.startswith("protocol ts-cam")
    assert "oracle" in text.splitlines()[1]
    assert text.splitlines()[-1] == f"samples      {run}/samples"


def test_missing_scores_are_dashes(tmp_path: Path) -> None:
    test = {"split": "val", "top1_cls": 75.0}
    run = finished_run(tmp_path / "run", without_scores(3), selection="last epoch", test=test)
    assert table(describe_run(run)) == [
        ["best", "3", "0.8333", "–", "–", "–", "–", "–"],
        ["last", "3", "0.8333", "–", "–", "–", "–", "–"],
        ["best", "3", "–", "val", "75.00", "–", "–", "–"],
    ]


def test_columns_stand_under_their_names(tmp_path: Path) -> None:
    text = describe_run(finished_run(tmp_path / "run", [row(9, 5.0), row(10, 100.0)]))
    lines = text.split("\n\n")[1].splitlines()
    ends = {
        line.rindex(value) + len(value) for line, value in zip(lines, ("GT-known", "100.00", "100.00"), strict=True)
    }
    assert len(ends) == 1
    assert len({len(line) for line in lines}) == 1


def test_a_folder_without_a_complete_epoch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"not the folder of a run with an epoch done \(FileNotFoundError: "):
        describe_run(tmp_path)
    run = finished_run(tmp_path / "run", [])
    with pytest.raises(TrainingError, match="not the folder of a run with an epoch done"):
        describe_run(run)
    (run / "metrics.csv").write_text("epoch,train_loss\n1,half\n")
    with pytest.raises(TrainingError) as caught:
        describe_run(run)
    assert "\n" not in str(caught.value)
