"""A model chooses classes and their maps, names its weights as published, and makes no tensor of tokens × tokens."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from figures import seeded_weights
from process_work import ModelChoice, compiled_and_plain_losses
from tscam.backbones.base import Backbone
from tscam.backbones.features import Record, Request
from tscam.errors import ConfigError, WeightsError
from tscam.image import InputFormat
from tscam.methods import Method, methods
from tscam.model import LocalizationModel, create_model

NAME = "deit_tiny_patch16_224"
TINY: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}

# 5·7 patches and a class token: no other axis of these models has 36, 35 or a multiple of 50.
CLASSES, GRID, TOKENS = 50, (5, 7), 36


def seeded_model(*, classes: int = CLASSES, **more: Any) -> LocalizationModel:
    model = create_model(NAME, label_names=classes, image_size=(80, 112), backbone_args=TINY, **more)
    shapes = {key: tensor.shape for key, tensor in model.tensors().items()}
    model.load_tensors(seeded_weights(shapes, seed=21, scale=0.3), source="the rule")
    return model.eval()


def seeded_pixels(*, pictures: int = 3) -> Tensor:
    return torch.randn(pictures, 3, 80, 112, generator=torch.Generator().manual_seed(22))


class Watcher(TorchDispatchMode):
    """Records every tensor that an operation returns, forward and backward, as (operation, shape)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: list[tuple[str, tuple[int, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        self.tensors += [(str(func), tuple(leaf.shape)) for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        return result

    def operations(self, part: str) -> list[tuple[int, ...]]:
        return [shape for operation, shape in self.tensors if part in operation]

    def quadratic(self) -> list[tuple[str, tuple[int, ...]]]:
        """Tensors of tokens × tokens."""
        return [(operation, shape) for operation, shape in self.tensors if shape.count(TOKENS) > 1]

    def dense(self) -> list[tuple[str, tuple[int, ...]]]:
        """Tensors of all classes at all patches of the grid, in any order of axes, flattened or not."""
        patches = GRID[0] * GRID[1]
        return [
            (operation, shape)
            for operation, shape in self.tensors
            if any(axis % CLASSES == 0 for axis in shape) and (patches in shape or set(GRID) <= set(shape))
        ]


def test_localizing_makes_no_tensor_of_tokens_by_tokens_or_of_all_classes_maps() -> None:
    model = seeded_model()
    # Not inference mode: there PyTorch hides what composite operations are made of.
    with torch.no_grad(), Watcher() as watcher:
        _, _, maps = model.localize(seeded_pixels(), top_k=3)
    assert watcher.operations("flash_attention_for_cpu")
    assert len(watcher.operations("_softmax")) == TINY["depth"]
    assert maps.shape == (3, 3, *GRID)
    assert watcher.quadratic() == []
    assert watcher.dense() == []


def test_a_training_step_makes_no_tensor_of_tokens_by_tokens_or_of_all_classes_maps() -> None:
    model, labels = seeded_model(drop_path=0.3).train(), torch.tensor([4, 49, 0])
    draws = torch.tensor([[0.2, 0.9, 0.2, 0.9], [0.9, 0.2, 0.9, 0.2], [0.9, 0.9, 0.9, 0.9]])
    with Watcher() as watcher:
        loss = model.loss(seeded_pixels(), labels, draws=draws)
        loss.backward()
    assert not torch.isclose(loss, model.loss(seeded_pixels(), labels))  # stochastic depth was on
    assert len(watcher.operations("flash_attention_for_cpu_backward")) >= TINY["depth"]
    assert watcher.quadratic() == []
    assert watcher.dense() == []


def test_the_loss_compiles_to_one_graph_with_the_same_value() -> None:
    models: list[ModelChoice] = [
        (NAME, "ts-cam", TINY),
        (NAME, "training-free", TINY),
        ("conformer_small_patch16", "ts-cam", {"base": 4, "width": 24, "depth": 3, "heads": 2}),
        ("resnet18", "cam", {}),
    ]
    # Checks of types, which the tests switch on in this process, would break the graph.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        for compiled, plain in process.submit(compiled_and_plain_losses, models).result():
            assert compiled == pytest.approx(plain, rel=1e-6)


def test_the_watcher_sees_the_matrices_of_unfused_attention_and_the_maps_of_a_dense_head() -> None:
    vit: Any = timm.create_model(NAME, **TINY)
    block = vit.blocks[0]
    block.attn.fused_attn = False
    model = seeded_model()
    tokens = torch.randn(3, TOKENS, 24, requires_grad=True)
    with Watcher() as watcher:
        block(tokens).sum().backward()
    assert (3, 2, TOKENS, TOKENS) in [shape for _, shape in watcher.quadratic()]
    assert any("backward" in operation for operation, _ in watcher.quadratic())
    with Watcher() as watcher:
        model.method.head(torch.randn(3, 24, *GRID)).sum().backward()
    assert {shape for _, shape in watcher.dense()} >= {(3, CLASSES, *GRID)}


def test_attention_is_computed_only_on_request() -> None:
    model, pixels = seeded_model(), seeded_pixels()

    def softmaxes(records: Record) -> list[tuple[int, ...]]:
        with torch.no_grad(), Watcher() as watcher:
            model.backbone(pixels, Request(records=records))
        return watcher.operations("_softmax")

    assert softmaxes(Record.NOTHING) == []
    assert softmaxes(Record.CLASS_ATTENTION) == [(3, 2, TOKENS)] * TINY["depth"]  # a row a head
    with torch.no_grad(), Watcher() as watcher:
        model(pixels)
        model.with_method("cam").eval().localize(pixels, top_k=2)
    assert watcher.operations("_softmax") == []


def test_the_most_likely_classes_come_first_and_the_label_last_each_with_its_own_map() -> None:
    model, pixels, labels = seeded_model(classes=7), seeded_pixels(pictures=2), torch.tensor([6, 2])
    with torch.no_grad():
        logits, classes, maps = model.localize(pixels, top_k=3, labels=labels)
        features = model.backbone(pixels, Request(records=Record.CLASS_ATTENTION))
        every_map = model.method.maps(features, torch.arange(7).expand(2, 7))
    for picture in range(2):
        best_first = sorted(range(7), key=lambda class_id: -logits[picture, class_id].item())
        assert classes[picture].tolist() == [*best_first[:3], labels[picture].item()]
        torch.testing.assert_close(maps[picture], every_map[picture, classes[picture]], rtol=0, atol=1e-6)


def test_a_label_among_the_most_likely_classes_is_there_twice_with_the_same_map() -> None:
    model, pixels = seeded_model(classes=7), seeded_pixels(pictures=1)
    with torch.no_grad():
        _, classes, maps = model.localize(pixels, top_k=2, labels=model(pixels).argmax(dim=1))
    assert classes[0, 2] == classes[0, 0] != classes[0, 1]
    assert torch.equal(maps[0, 2], maps[0, 0])


@pytest.mark.parametrize("top_k", [7, 8, 1000])
def test_more_classes_than_there_are_means_all(top_k: int) -> None:
    model = seeded_model(classes=7)
    with torch.no_grad():
        _, classes, _ = model.localize(seeded_pixels(), top_k=top_k)
    assert classes.sort(dim=1).values.tolist() == [list(range(7))] * 3


def test_a_view_of_another_size_gives_maps_on_its_own_grid() -> None:
    model = seeded_model(classes=7)
    with torch.no_grad():
        logits, _, maps = model.localize(torch.ones(1, 3, 32, 144), top_k=2)
    assert maps.shape == (1, 2, 2, 9)
    assert torch.isfinite(logits).all()


def test_another_method_reads_the_same_weights() -> None:
    model, pixels = seeded_model(classes=7), seeded_pixels(pictures=2)
    cam, attention = (model.with_method(name).eval() for name in ("cam", "attention"))
    assert cam.spec.method == "cam"
    assert cam.spec.label_names == model.spec.label_names
    for key, tensor in model.tensors().items():
        assert torch.equal(cam.tensors()[key], tensor), key
    with torch.no_grad():
        logits, classes, coupled = model.localize(pixels, top_k=3)
        logits_cam, classes_cam, semantic = cam.localize(pixels, top_k=3)
        attention_maps = attention.localize(pixels, top_k=3)[2]
    assert torch.equal(logits, logits_cam)
    assert torch.equal(classes, classes_cam)
    torch.testing.assert_close(coupled, semantic * attention_maps, rtol=0, atol=1e-6)
    assert model.with_method("ts-cam") is model


def test_another_method_does_not_change_the_model_it_was_asked_of() -> None:
    model = seeded_model(classes=7)
    other = model.with_method("cam")
    before = {key: tensor.clone() for key, tensor in model.tensors().items()}
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    for key, tensor in before.items():
        assert torch.equal(model.tensors()[key], tensor), key
    assert model.spec.method == "ts-cam"


class WithAScale(Method):
    """A method with a parameter that others do not have."""

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__(backbone, num_classes)
        self.scale = nn.Parameter(torch.ones(num_classes))


def test_a_method_of_other_parameters_or_an_unknown_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods._entries, "with-a-scale", WithAScale)  # registered for this test alone
    model = seeded_model(classes=7)
    with pytest.raises(
        ConfigError,
        match=r"method 'with-a-scale' cannot read weights trained for 'ts-cam': .* missing scale; unexpected none",
    ):
        model.with_method("with-a-scale")
    with pytest.raises(ConfigError, match=r"no method named 'tscam'; did you mean 'ts-cam'\?"):
        model.with_method("tscam")


def test_weights_have_timms_names_and_the_authors_for_the_head() -> None:
    timms = timm.create_model(NAME, img_size=(80, 112), num_classes=0, **TINY).state_dict()
    tensors = seeded_model(classes=7).tensors()
    assert tensors.keys() == timms.keys() | {"head.weight", "head.bias"}
    assert tensors["head.weight"].shape == (7, 24, 3, 3)


def test_weights_go_out_and_in_bit_for_bit() -> None:
    model = seeded_model(classes=7)
    kept = {key: tensor.clone() for key, tensor in model.tensors().items()}
    other = create_model(NAME, label_names=7, image_size=(80, 112), backbone_args=TINY)
    other.load_tensors(kept, source="the test")
    assert other.tensors().keys() == kept.keys()
    for key, tensor in kept.items():
        assert torch.equal(other.tensors()[key], tensor), key
    with torch.no_grad():
        assert torch.equal(other.eval()(seeded_pixels()), model(seeded_pixels()))


def test_weights_that_do_not_fit_are_named_and_change_nothing() -> None:
    model = seeded_model(classes=7)
    before = {key: tensor.clone() for key, tensor in model.tensors().items()}
    zeros = {key: torch.zeros_like(tensor) for key, tensor in before.items()}
    misshapen = zeros | {"head.bias": torch.zeros(8)}
    renamed = {key.replace("norm.bias", "norm.offset"): tensor for key, tensor in zeros.items()}
    with pytest.raises(WeightsError, match=r"^here: head.bias is \(8,\), the model's is \(7,\)"):
        model.load_tensors(misshapen, source="here")
    with pytest.raises(WeightsError, match=r"^here: .* missing norm.bias; unexpected norm.offset$"):
        model.load_tensors(renamed, source="here")
    for key, tensor in before.items():
        assert torch.equal(model.tensors()[key], tensor), key


def test_the_input_format_is_the_view_of_the_spec_and_the_normalization_of_the_backbone() -> None:
    deit = create_model(NAME, label_names=2, image_size=(80, 112), backbone_args=TINY)
    augreg = create_model("vit_small_patch16_224", label_names=2, image_size=48, backbone_args=TINY)
    assert deit.input_format == InputFormat(size_hw=(80, 112), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert augreg.input_format == InputFormat(size_hw=(48, 48), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def test_a_number_of_classes_gives_them_numbers_for_names() -> None:
    assert create_model(NAME, label_names=3, image_size=48, backbone_args=TINY).spec.label_names == ("0", "1", "2")
    named = create_model(NAME, label_names=["wren", "tit"], image_size=48, backbone_args=TINY)
    assert named.spec.label_names == ("wren", "tit")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"label_names": 0}, "no classes; expected at least one label name"),
        ({"label_names": []}, "no classes"),
        ({"method": "gradcam"}, "no method named 'gradcam'.*Registered: "),
        ({"image_size": 50}, "image size 50 is not a multiple of the patch, 16 pixels; take 48 or 64"),
        ({"image_size": (48, 90)}, "image size 90 is not a multiple of the patch"),
        ({"backbone": "deit_tiny_patch16_244"}, "did you mean 'deit_tiny_patch16_224'"),
        ({"backbone_args": {"width": 3}}, "'deit_tiny_patch16_224' does not take these arguments: .*'width'"),
    ],
    ids=str,
)
def test_a_model_that_cannot_be_built_is_refused_in_one_line(more: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"backbone": NAME, "label_names": 2, "image_size": 48, "backbone_args": TINY} | more
    with pytest.raises(ConfigError, match=message) as caught:
        create_model(**settings)
    assert "\n" not in str(caught.value)
