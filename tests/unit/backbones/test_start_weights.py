"""Start weights are read from complete files of matching tensors; mismatches are named, and no code is run."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from figures import seeded_weights
from tscam.backbones import create_backbone
from tscam.backbones.base import Backbone
from tscam.backbones.creation import pretrained_source
from tscam.errors import WeightsError
from tscam.model import create_model
from tscam.weights.reading import read_tensors

TINY: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}
NAME = "deit_tiny_patch16_224"

Weights = dict[str, Tensor]


def timm_weights(name: str = NAME, *, image_hw: tuple[int, int] = (48, 48), classes: int = 1000) -> Weights:
    """Return the content of a published file: timm's names, with the classifier."""
    model = timm.create_model(name, img_size=image_hw, num_classes=classes, **TINY)
    return seeded_weights({key: tensor.shape for key, tensor in model.state_dict().items()}, seed=5, scale=0.3)


def started(weights: Path, *, name: str = NAME, image_hw: tuple[int, int] = (48, 48), **more: Any) -> Backbone:
    return create_backbone(name, image_hw=image_hw, weights=weights, args=TINY | more)


def weights_of(backbone: Backbone) -> Weights:
    return {key.removeprefix(backbone.published_prefix): tensor for key, tensor in backbone.state_dict().items()}


def without_classifier(weights: Weights) -> Weights:
    return {key: tensor for key, tensor in weights.items() if not key.startswith("head")}


def assert_same(ours: Weights, theirs: Weights) -> None:
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert torch.equal(ours[key], tensor), key


def in_module(weights: Weights) -> Weights:
    return {f"module.{key}": tensor for key, tensor in weights.items()}


