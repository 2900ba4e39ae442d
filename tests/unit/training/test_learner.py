"""A training step against a second implementation: loss, moving average, clipping, and the step in parts."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tiny_runs import learner_of, seeded_batch, seeded_model, steps
from tscam.backbones.features import Features, Record, Request
from tscam.methods import methods
from tscam.methods.ts_cam import TsCam
from tscam.model import LocalizationModel
from tscam.training.learner import Learner, NotFiniteError
from tscam.training.pictures import Batch, normalized


def weights_of(model: LocalizationModel) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def one_step(learner: Learner, batch: Batch, *, step_number: int = 1, rate_factor: float = 1.0) -> float:
    return learner.step(batch, step_number=step_number, pictures=len(batch.labels), rate_factor=rate_factor)


def logits_of(model: LocalizationModel, batch: Batch) -> Tensor:
    return model(normalized(batch.pixels, to=model.input_format), draws=batch.draws)


# The loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_smoothing_spreads_its_share_of_the_target_over_all_classes(smoothing: float) -> None:
    model, batch = seeded_model(drop_path=0.5), seeded_batch()
    with torch.no_grad():
        logits = logits_of(model, batch).double()
    naive = 0.0
    for scores, label in zip(logits.tolist(), batch.labels.tolist(), strict=True):
        total = math.log(sum(math.exp(score) for score in scores))
        for class_id, score in enumerate(scores):
            target = (1 - smoothing) * (class_id == label) + smoothing / 5
            naive -= target * (score - total) / 7
    loss = one_step(learner_of(model, label_smoothing=smoothing, drop_path=0.5), batch)
    assert loss == pytest.approx(naive, rel=1e-6)


class EvenAttention(TsCam):
    """TS-CAM with a loss of its own: cross-entropy, and how far the class token's attention is from even."""

    training_requests = Request(records=Record.CLASS_ATTENTION)

    def loss(self, features: Features, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        assert features.class_attention is not None
        return super().loss(features, labels, label_smoothing=label_smoothing) + features.class_attention.std()


def test_a_step_lowers_the_methods_own_loss_of_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods._entries, "even-attention", EvenAttention)  # registered for this test alone
    plain, model, batch = seeded_model(), seeded_model(method="even-attention"), seeded_batch()
    pixels = normalized(batch.pixels, to=model.input_format)
    rows = model.backbone(pixels, Request(records=Record.CLASS_ATTENTION)).class_attention
    expected = F.cross_entropy(logits_of(plain, batch), batch.labels, label_smoothing=0.1) + rows.std()
    assert one_step(learner_of(model, label_smoothing=0.1), batch) == pytest.approx(expected.item(), rel=1e-6)


class CountingTsCam(TsCam):
    """TS-CAM that counts how often it is asked for scores."""

    calls = 0

    def token_scores(self, features: Features) -> Tensor:
        self.calls += 1
        return super().token_scores(features)


def test_a_step_passes_backbone_and_head_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods._entries, "counting", CountingTsCam)  # registered for this test alone
    model = seeded_model(method="counting")
    passes: list[nn.Module] = []
    model.backbone.register_forward_hook(lambda module, _inputs, _output: passes.append(module))
    one_step(learner_of(model), seeded_batch())
    assert passes == [model.backbone]
    assert model.method.calls == 1


def test_a_step_is_a_step_of_adamw_at_the_scaled_rate() -> None:
    model, batch = seeded_model(), seeded_batch()
    before = weights_of(model)
    F.cross_entropy(logits_of(model, batch), batch.labels).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    one_step(learner_of(model, learning_rate=0.02, weight_decay=0.3, head_learning_rate=0.05), batch, rate_factor=0.1)
    for name, parameter in model.named_parameters():
        gradient = gradients[name]
        assert gradient is not None
        rate = 0.005 if name.startswith("method.") else 0.002
        is_decayed = parameter.ndim > 1 and not name.endswith(("cls_token", "pos_embed"))
        decayed = before[name] * (1 - rate * (0.3 if is_decayed else 0))
        # After the first step both moments are those of the gradient itself.
        expected = decayed - rate * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-5, atol=1e-6)


def test_stochastic_depth_uses_the_draws_of_the_batch_alone() -> None:
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        losses.append(steps(learner_of(seeded_model(drop_path=0.5), drop_path=0.5), 2))
    assert losses[0] == losses[1]
    other = one_step(learner_of(seeded_model(drop_path=0.5)), seeded_batch(seed=1)._replace(draws=torch.ones(7, 4)))
    assert other != losses[0][0]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_loss_that_is_not_finite_changes_no_weight(precision: str) -> None:
    model = seeded_model()
    with torch.no_grad():
        model.method.head.weight[2, 3] = math.inf
    learner = learner_of(model, precision=precision, ema=0.5)
    before = weights_of(model)
    with pytest.raises(NotFiniteError, match=r"^the loss is nan$"):
        one_step(learner, seeded_batch())
    for each in (model, learner.evaluated_model):
        assert all(torch.equal(tensor, before[name]) for name, tensor in each.state_dict().items())


@pytest.mark.parametrize("values", ["weights", "class scores"])
def test_values_that_are_not_finite_are_named_and_the_model_stays_in_its_mode(values: str) -> None:
    learner = learner_of(seeded_model(), ema=0.9)
    steps(learner, 1)
    assert learner.find_not_finite() is None
    with torch.no_grad():
        if values == "weights":
            learner.optimizer.state[learner.model.method.head.weight]["exp_avg"][0] = math.nan
        else:
            learner.model.method.head.weight.fill_(3e38)  # Finite, but the scores are not.
    assert learner.find_not_finite() == values
    assert learner.model.training


