"""A loss that is not a number: training stops before it changes weights, names step and pictures, and can resume."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from corruption import train_with_nan
from faults import command_line, in_child
from runs import EPOCHS, EVERY_STEP, Bench, go_on, outcome, recipe_of
from tiny_runs import splits_of
from tscam.config import TrainConfig
from tscam.errors import TrainingError
from tscam.training.pictures import EpochOrder


def pictures_of(config: TrainConfig, *, epoch: int, step: int) -> list[str]:
    """Names of the pictures of a step."""
    training = splits_of(config).training
    order = EpochOrder(len(training), batch_size=config.batch_size, seed=config.seed)
    order.epoch = epoch
    return [training.image_ids[index] for index in list(order)[step - 1][1]]


def assert_all_finite(run: Path) -> None:
    files = list(run.rglob("*.safetensors"))
    assert files
    for path in files:
        assert all(tensor.isfinite().all() for tensor in load_file(path).values()), path


@pytest.mark.parametrize("save_minutes", [EVERY_STEP, EPOCHS])
@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (2, 2)])
def test_a_loss_of_nan_names_step_and_pictures_and_changes_no_weight(
    epoch: int, step: int, save_minutes: float, bench: Bench
) -> None:
    config = bench.run(save_minutes=save_minutes, ema=0.5)
    fault = in_child(train_with_nan, config, 3 * (epoch - 1) + step).error
    assert isinstance(fault, TrainingError)
    names = pictures_of(config, epoch=epoch, step=step)
    listed = config.out / "bad_batch.csv"
    assert str(fault).startswith(
        f"the loss is nan in epoch {epoch}, step {step} of 3, with the pictures {names[0]!r} and 3 more ({listed}); "
        "the last good state and weights are kept"
    )
    assert listed.read_text().splitlines() == ["image", *names]
    assert_all_finite(config.out)
    listed.unlink()
    assert go_on(config).result == config.out  # As after a fault of the machine.
    assert outcome(config.out) == bench.whole(save_minutes=save_minutes, ema=0.5).outcome


@pytest.mark.parametrize("workers", [0, 2])
def test_a_rate_that_is_far_too_high_is_one_line_with_a_way_out(workers: int, bench: Bench) -> None:
    config = bench.run(learning_rate=1e30, workers=workers)
    ended = in_child(command_line, "train", recipe_of(config))
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("tscam: the ")
    assert "in epoch 1, step 2 of 3, with " in ended.err
    assert "Lower --learning-rate" in ended.err
    assert_all_finite(config.out)
