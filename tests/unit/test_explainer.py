"""An explanation has maps by the formulas, boxes as a localizer gives them, and pages that show both."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tscam
from data_sets import draw_picture
from tiny_models import names, tiny_model
from tscam.backbones.features import Record, Request
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import save_model
from tscam.errors import ConfigError, ImageError, OutputError
from tscam.explainer import Explainer, Explanation
from tscam.image import preprocess, read_image
from tscam.model import create_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model`, of 4×4 patches, and `picture.png`."""
    folder = tmp_path_factory.mktemp("explain")
    tiny_model(folder / "model")
    draw_picture(folder / "picture.png", class_id=1, seed=3)
    return folder


@pytest.fixture(scope="module")
def explanation(folder: Path) -> Explanation:
    return Explainer(folder / "model")(folder / "picture.png", label="dog")


def test_layers_are_head_means_of_the_class_token_s_row_then_their_sum_then_the_rollout(
    folder: Path, explanation: Explanation
) -> None:
    network = load_model(folder / "model").eval()
    pixels = torch.from_numpy(preprocess(read_image(folder / "picture.png"), to=network.input_format)[0])[None]
    with torch.no_grad():
        features = network.backbone(pixels, Request(records=Record.CLASS_ATTENTION | Record.ATTENTION))
    assert features.class_attention is not None
    assert features.attention is not None
    layers = features.class_attention[:, 0].mean(dim=1)[:, 1:].reshape(2, 4, 4).numpy()
    mixed = torch.eye(17)
    for matrix in features.attention[:, 0]:
        mixed = (matrix + torch.eye(17)) / 2 @ mixed
    expected = [*layers, layers[0] + layers[1], mixed[0, 1:].reshape(4, 4).numpy()]
    assert [one.caption for one in explanation.layers] == ["layer 1", "layer 2", "sum of 2 layers", "rollout"]
    for one, map_ in zip(explanation.layers, expected, strict=True):
        np.testing.assert_allclose(one.map, map_, rtol=1e-4, err_msg=one.caption)
        assert (one.class_id, one.box) == (None, None)


def test_the_coupled_map_is_the_product_of_the_two_before_it(explanation: Explanation) -> None:
    semantic, attention, coupled = explanation.coupling
    np.testing.assert_allclose(coupled.map, semantic.map * attention.map, rtol=1e-5)
    np.testing.assert_array_equal(attention.map, explanation.layers[2].map)
    assert [semantic.caption, attention.caption, coupled.caption] == ["semantic map", "attention map", "ts-cam"]


def test_boxes_are_those_of_a_localizer_by_class_and_by_method(folder: Path, explanation: Explanation) -> None:
    (found,) = tscam.load(folder / "model")([folder / "picture.png"], top_k=3)
    assert [(one.class_id, one.box) for one in explanation.classes] == [
        (obj.class_id, obj.box) for obj in found.objects
    ]
    assert [one.caption for one in explanation.classes] == [f"{obj.label} {obj.score:.0%}" for obj in found.objects]
    assert {"attention", "cam", "rollout", "ts-cam"} <= {one.caption for one in explanation.methods}
    for one in explanation.methods:
        (by_method,) = tscam.load(folder / "model", method=one.caption)([folder / "picture.png"], top_k=3)
        (box,) = [obj.box for obj in by_method.objects if obj.label == "dog"]
        assert one.box == box, one.caption


def test_a_class_goes_by_name_or_by_number_and_is_the_most_likely_one_else(
    folder: Path, explanation: Explanation
) -> None:
    explainer = Explainer(folder / "model")
    for label in (1, np.int64(1)):
        again = explainer(folder / "picture.png", label=label)
        assert again.label == "dog"
        np.testing.assert_array_equal(again.coupling[-1].map, explanation.coupling[-1].map)
    assert explainer(folder / "picture.png").class_id == explanation.classes[0].class_id
    with pytest.raises(ConfigError, match="no class 3; the model has 3, numbered from 0"):
        explainer(folder / "picture.png", label=3)
    with pytest.raises(ConfigError, match="no class named 'dug'; did you mean 'dog'"):
        explainer(folder / "picture.png", label="dug")
    with pytest.raises(ImageError, match=r"gone\.png"):
        explainer(folder / "gone.png")


