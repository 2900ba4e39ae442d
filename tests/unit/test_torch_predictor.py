"""The PyTorch predictor says in NumPy what the model says in tensors, whatever array it is given."""

from typing import Any

import numpy as np
import pytest
import torch

from reference.figures import largest_difference, seeded_weights
from tiny_models import NarrowModel
from tscam.errors import ConfigError
from tscam.image import InputFormat
from tscam.model import LocalizationModel, create_model
from tscam.predictor import Prediction, Predictor
from tscam.predictors.pytorch import PyTorchPredictor
from tscam.system.processes import find_device

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


def test_a_prediction_of_each_picture_is_what_the_model_says_of_it() -> None:
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


def test_stochastic_depth_is_off_in_prediction_whatever_state_the_model_was_in() -> None:
    predictor = PyTorchPredictor(seeded_model(drop_path=0.5).train(), device="cpu")
    pixels = seeded_pixels()
    assert_same(predictor.predict(pixels, top_k=2), predictor.predict(pixels, top_k=2))


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    prediction = PyTorchPredictor(seeded_model(), device="cpu").predict(seeded_pixels(pictures=1), top_k=1)[0]
    expected = torch.from_numpy(prediction.logits).softmax(dim=0).numpy()
    np.testing.assert_allclose(prediction.probabilities, expected, rtol=0, atol=1e-6)


def test_what_is_found_in_a_picture_does_not_depend_on_the_batch_it_is_in() -> None:
    predictor, pixels = PyTorchPredictor(seeded_model(), device="cpu"), seeded_pixels()
    alone = [predictor.predict(pixels[index : index + 1], top_k=3)[0] for index in range(3)]
    for one, other in zip(alone, predictor.predict(pixels, top_k=3), strict=True):
        assert one.classes.tolist() == other.classes.tolist()
        np.testing.assert_allclose(one.maps, other.maps, rtol=0, atol=1e-5)


def test_read_only_mirrored_and_double_arrays_are_taken_as_any_other_and_left_as_they_are() -> None:
    predictor, pixels = PyTorchPredictor(seeded_model(), device="cpu"), seeded_pixels()
    expected = predictor.predict(pixels, top_k=2)
    read_only = pixels.copy()
    read_only.flags.writeable = False
    mirrored = pixels[..., ::-1].copy()[..., ::-1]
    for given in (read_only, mirrored, pixels.astype(np.float64), np.asfortranarray(pixels)):
        before = given.copy()
        assert_same(predictor.predict(given, top_k=2), expected)
        assert np.array_equal(given, before)


def test_bf16_is_near_fp32_and_comes_back_as_float32() -> None:
    model, pixels = seeded_model(), seeded_pixels()
    exact = PyTorchPredictor(model, device="cpu").predict(pixels, top_k=7)
    rough = PyTorchPredictor(model, device="cpu", precision="bf16").predict(pixels, top_k=7)
    for one, other in zip(rough, exact, strict=True):
        assert one.logits.dtype == one.maps.dtype == np.float32
        by_class, exact_by_class = one.maps[one.classes.argsort()], other.maps[other.classes.argsort()]
        assert 0 < largest_difference(one.logits, other.logits) < 0.05
        assert 0 < largest_difference(by_class, exact_by_class) < 0.05


# Where memory does not suffice


def narrow_model(*, room: int) -> NarrowModel:
    whole = seeded_model()
    model = NarrowModel(whole.spec)
    model.load_state_dict(whole.state_dict())
    model.room = room
    return model


@pytest.mark.parametrize("room", [1, 2, 4, 5])
def test_a_batch_that_memory_does_not_hold_is_predicted_in_halves(room: int) -> None:
    pixels, labels = seeded_pixels(pictures=5), np.array([6, 0, 3, 1, 1])
    whole = PyTorchPredictor(seeded_model(), device="cpu").predict(pixels, top_k=2, labels=labels)
    tight = PyTorchPredictor(narrow_model(room=room), device="cpu").predict(pixels, top_k=2, labels=labels)
    assert [prediction.classes[-1] for prediction in tight] == labels.tolist()
    for one, other in zip(tight, whole, strict=True):
        assert one.classes.tolist() == other.classes.tolist()
        np.testing.assert_allclose(one.maps, other.maps, rtol=0, atol=1e-5)
    unlabelled = PyTorchPredictor(narrow_model(room=room), device="cpu").predict(pixels, top_k=2)
    assert [prediction.classes.tolist() for prediction in unlabelled] == [one.classes[:2].tolist() for one in whole]


def test_no_memory_for_one_picture_is_the_error_that_it_is() -> None:
    predictor = PyTorchPredictor(narrow_model(room=0), device="cpu")
    for pictures in (1, 5):
        with pytest.raises(torch.OutOfMemoryError):
            predictor.predict(seeded_pixels(pictures=pictures), top_k=1)


def test_another_fault_is_not_met_by_halves() -> None:
    predictor = PyTorchPredictor(narrow_model(room=5), device="cpu")
    with pytest.raises(ConfigError, match="image size 47"):
        predictor.predict(seeded_pixels(pictures=4)[:, :, :47], top_k=1)


def test_the_predictor_speaks_for_its_model() -> None:
    predictor = PyTorchPredictor(seeded_model(), device="cpu")
    assert predictor.label_names == tuple("abcdefg")
    assert predictor.threshold == 0.1
    assert predictor.input_format == InputFormat(size_hw=(48, 80), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def test_pixels_of_broken_patches_are_refused() -> None:
    with pytest.raises(ConfigError, match="image size 47 is not a multiple of the patch, 16 pixels; take 32 or 48"):
        PyTorchPredictor(seeded_model(), device="cpu").predict(seeded_pixels()[:, :, :47], top_k=1)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "cuda:-1", "cuda:one", "hpu"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no device '{name}' here; there is cpu") as caught:
        PyTorchPredictor(seeded_model(), device=name)
    assert "\n" not in str(caught.value)


def test_a_device_that_computes_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="no device 'meta' here; there is cpu"):
        find_device("meta")


def test_no_device_named_means_the_gpu_where_there_is_one() -> None:
    assert find_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert find_device("cpu") == torch.device("cpu")