# The moving average


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_the_average_follows_the_weights_more_and_more_slowly(decay: float) -> None:
    learner = learner_of(seeded_model(drop_path=0.5), ema=decay, learning_rate=3e-2)
    assert learner.evaluated_model is not learner.model
    expected = weights_of(learner.model)
    for number in range(1, 7):
        one_step(learner, seeded_batch(seed=number), step_number=number)
        # The first average is the first weights; then the decay is 1 - (1 + n)^(-2/3): 0.37, 0.52 … up to its limit.
        share = min(1 - number ** (-2 / 3), decay)
        for name, tensor in learner.model.state_dict().items():
            expected[name] = share * expected[name] + (1 - share) * tensor
        for name, tensor in learner.evaluated_model.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)
    assert not torch.equal(learner.evaluated_model.method.head.weight, learner.model.method.head.weight)


def test_without_an_average_the_weights_themselves_are_evaluated() -> None:
    learner = learner_of(seeded_model())
    assert learner.evaluated_model is learner.model


# Clipping


def first_moments(learner: Learner) -> dict[str, Tensor]:
    tensors = learner.tensors()
    return {name: tensors[f"optimizer.exp_avg.{name}"] for name, _ in learner.model.named_parameters()}


def norm_of(tensors: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors.values()))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_only_a_gradient_above_the_norm_is_clipped_to_it(precision: str, accumulate: int) -> None:
    def moments(clip_norm: float | None) -> dict[str, Tensor]:
        """A tenth of the gradient that the optimizer received."""
        learner = learner_of(seeded_model(), clip_norm=clip_norm, precision=precision, accumulate=accumulate)
        steps(learner, 1)
        return first_moments(learner)

    unclipped = moments(None)
    norm = norm_of(unclipped) * 10
    tolerance = {"fp32": 1e-5, "fp16": 2e-3}[precision]
    for limit in (norm / 7, norm * 7):
        clipped = moments(limit)
        assert norm_of(clipped) * 10 == pytest.approx(min(norm, limit), rel=tolerance)
        for name, moment in clipped.items():
            expected = unclipped[name] * min(1, limit / norm)
            torch.testing.assert_close(moment, expected, rtol=tolerance, atol=tolerance * limit / 100)


# The same step in parts


@pytest.mark.parametrize("accumulate", [2, 3, 7, 100])
def test_a_step_in_parts_equals_the_step_as_a_whole(accumulate: int) -> None:
    changes: dict[str, Any] = {
        "drop_path": 0.5, "label_smoothing": 0.1, "clip_norm": 0.5, "ema": 0.9, "learning_rate": 1e-4
    }  # fmt: skip
    whole = learner_of(seeded_model(drop_path=0.5), **changes)
    parted = learner_of(seeded_model(drop_path=0.5), accumulate=accumulate, **changes)
    before = weights_of(whole.model)
    assert steps(parted, 5) == pytest.approx(steps(whole, 5), abs=1e-6)
    moved = 0.0
    for ours, theirs in ((parted.model, whole.model), (parted.evaluated_model, whole.evaluated_model)):
        for name, tensor in theirs.state_dict().items():
            moved = max(moved, float((tensor - before[name]).abs().max()))
            torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=0, atol=1e-6, msg=name)
    assert moved > 3e-4


def test_a_process_without_pictures_has_gradients_of_zero() -> None:
    learner = learner_of(seeded_model(drop_path=0.5))
    before = weights_of(learner.model)
    loss = learner.step(seeded_batch(pictures=0), step_number=1, pictures=4, rate_factor=1.0)
    assert loss == 0
    moments = first_moments(learner)
    assert moments.keys() == dict(learner.model.named_parameters()).keys()
    assert not any(tensor.any() for tensor in moments.values())
    assert all(torch.allclose(tensor, before[name], rtol=1e-4) for name, tensor in learner.model.state_dict().items())


def test_the_weight_of_a_share_is_its_fraction_of_the_pictures() -> None:
    """The gradients of two processes with 5 and 2 of 7 pictures add up to those of one with all."""
    whole, batch = learner_of(seeded_model(), ema=None), seeded_batch()
    loss = one_step(whole, batch)
    added: dict[str, Tensor] = {}
    losses = []
    for part in (slice(5), slice(5, 7)):
        learner = learner_of(seeded_model())
        share = Batch(*(tensor[part] for tensor in batch))
        losses.append(learner.step(share, step_number=1, pictures=7, rate_factor=1.0))
        for name, moment in first_moments(learner).items():
            added[name] = added.get(name, torch.zeros(())) + moment
    assert sum(losses) == pytest.approx(loss, abs=1e-6)
    for name, moment in first_moments(whole).items():
        torch.testing.assert_close(added[name], moment, rtol=0, atol=1e-7)


# What a step changes


@pytest.mark.parametrize(
    "changes", [{}, {"ema": 0.9, "precision": "fp16", "clip_norm": 0.1, "freeze_blocks": 1}], ids=str
)
def test_a_learner_continues_from_its_tensors_to_the_bit(changes: dict[str, Any]) -> None:
    learner = learner_of(seeded_model(drop_path=0.5), **changes)
    steps(learner, 2)
    saved = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    scaler = learner.scaler.state_dict()
    resumed = learner_of(seeded_model(drop_path=0.5, seed=99), **changes)
    resumed.load_tensors(saved)
    resumed.scaler.load_state_dict(scaler)
    for each in (learner, resumed):
        one_step(each, seeded_batch(seed=50), step_number=3)
    ours, theirs = resumed.tensors(), learner.tensors()
    assert ours.keys() == theirs.keys() == saved.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert not torch.equal(ours["model.method.head.weight"], saved["model.method.head.weight"])
