"""A training run saves its results, repeats to the bit, learns, and stops before weights become NaN."""

import csv
import json
from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from checkpoints_of_others import dino_checkpoint
from data_sets import write_folder
from tiny_runs import TINY, losses, rows, same_bits, saved_facts, settings, tensors
from tscam.config import EvaluateConfig, TrainConfig
from tscam.datasets import read_dataset
from tscam.errors import ConfigError, DataError, OutputError, TrainingError
from tscam.model import create_model
from tscam.recipe import train_config
from tscam.system.resources import Precision
from tscam.training.pictures import EpochOrder
from tscam.training.run.progress import EpochRow, Progress
from tscam.verbs.evaluate import evaluate
from tscam.verbs.localize import load
from tscam.verbs.train import train


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """A run of two epochs on 12 pictures of three classes, whose best epoch is chosen on 6 of the test split."""
    write_folder(tmp_path / "data", splits={"train": 4, "test": 2})
    return settings(tmp_path / "data", tmp_path / "run", select="oracle")


def test_a_run_folder_contains_settings_a_row_an_epoch_both_weights_and_a_test(config: TrainConfig) -> None:
    run = train(replace(config, samples_every=1))
    assert run == config.out
    assert sorted(path.name for path in run.iterdir()) == [
        ".lock", "config.yaml", "metrics.csv", "results.png", "run.json", "samples", "state", "test", "weights",
    ]  # fmt: skip
    assert train_config(str(run / "config.yaml")) == replace(config, samples_every=1)
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["epoch-0001.jpg", "epoch-0002.jpg"]
    assert sorted(path.name for path in (run / "test").iterdir()) == ["metrics.json", "per_image.jsonl"]

    epochs = rows(run)
    assert list(epochs[0]) == [column.name for column in fields(EpochRow)]
    assert [row["epoch"] for row in epochs] == ["1", "2"]
    assert [float(row["learning_rate"]) for row in epochs] == pytest.approx([1e-3, 1e-4])
    for row in epochs:
        assert 0 < float(row["train_loss"]) < 3
        assert row["split"] == "test"
        assert float(row["threshold"]) == 0.1  # Only the epoch is chosen on the test split, not the threshold.
        assert float(row["top1_cls"]) in [pytest.approx(100 * right / 6) for right in range(7)]
        assert float(row["top1_loc"]) <= min(float(row["gt_known_loc"]) + 1e-9, float(row["top1_cls"]))

    record = json.loads((run / "run.json").read_text())
    assert record["seed"] == 26
    assert record["versions"]["torch"] == metadata.version("torch")
    assert record["selection"] == "oracle (epoch of best gt_known_loc on split 'test')"

    assert sorted(path.name for path in (run / "weights").iterdir()) == ["best", "last"]
    picture = config.data / "test" / "dog" / "dog_100_0.png"
    pictures = sorted((config.data / "test").rglob("*.png"))
    assert picture not in pictures  # The name of a picture is its class, split and number.
    for which in ("best", "last"):
        for localization in load(run / "weights" / which)(pictures):
            assert localization.status == "ok"
            assert localization.objects[0].label in ("cat", "dog", "emu")
            assert 1 / 3 <= localization.objects[0].score <= 1
    assert [localization.to_json() for localization in load(run)(pictures)] == [
        localization.to_json() for localization in load(run / "weights" / "best")(pictures)
    ]


def test_the_scores_of_an_epoch_are_those_of_evaluate(config: TrainConfig, tmp_path: Path) -> None:
    run = train(config)
    result = evaluate(run / "weights" / "last", EvaluateConfig(data=config.data, out=tmp_path / "scores"))
    oracle = "oracle (epoch of best gt_known_loc on split 'test')"
    assert result.describe().splitlines()[-1] == f"the model's epoch was chosen on the test split: {oracle}"
    for folder in (tmp_path / "scores", run / "test"):
        assert json.loads((folder / "metrics.json").read_text())["selection"] == oracle
    scores = result.results["ts-cam"].scores
    last = rows(run)[-1]
    for name in ("top1_cls", "top1_loc", "gt_known_loc"):
        assert float(last[name]) == pytest.approx(scores[name].value)