WRAPPINGS: dict[str, Callable[[Weights], object]] = {
    "plain": dict,
    "model": lambda weights: {"model": weights},
    "state_dict": lambda weights: {"epoch": 3, "state_dict": in_module(weights), "best_map": 0.5},
    "teacher": lambda weights: {"student": {"other": torch.zeros(2)}, "teacher": weights},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pth_file_is_read_plain_or_wrapped_without_its_classifier(
    wrapping: str, zipped: bool, tmp_path: Path
) -> None:
    weights = timm_weights()
    torch.save(WRAPPINGS[wrapping](weights), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert_same(weights_of(started(tmp_path / "w.pth")), without_classifier(weights))


@pytest.mark.parametrize("name", [NAME, "deit_tiny_distilled_patch16_224", "vit_small_patch14_reg4_dinov2"])
def test_a_safetensors_file_is_read_without_its_classifiers(name: str, tmp_path: Path) -> None:
    side = 42 if "patch14" in name else 48
    weights = timm_weights(name, image_hw=(side, side))
    save_file(weights, tmp_path / "w.safetensors")
    backbone = started(tmp_path / "w.safetensors", name=name, image_hw=(side, side))
    assert_same(weights_of(backbone), without_classifier(weights))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_half_precision_is_widened_exactly(dtype: torch.dtype, ending: str, tmp_path: Path) -> None:
    weights = {key: tensor.to(dtype) for key, tensor in timm_weights().items()}
    path = tmp_path / f"w.{ending}"
    save_file(weights, path) if ending == "safetensors" else torch.save(weights, path)
    widened = {key: tensor.float() for key, tensor in weights.items()}
    assert_same(read_tensors(path), widened)
    assert {tensor.dtype for tensor in read_tensors(path).values()} == {torch.float32}
    assert_same(weights_of(started(path)), without_classifier(widened))


@pytest.mark.parametrize(
    ("name", "patch", "prefix"),
    [(NAME, 16, 1), ("deit_tiny_distilled_patch16_224", 16, 2), ("vit_small_patch14_reg4_dinov2", 14, 0)],
)
@pytest.mark.parametrize("grid", [(2, 2), (3, 5), (6, 4), (1, 7)])
def test_position_embeddings_of_another_grid_are_resized_as_timm_resizes_them(
    name: str, patch: int, prefix: int, grid: tuple[int, int], tmp_path: Path
) -> None:
    weights = timm_weights(name, image_hw=(3 * patch, 3 * patch))
    save_file(weights, tmp_path / "w.safetensors")
    backbone = started(tmp_path / "w.safetensors", name=name, image_hw=(grid[0] * patch, grid[1] * patch))
    resized = resample_abs_pos_embed(weights["pos_embed"], new_size=list(grid), num_prefix_tokens=prefix)
    assert_same(weights_of(backbone), without_classifier(weights) | {"pos_embed": resized})
    # Embeddings of prefix tokens stay as they are; those of patches are resized, not cut.
    assert torch.equal(resized[:, :prefix], weights["pos_embed"][:, :prefix])
    assert not torch.equal(resized[:, prefix : prefix + 1], weights["pos_embed"][:, prefix : prefix + 1])


def test_positions_on_a_grid_of_equal_size_and_another_shape_are_resized(tmp_path: Path) -> None:
    weights = timm_weights(image_hw=(224, 224))
    save_file(weights, tmp_path / "w.safetensors")
    backbone = started(tmp_path / "w.safetensors", image_hw=(112, 448))
    resized = resample_abs_pos_embed(weights["pos_embed"], new_size=[7, 28], old_size=[14, 14])
    assert torch.equal(weights_of(backbone)["pos_embed"], resized)
    assert not torch.allclose(resized, weights["pos_embed"], atol=0.1)


def test_only_a_head_with_equally_many_classes_starts_from_the_classifiers_bias(tmp_path: Path) -> None:
    weights = timm_weights(classes=1000)
    save_file(weights, tmp_path / "w.safetensors")

    def head_bias(classes: int, start: Path | None) -> Tensor:
        torch.manual_seed(0)
        model = create_model(NAME, label_names=classes, image_size=48, weights=start, backbone_args=TINY)
        bias = model.method.head.bias
        assert bias is not None
        return bias.detach()

    assert torch.equal(head_bias(1000, tmp_path / "w.safetensors"), weights["head.bias"])
    # The other head is initialized as PyTorch's convolution, within 1/√(9·24) of zero; the classifier's bias is larger.
    assert head_bias(7, tmp_path / "w.safetensors").abs().max() <= (9 * 24) ** -0.5
    assert head_bias(1000, None).abs().max() <= (9 * 24) ** -0.5 < weights["head.bias"].abs().max()


def test_weights_of_another_width_are_refused_with_both_shapes(tmp_path: Path) -> None:
    save_file(timm_weights(), tmp_path / "w.safetensors")
    message = r"w.safetensors: patch_embed.proj.weight is \(24, 3, 16, 16\), this backbone's is \(36, 3, 16, 16\); name"
    with pytest.raises(WeightsError, match=message):
        started(tmp_path / "w.safetensors", embed_dim=36)


def test_weights_of_another_patch_size_are_refused_not_resampled(tmp_path: Path) -> None:
    save_file(timm_weights(), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"is \(24, 3, 16, 16\), this backbone's is \(24, 3, 14, 14\)"):
        started(tmp_path / "w.safetensors", name="vit_small_patch14_dinov2", image_hw=(42, 42))
    with pytest.raises(WeightsError, match=r"is \(24, 3, 16, 16\), this backbone's is \(24, 3, 8, 8\)"):
        started(tmp_path / "w.safetensors", patch_size=8)


def test_a_wrong_shape_inside_a_block_is_named(tmp_path: Path) -> None:
    save_file(timm_weights() | {"blocks.1.mlp.fc1.bias": torch.zeros(95)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"w.safetensors: blocks.1.mlp.fc1.bias is \(95,\), the model's is \(96,\)"):
        started(tmp_path / "w.safetensors")


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_tensors_of_another_dtype_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    save_file(timm_weights() | {"norm.weight": torch.ones(24, dtype=dtype)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=rf"norm.weight is {dtype}, the model's is torch.float32"):
        started(tmp_path / "w.safetensors")


def test_missing_and_unexpected_names_are_listed(tmp_path: Path) -> None:
    weights = timm_weights()
    del weights["blocks.1.norm2.bias"], weights["cls_token"]
    save_file(weights | {"blocks.2.norm1.bias": torch.zeros(24)}, tmp_path / "w.safetensors")
    with pytest.raises(
        WeightsError,
        match=r"w.safetensors: .* missing blocks.1.norm2.bias, cls_token; unexpected blocks.2.norm1.bias$",
    ):
        started(tmp_path / "w.safetensors")


def test_a_long_list_of_names_is_cut(tmp_path: Path) -> None:
    save_file({"something": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"missing .* and \d+ more; unexpected something") as caught:
        started(tmp_path / "w.safetensors")
    assert len(str(caught.value).removeprefix(str(tmp_path))) < 300


@pytest.mark.parametrize(
    "name",
    ["model", "state_dict", "encoder", "visual.trunk.pos_embed", "radio_model.model.patch_generator.embedder.weight"],
)
def test_a_tensor_with_the_name_of_another_librarys_wrapper_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    save_file(timm_weights() | {name: torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"w\.safetensors: ") as caught:
        started(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


class RunsWhenUnpickled:
    """An object whose pickle creates a folder when Python's own reader reads it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("container", ["zip", "legacy", "pickle 0", "pickle 4"])
def test_a_file_that_would_run_code_is_refused_and_runs_none(container: str, tmp_path: Path) -> None:
    path, trace = tmp_path / "w.pth", tmp_path / "it-ran"
    content = {"model": timm_weights(), "extra": RunsWhenUnpickled(trace)}
    if container.startswith("pickle"):
        path.write_bytes(pickle.dumps({"extra": RunsWhenUnpickled(trace)}, protocol=int(container[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=container == "zip")
    with pytest.raises(WeightsError, match=r"w\.pth: contains objects other than tensors.* no code is run") as caught:
        started(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()
    # The code is real: Python's own reader runs it.
    pickle.loads(pickle.dumps(RunsWhenUnpickled(trace)))
    assert trace.exists()


def write_truncated(path: Path) -> None:
    save_file(timm_weights(), path)
    path.write_bytes(path.read_bytes()[:-100])


def write_truncated_pth(path: Path) -> None:
    torch.save(timm_weights(), path)
    path.write_bytes(path.read_bytes()[:-100])


def write_legacy_pth_without_a_storage(path: Path) -> None:
    torch.save(timm_weights(), path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    *_, last_key = re.finditer(rb"\d{10,}", whole)
    path.write_bytes(whole[: last_key.start()] + b"9" * len(last_key[0]) + whole[last_key.end() :])


def write_in_folder(name: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()

    return write


UNREADABLE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "truncated safetensors": ("w.safetensors", write_truncated, "cannot be read as weights"),
    "truncated pth": ("w.pth", write_truncated_pth, "cannot be read as weights"),
    "corrupt legacy pth": ("w.pth", write_legacy_pth_without_a_storage, "cannot be read as weights"),
    "empty safetensors": ("w.safetensors", Path.touch, "cannot be read as weights"),
    "empty pth": ("w.pth", Path.touch, "cannot be read as weights"),
    "text": ("w.pth", lambda path: path.write_text("epoch 1\nepoch 2\n"), "cannot be read as weights|contains objects"),
    "page of a login": ("w.pth", lambda path: path.write_text("<!DOCTYPE html>"), "cannot be read|contains objects"),
    "text as safetensors": ("w.safetensors", lambda path: path.write_text("weights " * 9), "cannot be read as weights"),
    "list": ("w.pth", lambda path: torch.save([torch.zeros(2)], path), "a list in place of named tensors"),
    "one tensor": ("w.pth", lambda path: torch.save(torch.zeros(2), path), "a Tensor in place of named tensors"),
    "no tensors": ("w.pth", lambda path: torch.save({"epoch": 3}, path), "contains no tensors; expected a state dict"),
    "unknown ending": ("w.npz", Path.touch, "unknown ending '.npz'; weights end in .safetensors, .pth"),
    "missing": ("w.pth", lambda _: None, "no such file; expected weights"),
    "folder": ("w.pth", Path.mkdir, r"a folder; name the file in it \(\.safetensors, \.pth"),
    "model folder": ("w", write_in_folder("model.safetensors"), r"a folder; use .*w/model\.safetensors$"),
    "run folder": (
        "w",
        write_in_folder("weights/best/model.safetensors"),
        r"a folder; use .*w/weights/best/model\.safetensors$",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_is_no_weight_file_is_refused_in_one_line_that_names_it(case: str, tmp_path: Path) -> None:
    name, write, message = UNREADABLE[case]
    write(tmp_path / name)
    with pytest.raises(WeightsError, match=message) as caught:
        started(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_corrupt_file_is_refused_whichever_byte_is_corrupt(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.{ending}"
    weights = {"a.weight": torch.ones(5, 7), "b": torch.ones(3)}
    if ending == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    whole, random = path.read_bytes(), torch.Generator().manual_seed(0)
    refusals = []
    for _ in range(200):
        corrupt = bytearray(whole)
        offsets = torch.randint(min(len(whole), 700), (4,), generator=random)
        values = torch.randint(256, (4,), generator=random)
        for offset, value in zip(offsets.tolist(), values.tolist(), strict=True):
            corrupt[offset] = value
        path.write_bytes(corrupt)
        try:
            read_tensors(path)
        except WeightsError as fault:
            refusals.append(str(fault))
    assert len(refusals) > 100
    assert not any("\n" in refusal for refusal in refusals)


def test_pretrained_weights_without_a_network_are_refused_in_one_line_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))  # an empty cache
    with pytest.raises(
        WeightsError, match=rf"pretrained weights of '{NAME}' are not available .*--weights FILE"
    ) as caught:
        create_backbone(NAME, image_hw=(48, 48), weights="pretrained", args=TINY)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="NaN or infinite values in b;"):
        read_tensors(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("backbone", "source"),
    [
        ("deit_small_patch16_224", "timm/deit_small_patch16_224.fb_in1k"),
        ("vit_small_patch14_dinov2", "timm/vit_small_patch14_dinov2.lvd142m"),
        ("vgg16_cam", "timm/vgg16.tv_in1k"),
        ("conformer_small_patch16", ""),
    ],
)
def test_the_repository_of_pretrained_weights_is_known_by_name(backbone: str, source: str) -> None:
    assert pretrained_source(backbone) == source
