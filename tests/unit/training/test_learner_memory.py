"""When memory runs out, training computes smaller parts with the same losses, or names the part that fits."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from data_sets import write_folder
from tiny_models import NarrowModel
from tiny_runs import learner_of, losses, rows, seeded_batch, seeded_model, settings, steps
from tscam.backbones.features import Features
from tscam.errors import TrainingError
from tscam.methods import methods
from tscam.methods.ts_cam import TsCam
from tscam.model import LocalizationModel
from tscam.training.learner import Learner
from tscam.training.run.position import SavedPosition
from tscam.training.run.state import load_state
from tscam.verbs.train import resume, train


def narrow(model: LocalizationModel, *, room: int) -> LocalizationModel:
    """The same model with memory for only so many pictures at once."""
    with torch.random.fork_rng():
        other = NarrowModel(model.spec, drop_path=0.5)
    other.load_state_dict(model.state_dict())
    other.room = room
    return other


SETTINGS: dict[str, Any] = {
    "drop_path": 0.5, "label_smoothing": 0.1, "clip_norm": 0.5, "ema": 0.9, "learning_rate": 1e-4
}  # fmt: skip


@pytest.mark.parametrize(
    ("room", "accumulate", "notes"),
    [
        (7, 1, []),
        (4, 2, ["out of memory: from now on each step is computed in 2 parts"]),
        (2, 4, [f"out of memory: from now on each step is computed in {parts} parts" for parts in (2, 4)]),
        (1, 8, [f"out of memory: from now on each step is computed in {parts} parts" for parts in (2, 4, 8)]),
    ],
)
def test_parts_are_halved_until_they_fit_without_changing_losses_or_weights(
    room: int, accumulate: int, notes: list[str]
) -> None:
    roomy, model = learner_of(seeded_model(drop_path=0.5), **SETTINGS), seeded_model(drop_path=0.5)
    messages: list[str] = []
    tight = learner_of(narrow(model, room=room), auto_batch=True, notes=messages, **SETTINGS)
    assert steps(tight, 4) == pytest.approx(steps(roomy, 4), abs=1e-6)
    assert tight.accumulate == accumulate
    assert messages == notes  # Once, not at every step.
    for name, tensor in roomy.evaluated_model.state_dict().items():
        torch.testing.assert_close(tight.evaluated_model.state_dict()[name], tensor, rtol=0, atol=1e-6)


def refusal(learner: Learner, *, pictures: int) -> str:
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    with pytest.raises(TrainingError) as refused:
        steps(learner, 1, pictures=pictures)
    assert isinstance(refused.value.__cause__, torch.OutOfMemoryError)
    assert "\n" not in str(refused.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.model.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.model.parameters())
    return str(refused.value)


@pytest.mark.parametrize(
    ("room", "pictures", "accumulate", "message"),
    [
        (4, 8, 1, "out of memory with 8 pictures at once, 4 fit; set `accumulate: 2` or"),
        (5, 8, 1, "out of memory with 8 pictures at once, 5 fit; set `accumulate: 2` or"),
        (3, 11, 1, "out of memory with 11 pictures at once, 3 fit; set `accumulate: 4` or"),
        (2, 5, 2, "out of memory with 3 pictures at once, 2 fit; set `accumulate: 3` or"),
        (1, 2, 1, "out of memory with 2 pictures at once, 1 fit; set `accumulate: 2` or"),
    ],
)
def test_without_auto_batch_the_largest_part_that_fits_is_named(
    room: int, pictures: int, accumulate: int, message: str
) -> None:
    refused = refusal(learner_of(narrow(seeded_model(), room=room), accumulate=accumulate), pictures=pictures)
    assert refused == (
        f"{message} `auto_batch: true` in RUN/config.yaml, then `tscam resume RUN`; "
        "or train with a smaller --batch-size"
    )
    parts = int(refused.split("`accumulate: ")[1].split("`")[0])
    steps(learner_of(narrow(seeded_model(), room=room), accumulate=parts), 1, pictures=pictures)  # The advice works.


@pytest.mark.parametrize("auto_batch", [True, False])
@pytest.mark.parametrize("pictures", [1, 6])
def test_too_little_memory_for_one_picture_is_named(auto_batch: bool, pictures: int) -> None:
    learner = learner_of(narrow(seeded_model(), room=0), auto_batch=auto_batch)
    assert refusal(learner, pictures=pictures) == (
        "out of memory with a single picture; choose a smaller --image-size or --backbone"
    )


def test_too_little_memory_for_the_check_before_a_save_is_named() -> None:
    with pytest.raises(TrainingError, match=r"^out of memory with a single picture"):
        learner_of(narrow(seeded_model(), room=0)).find_not_finite()


def test_another_error_is_not_taken_for_lack_of_memory() -> None:
    learner = learner_of(seeded_model(), auto_batch=True)
    batch = seeded_batch()
    beyond = batch._replace(labels=batch.labels * 0 + 5)
    with pytest.raises(IndexError, match="Target 5 is out of bounds"):
        learner.step(beyond, step_number=1, pictures=7, rate_factor=1.0)
    assert learner.accumulate == 1


# In a run


class GreedyTsCam(TsCam):
    """TS-CAM with memory for only two pictures at once, in training and in localization."""

    def logits(self, features: Features) -> Tensor:
        if len(features.patch_tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().logits(features)


@pytest.fixture
def greedy() -> Generator[str]:
    """The name of `GreedyTsCam` in the registry, for one test."""
    methods.register("greedy")(GreedyTsCam)
    yield "greedy"
    del methods._entries["greedy"]


def test_a_run_with_little_memory_ends_as_a_run_with_enough(tmp_path: Path, greedy: str) -> None:
    write_folder(tmp_path / "data", splits={"train": 4, "test": 2})
    config = settings(tmp_path / "data", tmp_path / "run", select="oracle", learning_rate=1e-4)
    roomy = train(config)
    notes: list[str] = []
    short = replace(config, method=greedy, auto_batch=True, out=tmp_path / "short")
    tight = train(short, on_note=notes.append)
    assert [note for note in notes if "memory" in note] == [
        f"out of memory: from now on each step is computed in {parts} parts" for parts in (2, 4)
    ]
    assert losses(tight) == pytest.approx(losses(roomy), abs=1e-6)
    for ours, theirs in zip(rows(tight), rows(roomy), strict=True):
        assert ours | {"train_loss": ""} == theirs | {"train_loss": ""}
    position = SavedPosition.from_json(load_state(tight / "state").facts["position"])
    assert position.accumulate == 4  # A resumed run keeps it.
    with pytest.raises(TrainingError, match=r"^out of memory with 5 pictures at once, 2 fit; set `accumulate: 3` or"):
        train(replace(short, auto_batch=False, out=tmp_path / "refused"))
    settings_there = tmp_path / "refused" / "config.yaml"
    settings_there.write_text(settings_there.read_text().replace("accumulate: 1", "accumulate: 3"))
    assert losses(resume(tmp_path / "refused")) == pytest.approx(losses(roomy), abs=1e-6)  # The advice works.
