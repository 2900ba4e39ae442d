"""The PyTorch predictor returns the model's tensors as NumPy arrays, for any array of pixels."""

from typing import Any

import numpy as np
import pytest
import torch

from figures import largest_difference, seeded_weights
from tiny_models import NarrowModel
from tscam.errors import ConfigError
from tscam.image import InputFormat
from tscam.model import LocalizationModel, create_model
from tscam.predictor import ModelFacts, Prediction, Predictor
from tscam.predictors.pytorch import PyTorchPredictor

TINY: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}


def seeded_model(**more: Any) -> LocalizationModel:
    model = create_model(
        "vit_small_patch16_224", label_names=list("abcdefg"), image_size=(48, 80), backbone_args=TINY, **more
    )
    shapes = {key: tensor.shape for key, tensor in model.tensors().items()}
    model.load_tensors(seeded_weights(shapes, seed=41, scale=0.2), source="the rule")
    return model


def seeded_pixels(*, pictures: int = 3) -> np.ndarray:
    return np.random.default_rng(42).standard_normal((pictures, 3, 48, 80)).astype(np.float32)


def assert_same(ours: list[Prediction], theirs: list[Prediction]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.classes.tolist() == other.classes.tolist()
        np.testing.assert_allclose(one.logits, other.logits, rtol=0, atol=1e-6)
        np.testing.assert_allclose(one.maps, other.maps, rtol=0, atol=1e-6)


def test_the_prediction_of_each_picture_is_the_output_of_the_model() -> None:
    model, pixels, labels = seeded_model().eval(), seeded_pixels(), np.array([6, 0, 3])
    predictor = PyTorchPredictor(model, device="cpu")
    predictions = predictor.predict(pixels, top_k=2, labels=labels)
    with torch.no_grad():
        logits, classes, maps = model.localize(torch.from_numpy(pixels), top_k=2, labels=torch.from_numpy(labels))
    assert isinstance(predictor, Predictor)
    assert len(predictions) == 3
    for picture, prediction in enumerate(predictions):
        assert prediction.classes.tolist() == classes[picture].tolist()
        assert prediction.classes[2] == labels[picture]
        for array, tensor in ((prediction.logits, logits), (prediction.maps, maps)):
            assert type(array) is np.ndarray
            assert array.dtype == np.float32
            np.testing.assert_allclose(array, tensor[picture].numpy(), rtol=0, atol=1e-6)


def test_stochastic_depth_is_off_in_prediction_even_for_a_model_in_training() -> None:
    predictor = PyTorchPredictor(seeded_model(drop_path=0.5).train(), device="cpu")
    pixels = seeded_pixels()
    assert_same(predictor.predict(pixels, top_k=2), predictor.predict(pixels, top_k=2))


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    prediction = PyTorchPredictor(seeded_model(), device="cpu").predict(seeded_pixels(pictures=1), top_k=1)[0]
    expected = torch.from_numpy(prediction.logits).softmax(dim=0).numpy()
    np.testing.assert_allclose(prediction.probabilities, expected, rtol=0, atol=1e-6)


def test_a_prediction_does_not_depend_on_its_batch() -> None:
    predictor, pixels = PyTorchPredictor(seeded_model(), device="cpu"), seeded_pixels()
    alone = [predictor.predict(pixels[index : index + 1], top_k=3)[0] for index in range(3)]
    for one, other in zip(alone, predictor.predict(pixels, top_k=3), strict=True):
        assert one.classes.tolist() == other.classes.tolist()
        np.testing.assert_allclose(one.maps, other.maps, rtol=0, atol=1e-5)


def test_read_only_mirrored_and_double_arrays_are_accepted_and_not_changed() -> None:
    predictor, pixels = PyTorchPredictor(seeded_model(), device="cpu"), seeded_pixels()
    expected = predictor.predict(pixels, top_k=2)
    read_only = pixels.copy()
    read_only.flags.writeable = False
    mirrored = pixels[..., ::-1].copy()[..., ::-1]
    for array in (read_only, mirrored, pixels.astype(np.float64), np.asfortranarray(pixels)):
        before = array.copy()
        assert_same(predictor.predict(array, top_k=2), expected)
        assert np.array_equal(array, before)


def test_bf16_is_near_fp32_and_comes_back_as_float32() -> None:
    model, pixels = seeded_model(), seeded_pixels()
    exact = PyTorchPredictor(model, device="cpu").predict(pixels, top_k=7)
    rough = PyTorchPredictor(model, device="cpu", precision="bf16").predict(pixels, top_k=7)
    for one, other in zip(rough, exact, strict=True):
        assert one.logits.dtype == one.maps.dtype == np.float32
        by_class, exact_by_class = one.maps[one.classes.argsort()], other.maps[other.classes.argsort()]
        assert 0 < largest_difference(one.logits, other.logits) < 0.05
        assert 0 < largest_difference(by_class, exact_by_class) < 0.05


# Out of memory


def narrow_model(*, room: int) -> NarrowModel:
    whole = seeded_model()
    model = NarrowModel(whole.spec)
    model.load_state_dict(whole.state_dict())
    model.room = room
    return model


@pytest.mark.parametrize("room", [1, 2, 4, 5])
def test_a_batch_that_does_not_fit_into_memory_is_predicted_in_halves(room: int) -> None:
    pixels, labels = seeded_pixels(pictures=5), np.array([6, 0, 3, 1, 1])
    whole = PyTorchPredictor(seeded_model(), device="cpu").predict(pixels, top_k=2, labels=labels)
    tight = PyTorchPredictor(narrow_model(room=room), device="cpu").predict(pixels, top_k=2, labels=labels)
    assert [prediction.classes[-1] for prediction in tight] == labels.tolist()
    for one, other in zip(tight, whole, strict=True):
        assert one.classes.tolist() == other.classes.tolist()
        np.testing.assert_allclose(one.maps, other.maps, rtol=0, atol=1e-5)
    unlabelled = PyTorchPredictor(narrow_model(room=room), device="cpu").predict(pixels, top_k=2)
    assert [prediction.classes.tolist() for prediction in unlabelled] == [one.classes[:2].tolist() for one in whole]


def test_out_of_memory_for_one_picture_is_raised() -> None:
    predictor = PyTorchPredictor(narrow_model(room=0), device="cpu")
    for pictures in (1, 5):
        with pytest.raises(torch.OutOfMemoryError):
            predictor.predict(seeded_pixels(pictures=pictures), top_k=1)


def test_another_error_does_not_lead_to_halves() -> None:
    predictor = PyTorchPredictor(narrow_model(room=5), device="cpu")
    with pytest.raises(ConfigError, match="image size 47"):
        predictor.predict(seeded_pixels(pictures=4)[:, :, :47], top_k=1)


def test_the_predictor_states_the_facts_about_its_model() -> None:
    predictor = PyTorchPredictor(seeded_model(), device="cpu")
    assert predictor.label_names == tuple("abcdefg")
    assert predictor.threshold == 0.1
    assert predictor.facts == ModelFacts(
        model="in memory", backbone="vit_small_patch16_224", method="ts-cam", method_args={}, view_wh=(80, 48)
    )
    assert predictor.input_format == InputFormat(size_hw=(48, 80), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def test_pixels_of_broken_patches_are_refused() -> None:
    with pytest.raises(ConfigError, match="image size 47 is not a multiple of the patch, 16 pixels; take 32 or 48"):
        PyTorchPredictor(seeded_model(), device="cpu").predict(seeded_pixels()[:, :, :47], top_k=1)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "cuda:-1", "cuda:one", "hpu"])
def test_a_missing_device_is_refused_with_the_ones_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no device '{name}' here; there is cpu") as caught:
        PyTorchPredictor(seeded_model(), device=name)
    assert "\n" not in str(caught.value)