def test_a_threshold_moves_boxes_and_not_maps(folder: Path, explanation: Explanation) -> None:
    strict = Explainer(folder / "model", threshold=0.8)(folder / "picture.png", label="dog")
    np.testing.assert_array_equal(strict.coupling[-1].map, explanation.coupling[-1].map)
    (found,) = tscam.load(folder / "model")([folder / "picture.png"], top_k=3, threshold=0.8)
    (box,) = [obj.box for obj in found.objects if obj.label == "dog"]
    assert strict.coupling[-1].box == box != explanation.coupling[-1].box
    with pytest.raises(ConfigError, match="threshold 2; expected a fraction"):
        Explainer(folder / "model", threshold=2.0)


def test_true_boxes_are_dashed_in_every_panel_where_they_are(explanation: Explanation) -> None:
    width, height = explanation.picture.size
    box = np.array([[width / 4, height / 4, width / 2, height / 2]])
    with_box = np.asarray(explanation.draw("coupling", true_boxes=box)).astype(int)
    without = np.asarray(explanation.draw("coupling")).astype(int)
    assert with_box.shape == without.shape
    columns = np.nonzero(np.abs(with_box - without).max(axis=(0, 2)))[0]
    for panel in range(4):  # of 320 pixels, between gutters of 16
        left = 16 + panel * 336
        dashes = columns[(columns >= left) & (columns < left + 320)] - left
        assert (dashes.min(), dashes.max()) == pytest.approx((80, 160), abs=3)


def test_a_page_that_is_not_there_is_refused(explanation: Explanation) -> None:
    with pytest.raises(ConfigError, match=r"no page 'layer'; did you mean 'layers'\?"):
        explanation.draw("layer")


def test_files_are_the_pages_with_panels_of_960_pixels(folder: Path, tmp_path: Path, explanation: Explanation) -> None:
    picture, model = folder / "picture.png", folder / "model"
    out = tscam.explain(picture, model=model, out=tmp_path / "out", label="dog", methods=("cam",))
    assert names(out) == ["classes.png", "coupling.png", "layers.png", "methods.png"]
    with Image.open(out / "coupling.png") as page:
        assert page.tobytes() == explanation.draw("coupling", side=960).tobytes()
        assert page.width == 4 * 960 + 5 * 16


def test_a_model_and_a_picture_in_memory_are_explained_like_their_files(
    folder: Path, tmp_path: Path, explanation: Explanation
) -> None:
    network = load_model(folder / "model")
    with Image.open(folder / "picture.png") as picture:
        in_memory = Explainer(network)(picture, label="dog")
    assert (explanation.name, in_memory.name) == ("picture.png", "picture")
    for page in ("layers", "coupling", "classes", "methods"):
        for one, other in zip(getattr(in_memory, page), getattr(explanation, page), strict=True):
            assert (one.caption, one.class_id, one.box) == (other.caption, other.class_id, other.box)
            np.testing.assert_array_equal(one.map, other.map)
    out = tscam.explain(np.asarray(in_memory.picture), model=network, out=tmp_path / "out", label=1)
    assert out == (tmp_path / "out").absolute()
    with Image.open(out / "coupling.png") as written:
        assert written.tobytes() == in_memory.draw("coupling", side=960).tobytes()


def test_a_folder_that_the_picture_or_the_model_is_in_is_not_overwritten(folder: Path) -> None:
    with pytest.raises(OutputError):
        tscam.explain(folder / "picture.png", model=folder / "model", out=folder, overwrite=True)
    assert names(folder) == ["model", "picture.png"]


def test_a_backbone_without_class_token_has_no_layers(folder: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = create_model("resnet10t", label_names=3, method="cam", image_size=32)
    save_model(model, tmp_path / "model")
    explanation = Explainer(tmp_path / "model")(folder / "picture.png")
    assert [one.caption for one in explanation.coupling] == ["semantic map", "cam, no box"]  # one patch is flat
    with pytest.raises(ConfigError, match="page 'layers' is empty: this model's backbone has no class token"):
        explanation.draw("layers")
    assert explanation.pages() == ("coupling", "classes", "methods")
    out = tscam.explain(folder / "picture.png", model=tmp_path / "model", out=tmp_path / "out")
    assert names(out) == ["classes.png", "coupling.png", "methods.png"]
