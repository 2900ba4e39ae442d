"""The progress bar fits its terminal, and scores of an oracle are called so."""

import io

import pytest
from rich.console import Console

from tscam.cli.terminal import _bar, _describe_bar, _describe_epoch
from tscam.training.run.progress import EpochRow, Progress

ROW = EpochRow(
    epoch=99, train_loss=1.25, learning_rate=1e-4, split="test", top1_cls=81.25, top1_loc=60.0, gt_known_loc=75.5
)


def progress(*, selection: str = "last epoch", row: EpochRow | None = None) -> Progress:
    return Progress(
        epoch=100, epochs=300, step=40, steps=5005, loss=12.3456, learning_rate=1.25e-5, selection=selection,
        images_per_second=1234.5, seconds_left=360_000.0, waiting=0.0, best=ROW, row=row,
    )  # fmt: skip


@pytest.mark.parametrize("columns", [80, 120, 160])
def test_the_bar_of_a_long_training_fits_into_one_line(columns: int) -> None:
    shown = io.StringIO()
    bar = _bar()
    bar.add_task(_describe_bar(progress()), total=1_501_500, completed=495_535)
    Console(file=shown, width=columns).print(bar.get_renderable())
    (line,) = shown.getvalue().splitlines()
    assert line.startswith("epoch 100/300 loss 12.3456 1234.5 images/s ")
    assert " 495535/1501500 " in line
    assert "━━━" in line
    assert line.rstrip().endswith("-:--:--")  # The time left, which needs two steps.
    assert len(line) <= columns


def test_scores_on_the_test_split_that_chooses_the_epoch_are_called_oracle() -> None:
    scores = "top-1 cls 81.2 % top-1 loc 60.0 % GT-known loc 75.5 % (best so far)"
    oracle = progress(selection="oracle (epoch of best gt_known_loc on split 'test')", row=ROW)
    assert _describe_epoch(oracle) == f"epoch 100/300 done: loss 12.3456 test (oracle): {scores}"
    assert _describe_epoch(progress(row=ROW)) == f"epoch 100/300 done: loss 12.3456 test: {scores}"