def test_the_test_of_a_run_is_the_evaluation_of_its_best_weights(config: TrainConfig, tmp_path: Path) -> None:
    run = train(replace(config, select="val", val_fraction=0.3))
    evaluate(run, EvaluateConfig(data=config.data, out=tmp_path / "scores", batch_size=config.batch_size))
    theirs = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    ours = json.loads((run / "test" / "metrics.json").read_text())
    chosen = ours["protocols"]["ts-cam"]["threshold"]["values"]["gt_known_loc"]
    assert chosen == saved_facts(run, "best")["threshold"]
    assert ours | {"model": None} == theirs | {"model": None}
    assert ours["selection"].startswith("val (epoch of best gt_known_loc on ")
    lines = [(folder / "per_image.jsonl").read_bytes() for folder in (run / "test", tmp_path / "scores")]
    assert lines[0] == lines[1]


def test_weights_state_that_their_epoch_was_chosen_on_the_test_split(config: TrainConfig) -> None:
    run = train(replace(config, epochs=4, learning_rate=3e-3))
    scores = [float(row["gt_known_loc"]) for row in rows(run)]
    best, last = saved_facts(run, "best")["metrics"], saved_facts(run, "last")["metrics"]
    for metrics in (best, last):
        assert metrics["protocol"] == "ts-cam"
        assert metrics["selection"] == "oracle (epoch of best gt_known_loc on split 'test')"
    assert (best["epoch"], best["gt_known_loc"]) == (1 + scores.index(max(scores)), max(scores))
    assert (last["epoch"], last["gt_known_loc"]) == (4, scores[-1])


def test_progress_is_reported_after_every_step_and_epoch(config: TrainConfig) -> None:
    reports: list[Progress] = []
    run = train(config, on_progress=reports.append)
    assert [(report.epoch, report.step, report.steps, report.row is None) for report in reports] == [
        (epoch, step, 3, unfinished)
        for epoch in (1, 2)
        for step, unfinished in ((1, True), (2, True), (3, True), (3, False))
    ]
    ends = [report for report in reports if report.row is not None]
    assert [report.loss for report in ends] == pytest.approx([float(row["train_loss"]) for row in rows(run)])
    assert reports[-1].seconds_left == 0
    assert max(report.epoch for report in ends if report.is_best) == saved_facts(run, "best")["metrics"]["epoch"]


def test_the_loss_of_an_epoch_is_the_mean_over_its_pictures_whatever_the_batch(
    config: TrainConfig, tmp_path: Path
) -> None:
    still = replace(config, learning_rate=1e-30, drop_path=0.0, epochs=1)
    means = [losses(train(replace(still, batch_size=size, out=tmp_path / f"run {size}")))[0] for size in (12, 5, 1)]
    assert means == pytest.approx([means[0]] * 3, rel=1e-5)


def test_every_epoch_sees_other_crops_and_flips(config: TrainConfig) -> None:
    still = replace(config, learning_rate=1e-30, drop_path=0.0, epochs=3, batch_size=12)
    assert len({round(loss, 5) for loss in losses(train(still))}) == 3  # Only the views can differ.


def test_the_same_seed_gives_the_same_bits_with_any_number_of_workers(config: TrainConfig, tmp_path: Path) -> None:
    three = replace(config, epochs=3)
    alone = train(three)
    helped = train(replace(three, workers=2, out=tmp_path / "helped"))
    other = train(replace(three, seed=27, out=tmp_path / "other"))
    assert same_bits(alone, helped)
    assert not same_bits(alone, other)
    assert rows(alone) == rows(helped)


def test_without_boxes_the_epoch_of_best_accuracy_is_the_best(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"train": 4, "test": 3}, boxes=None)
    run = train(settings(tmp_path / "data", tmp_path / "run", select="oracle", epochs=4, learning_rate=3e-3))
    scores = [float(row["top1_cls"]) for row in rows(run)]
    assert all((row["top1_loc"], row["gt_known_loc"]) == ("", "") for row in rows(run))
    best = saved_facts(run, "best")["metrics"]
    assert (best["epoch"], best["top1_cls"]) == (1 + scores.index(max(scores)), max(scores))
    assert best["selection"] == "oracle (epoch of best top1_cls on split 'test')"


