"""Every panel of a page shows the picture under the map of its caption, with the box of that map."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tiny_models import draw_pictures, tiny_model
from tscam.backbones.features import Record, Request
from tscam.boxes import boxes_above, localization_map
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import save_model
from tscam.drawing import CLASS_COLOURS, draw_panel, sheet
from tscam.errors import ConfigError, ImageError, OutputError, TscamError, WeightsError
from tscam.geometry import View
from tscam.image import preprocess, read_image
from tscam.localization import grid_map
from tscam.model import LocalizationModel, create_model
from tscam.verbs.explain import explain

THRESHOLD = 0.3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model of three classes, `model`, and a picture, `0.png`."""
    tiny_model(tmp_path / "model")
    draw_pictures(tmp_path, 1)
    return tmp_path


def explained(folder: Path, **changes: object) -> dict[str, Image.Image]:
    """Explain the picture, and return the pages by name."""
    settings: dict[str, Any] = {"out": folder / "out", "threshold": THRESHOLD, **changes}
    out = explain(folder / "0.png", model=folder / "model", **settings)
    assert out == folder / "out"
    pages = {}
    for path in sorted(out.glob("[!.]*")):
        with Image.open(path) as page:
            pages[path.stem] = page.copy()
    return pages


def seen_by(network: LocalizationModel, folder: Path) -> tuple[Tensor, View, Image.Image]:
    """Return the model's pixels of the picture, its view, and the picture as the pages show it."""
    picture = read_image(folder / "0.png")
    array, view = preprocess(picture, to=network.input_format)
    scale = 960 / max(picture.size)
    shown = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    return torch.from_numpy(array)[None], view, shown


def boxed(map_: Tensor, *, shown: Image.Image, view: View, caption: str, class_id: int) -> Image.Image:
    """Draw a panel with its box step by step."""
    raw = map_.numpy()
    box = view.to_picture(boxes_above(localization_map(raw, size_wh=view.view_wh), threshold=THRESHOLD)[:1])[0]
    x, y = (ours / theirs for ours, theirs in zip(shown.size, view.picture_wh, strict=True))
    x0, y0, x1, y1 = box.tolist()
    return draw_panel(
        shown,
        map=grid_map(raw),
        threshold=THRESHOLD,
        boxes=[(x0 * x, y0 * y, x1 * x, y1 * y)],
        caption=caption,
        colour=CLASS_COLOURS[class_id],
    )


def assert_same_page(page: Image.Image, panels: list[Image.Image], *, columns: int) -> None:
    expected = sheet(panels, columns=columns)
    assert page.size == expected.size
    # A level of a map may be rounded up instead of down, which changes a colour by at most this.
    assert np.abs(np.asarray(page).astype(int) - np.asarray(expected)).max() <= 8


def test_the_layers_page_has_a_panel_a_layer_their_sum_and_the_rollout(folder: Path) -> None:
    pages = explained(folder)
    assert list(pages) == ["classes", "coupling", "layers", "methods"]
    assert {page.info["dpi"] for page in pages.values()} == {(299.9994, 299.9994)}  # 300, in pixels a metre

    network = load_model(folder / "model").eval()
    pixels, _, shown = seen_by(network, folder)
    with torch.no_grad():
        features = network.backbone(pixels, Request(records=Record.CLASS_ATTENTION | Record.ATTENTION))
    assert features.class_attention is not None
    assert features.attention is not None
    rows = features.class_attention[:, 0].mean(dim=1)[:, 1:].reshape(2, 4, 4)
    mixed = [matrix + torch.eye(17) for matrix in features.attention[:, 0]]
    first, second = (matrix / matrix.sum(dim=1, keepdim=True) for matrix in mixed)
    rollout = (second @ first)[0, 1:].reshape(4, 4)
    named = {"layer 1": rows[0], "layer 2": rows[1], "sum of 2 layers": rows.sum(dim=0), "rollout": rollout}
    panels = [draw_panel(shown, caption="0.png\nattention of the class token")]
    panels += [draw_panel(shown, map=grid_map(map_.numpy()), caption=name) for name, map_ in named.items()]
    assert_same_page(pages["layers"], panels, columns=3)