def test_the_last_epoch_is_the_best_if_none_is_chosen(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    run = train(settings(tmp_path / "data", tmp_path / "run", select="last"))
    assert json.loads((run / "run.json").read_text())["selection"] == "last epoch"
    for which in ("best", "last"):
        metrics = saved_facts(run, which)["metrics"]
        assert (metrics["selection"], metrics["epoch"]) == ("last epoch", 2)
        assert metrics["top1_cls"] is None
    assert tensors(run, "best").keys() == tensors(run, "last").keys()
    assert all(torch.equal(tensor, tensors(run, "last")[name]) for name, tensor in tensors(run, "best").items())


@pytest.mark.parametrize(
    ("learning_rate", "batch_size", "message"),
    [
        (
            1e30,
            5,
            "the loss is nan in epoch 1, step 2 of 3, with the pictures 'train/.*' and 4 more .*Lower --learning-rate$",
        ),
        (1e30, 12, "the class scores are not finite in epoch 1 after step 1 of 1; .* Lower --learning-rate"),
        # Here the loss stays finite while its gradient does not, at times in the last step of an epoch.
        (10**4.5, 6, r"(the loss is nan|(weights|scores) are not finite) in epoch \d.* Lower --learning-rate"),
    ],
)
def test_weights_that_are_not_finite_are_never_saved(
    config: TrainConfig, learning_rate: float, batch_size: int, message: str
) -> None:
    wild = replace(config, learning_rate=learning_rate, batch_size=batch_size, learning_rate_steps=(9,), epochs=8)
    with pytest.raises(TrainingError, match=message) as stopped:
        train(wild)
    assert "\n" not in str(stopped.value)
    for path in config.out.rglob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(path).values()), path


def test_the_pictures_of_a_step_whose_loss_is_not_finite_are_listed(config: TrainConfig) -> None:
    with pytest.raises(
        TrainingError, match=f"with the pictures '(.*)' and 4 more \\({config.out / 'bad_batch.csv'}\\)"
    ) as refused:
        train(replace(config, learning_rate=1e30))
    with (config.out / "bad_batch.csv").open(newline="") as file:
        listed = [row["image"] for row in csv.DictReader(file)]
    assert listed[0] in str(refused.value)
    order = EpochOrder(12, batch_size=5, seed=config.seed)
    image_ids = read_dataset(config.data, split="train").image_ids
    assert listed == [image_ids[index] for index in list(order)[1][1]]


def test_half_precision_trains_like_fp32(config: TrainConfig, tmp_path: Path) -> None:
    steady = replace(config, drop_path=0.0)
    exact = train(steady)
    halves: tuple[Precision, ...] = ("bf16", "fp16")
    for precision in halves:
        rough = train(replace(steady, precision=precision, out=tmp_path / precision))
        assert losses(rough) == pytest.approx(losses(exact), rel=0.02)
        assert losses(rough) != losses(exact)
        assert all(tensor.dtype == torch.float32 for tensor in tensors(rough).values())
    again = train(replace(steady, out=tmp_path / "again"))
    assert same_bits(exact, again)  # A run in one precision does not affect the next run.


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_unreadable_picture_is_refused_before_anything_is_written(config: TrainConfig, split: str) -> None:
    path = min((config.data / split / "emu").iterdir())
    path.write_bytes(path.read_bytes()[:-200])
    named = rf"1 of \d+ pictures of the split '{split}' cannot be read: '{split}/emu/{path.stem}\.png' \(.*truncat"
    with pytest.raises(DataError, match=named):
        train(config)
    assert not config.out.exists()


def test_a_test_split_of_which_some_pictures_have_boxes_is_scored_on_these_and_that_is_said(
    config: TrainConfig,
) -> None:
    lines = (config.data / "boxes.csv").read_text().splitlines()
    (config.data / "boxes.csv").write_text("\n".join(line for line in lines if not line.startswith("test/dog/")))
    notes: list[str] = []
    run = train(replace(config, epochs=1), on_note=notes.append)
    assert [note.partition(";")[0] for note in notes if "have an object" in note] == [
        "split 'test': 4 of 6 pictures have an object"
    ]
    tested = json.loads((run / "test" / "metrics.json").read_text())
    scores = {name: score["value"] for name, score in tested["protocols"]["ts-cam"]["scores"].items()}
    assert scores["top1_cls"] == pytest.approx(float(rows(run)[0]["top1_cls"]))
    assert scores["gt_known_loc"] == pytest.approx(float(rows(run)[0]["gt_known_loc"]))
    assert tested["selection"] == "oracle (epoch of best gt_known_loc on split 'test')"
    assert (tested["pictures"], tested["protocols"]["ts-cam"]["pictures"]) == (6, 4)


def test_a_run_folder_with_files_is_refused_and_unchanged(config: TrainConfig) -> None:
    config.out.mkdir()
    (config.out / "metrics.csv").write_text("weeks of work")
    with pytest.raises(OutputError, match="not empty; choose another one, or empty it with --overwrite"):
        train(config)
    assert [path.name for path in config.out.iterdir()] == ["metrics.csv"]
    assert (config.out / "metrics.csv").read_text() == "weeks of work"
    run = train(replace(config, epochs=1, overwrite=True))
    assert len(rows(run)) == 1
    again = train_config(str(run / "config.yaml"))  # `overwrite` is not among its settings.
    with pytest.raises(OutputError, match="not empty"):
        train(again)
    assert len(rows(run)) == 1


def test_a_run_folder_with_an_impossible_name_is_refused(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"^out: a name of more than 255 bytes; choose a shorter one$"):
        train(replace(config, out=config.data / ("n" * 300)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 30}, "image size 30 is not a multiple of the patch, 8 pixels; take 24 or 32"),
        ({"method": "tscam"}, r"no method named 'tscam'; did you mean 'ts-cam'\?"),
        ({"backbone": "deit_smal_patch16_224"}, r"did you mean 'deit_small_patch16_224'\?"),
        ({"backbone_args": {"embed_dimm": 3}}, "does not take these arguments"),
        ({"device": "cuda:99"}, "no device 'cuda:99' here"),
        ({"dataset": "cubb"}, r"no dataset named 'cubb'; did you mean 'cub'\?"),
        ({"freeze_blocks": 3}, "freeze_blocks 3; expected at most 2, the backbone's blocks"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_written(
    config: TrainConfig, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(replace(config, **changes))  # type: ignore[arg-type]
    assert not config.out.exists()


def test_red_is_told_from_blue(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 3)):
        for name, channel in (("blue", 2), ("red", 0)):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 90, size=(40, 52, 3), dtype=np.uint8)
                pixels[..., channel] += 150
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{number}.png")
    changes = {"select": "oracle", "epochs": 6, "batch_size": 4, "learning_rate_steps": (9,)}
    epochs = rows(train(settings(tmp_path / "data", tmp_path / "run", **changes)))
    assert float(epochs[0]["train_loss"]) > 0.3
    assert float(epochs[-1]["train_loss"]) < 0.2
    assert float(epochs[-1]["top1_cls"]) == 100


def test_a_run_says_which_part_of_a_checkpoint_it_starts_from(config: TrainConfig, tmp_path: Path) -> None:
    model = create_model("vit_tiny_patch16_224", label_names=3, image_size=32, backbone_args=TINY)
    weights = {name: tensor for name, tensor in model.tensors().items() if not name.startswith("head.")}
    torch.save(dino_checkpoint(weights), tmp_path / "dino.pth")
    notes: list[str] = []
    train(replace(config, weights=str(tmp_path / "dino.pth"), epochs=1), on_note=notes.append)
    (note,) = [note for note in notes if "dino.pth" in note]
    assert "dino.pth: weights of 'teacher.backbone'; left out: student, teacher.head, optimizer" in note