def test_the_other_pages_have_the_maps_and_boxes_of_the_requested_class(folder: Path) -> None:
    pages = explained(folder, label="dog", methods=("ts-cam", "cam"))
    network = load_model(folder / "model").eval()
    pixels, view, shown = seen_by(network, folder)
    with torch.no_grad():
        logits, order, maps = network.localize(pixels, top_k=3)
        features = network.backbone(pixels, Request(records=Record.CLASS_ATTENTION))
        semantic = network.method.head(features.patch_tokens.permute(0, 3, 1, 2))[0, 1]  # the dense convolution
    assert features.class_attention is not None
    attention = features.class_attention.mean(dim=2).sum(dim=0)[0, 1:].reshape(4, 4)

    title = draw_panel(shown, caption="0.png\ndog, threshold 0.3")
    coupled = boxed(semantic * attention, shown=shown, view=view, caption="ts-cam", class_id=1)
    alone = [
        draw_panel(shown, map=grid_map(map_.numpy()), caption=name)
        for name, map_ in {"semantic map": semantic, "attention map": attention}.items()
    ]
    assert_same_page(pages["coupling"], [title, *alone, coupled], columns=4)

    cam = boxed(semantic, shown=shown, view=view, caption="cam", class_id=1)
    assert_same_page(pages["methods"], [title, coupled, cam], columns=3)

    percents = logits.softmax(dim=1)[0] * 100
    likely = [
        boxed(
            map_, shown=shown, view=view, class_id=label,
            caption=f"{network.spec.label_names[label]} {percents[label]:.0f}%",
        )
        for label, map_ in zip(order[0].tolist(), maps[0], strict=True)
    ]  # fmt: skip
    assert len(likely) == 3
    title = draw_panel(shown, caption="0.png\nlikely classes, threshold 0.3")
    assert_same_page(pages["classes"], [title, *likely], columns=4)


def panel_count(page: Image.Image) -> int:
    """Return the number of panels, counted by the colours of the picture at their left edges."""
    pixels = np.asarray(page).min(axis=2)
    width = 960 + 16
    rows = [y for y in range(1, page.height) if (pixels[y, 16:64] < 255).all() and (pixels[y - 1, 16:64] == 255).all()]
    return sum((pixels[y + 40, 16 + column * width : 64 + column * width] < 255).all()
               for y in rows for column in range(page.width // width))  # fmt: skip


def test_all_methods_that_read_the_weights_are_compared_once(folder: Path) -> None:
    assert panel_count(explained(folder)["methods"]) == 1 + 5  # attention, cam, grad-cam, rollout, ts-cam
    assert panel_count(explained(folder, methods=("cam", "cam"), overwrite=True)["methods"]) == 1 + 1


def test_a_cnn_has_no_layers_and_two_methods(folder: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = create_model("test_resnet", label_names=["cat", "dog", "emu"], method="cam", image_size=96)
    save_model(network, folder / "model")
    pages = explained(folder)
    assert list(pages) == ["classes", "coupling", "methods"]
    assert panel_count(pages["methods"]) == 1 + 2
    assert panel_count(pages["coupling"]) == 1 + 2  # the semantic map without and with its box
    assert panel_count(pages["classes"]) == 1 + 3


def test_a_flat_map_gives_a_panel_with_the_caption_no_box(folder: Path) -> None:
    network = load_model(folder / "model")
    with torch.no_grad():
        network.method.head.weight.zero_()
    save_model(network, folder / "model")
    pages = explained(folder, methods=("cam",), label="cat")
    _, _, shown = seen_by(network, folder)
    title = draw_panel(shown, caption="0.png\ncat, threshold 0.3")
    flat = draw_panel(shown, map=np.zeros((4, 4), dtype=np.uint8), caption="cam, no box")
    assert_same_page(pages["methods"], [title, flat], columns=2)


REFUSED: dict[str, tuple[dict[str, object], type[TscamError], str]] = {
    "an unknown label": ({"label": "dgo"}, ConfigError, "no class named 'dgo'; did you mean 'dog'? the model has 3"),
    "a label like none": ({"label": "zebra"}, ConfigError, "no class named 'zebra'; the model has 3, such as 'cat'"),
    "an unknown method": ({"methods": ("gradcam",)}, ConfigError, "no method named 'gradcam'; did you mean 'grad-cam'"),
    "a method of other weights": (
        {"methods": ("training-free",)},
        ConfigError,
        "method 'training-free' cannot read weights trained for 'ts-cam'; "
        "with them work attention, cam, grad-cam, rollout, ts-cam",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_and_methods_that_the_model_lacks_are_refused_and_nothing_is_written(case: str, folder: Path) -> None:
    settings, error, message = REFUSED[case]
    with pytest.raises(error) as caught:
        explained(folder, **settings)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert not (folder / "out").exists()


def test_an_unreadable_picture_is_refused_and_nothing_is_written(folder: Path) -> None:
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:40])
    with pytest.raises(ImageError, match=r"0\.png"):
        explained(folder)
    assert not (folder / "out").exists()


def test_a_folder_in_use_is_kept(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "precious.txt").touch()
    with pytest.raises(OutputError, match="the folder is not empty"):
        explained(folder)
    assert [path.name for path in (folder / "out").iterdir()] == ["precious.txt"]


def test_scores_that_are_not_finite_are_refused_and_nothing_is_written(folder: Path) -> None:
    network = load_model(folder / "model")
    with torch.no_grad():
        network.backbone.get_parameter("vit.norm.weight").fill_(3e38)  # finite, but the scores overflow
    save_model(network, folder / "model")
    with pytest.raises(WeightsError, match="model: scores or maps that are not finite; take weights"):
        explained(folder)
    assert not (folder / "out").exists()
