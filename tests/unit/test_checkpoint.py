"""Models come back from their files bit for bit; files of another layout are refused in one line; nothing is lost."""

import errno
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import tscam.checkpoint
from reference.figures import arrays, largest_difference, seeded_weights, table
from tscam.checkpoint import convert_weights, load_model, save_model
from tscam.errors import ConfigError, OutputError, WeightsError
from tscam.model import LocalizationModel, create_model

TINY: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}
LABELS = ("Gänsegeier", "狐", 'a "quoted" name')

Weights = dict[str, Tensor]


def seeded_model(*, method: str = "ts-cam", seed: int = 31) -> LocalizationModel:
    model = create_model(
        "deit_tiny_distilled_patch16_224", label_names=LABELS, image_size=(48, 80), method=method, backbone_args=TINY
    )
    shapes = {key: tensor.shape for key, tensor in model.tensors().items()}
    model.load_tensors(seeded_weights(shapes, seed=seed, scale=0.3), source="the rule")
    return model.eval()


def hollow(*, width: int = 192, blocks: int = 12, patch: int = 16, positions: int = 197, classes: int = 200) -> Weights:
    """A checkpoint in the authors' layout, all zeros, each tensor a single stored number."""
    shapes = {
        key: shape
        for key, shape in table("state_dict_shapes.json")["deit_tscam_tiny_patch16_224"].items()
        if not key.startswith("blocks.") or int(key.split(".")[1]) < blocks
    }
    scaled = {
        key: [width * axis // 192 if axis % 192 == 0 else axis for axis in shape] for key, shape in shapes.items()
    }
    scaled |= {
        "patch_embed.proj.weight": [width, 3, patch, patch],
        "pos_embed": [1, positions, width],
        "head.weight": [classes, width, 3, 3],
        "head.bias": [classes],
    }
    return {key: torch.zeros(()).expand(shape) for key, shape in scaled.items()}


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def assert_same(model: LocalizationModel, weights: Mapping[str, Tensor]) -> None:
    ours = model.tensors()
    assert ours.keys() == weights.keys()
    for key, tensor in weights.items():
        assert torch.equal(ours[key], tensor), key


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


# The authors' files


@pytest.mark.parametrize("prefix", ["module.", ""], ids=["of DataParallel", "plain"])
def test_an_authors_file_gives_the_authors_figures(prefix: str, tmp_path: Path) -> None:
    name = "deit_tscam_tiny_patch16_224"
    weights = seeded_weights(table("state_dict_shapes.json")[name], seed=8, scale=0.02)
    named = {prefix + key: tensor for key, tensor in weights.items()}
    torch.save({"epoch": 60, "state_dict": named, "best_map": 0.7} if prefix else named, tmp_path / "model_best.pth")
    model = load_model(tmp_path / "model_best.pth").eval()
    assert_same(model, weights)

    pixels = torch.from_numpy(np.random.RandomState(9).standard_normal((1, 3, 224, 224)).astype(np.float32))
    with torch.inference_mode():
        logits, classes, maps = model.localize(pixels, top_k=200)
    figures = arrays(f"{name}.npz")
    assert largest_difference(logits.numpy(), figures["logits"]) < 1e-4
    assert largest_difference(maps[0, classes[0].argsort()][None, :8].numpy(), figures["cams_first8"]) < 1e-4


@pytest.mark.parametrize(
    ("layout", "backbone", "side", "threshold"),
    [
        ({"classes": 200}, "deit_tiny_patch16_224", 224, 0.10),
        ({"classes": 1000}, "deit_tiny_patch16_224", 224, 0.12),
        ({"classes": 37}, "deit_tiny_patch16_224", 224, 0.10),
        ({"positions": 577}, "deit_tiny_patch16_224", 384, 0.10),
        ({"width": 384}, "deit_small_patch16_224", 224, 0.10),
    ],
    ids=str,
)
def test_the_spec_of_an_authors_file_is_read_off_its_shapes(
    layout: dict[str, int], backbone: str, side: int, threshold: float, tmp_path: Path
) -> None:
    torch.save({"state_dict": hollow(**layout)}, tmp_path / "w.pth")
    spec = load_model(tmp_path / "w.pth").spec
    assert (spec.backbone, spec.method, spec.image_hw) == (backbone, "ts-cam", (side, side))
    assert spec.label_names == tuple(str(number) for number in range(layout.get("classes", 200)))
    assert spec.threshold == threshold


def test_an_authors_file_can_be_read_by_another_method(tmp_path: Path) -> None:
    torch.save(hollow(), tmp_path / "w.pth")
    assert load_model(tmp_path / "w.pth", method="cam").spec.method == "cam"
    with pytest.raises(ConfigError, match="no method named 'gradcam'"):
        load_model(tmp_path / "w.pth", method="gradcam")


def conformer() -> Weights:
    shapes = {
        "cls_token": [1, 1, 384], "trans_cls_head.weight": [200, 384, 3, 3], "conv1.weight": [64, 3, 7, 7],
        "conv_trans_2.cnn_block.conv1.weight": [64, 256, 1, 1], "conv_trans_2.trans_block.attn.qkv.bias": [1152],
    }  # fmt: skip
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}


REFUSED: dict[str, tuple[Weights, str]] = {
    "a plain classifier": (
        hollow() | {"head.weight": torch.zeros(200, 192)},
        r"head.weight is \(200, 192\), a plain classifier's; .* `tscam train",
    ),
    "a Conformer": (conformer(), r"not a TS-CAM checkpoint on DeiT: missing .*patch_embed.proj.weight.*cls_token"),
    "another model": ({"fc.weight": torch.zeros(3, 2)}, "not a TS-CAM checkpoint on DeiT: .* it holds fc.weight"),
    "another width": (hollow(width=576), "12 blocks, 576 channels, patch 16, 197 positions are not one of the auth"),
    "fewer blocks": (hollow(blocks=11), "11 blocks, 192 channels"),
    "another patch": (hollow(patch=14), "patch 14"),
    "no square grid": (hollow(positions=1 + 14 * 15), "211 positions"),
    "no positions": (hollow(positions=0), "patch 16, 0 positions"),
    "a distilled model": (hollow(positions=198), "198 positions"),
    "a missing name": (
        {key: tensor for key, tensor in hollow().items() if key != "blocks.3.norm1.weight"},
        "missing blocks.3.norm1.weight; left over none",
    ),
    "a left-over name": (hollow() | {"extra.weight": torch.zeros(1)}, "missing none; left over extra.weight"),
    "a misshapen block": (
        hollow() | {"blocks.3.mlp.fc1.bias": torch.zeros(767)},
        r"blocks.3.mlp.fc1.bias is \(767,\), the model's is \(768,\)",
    ),
    "flat positions": (hollow() | {"pos_embed": torch.zeros(197)}, "pos_embed"),
    "a flat embedding": (hollow() | {"patch_embed.proj.weight": torch.zeros(())}, "patch_embed.proj.weight"),
    "no classes": (hollow(classes=0), "no classes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_checkpoint_of_another_layout_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    weights, message = REFUSED[case]
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in weights.items()}}, tmp_path / "w.pth")
    assert re.search(message, refusal(tmp_path / "w.pth"))


def test_what_is_no_model_at_all_is_refused_with_what_a_model_is(tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").touch()
    (tmp_path / "empty").mkdir()
    assert "no such file or folder; a MODEL is a model folder, a run folder" in refusal(tmp_path / "missing")
    assert "unknown ending '.jpg'; a MODEL is a folder or ends in .safetensors, .pth" in refusal(
        tmp_path / "picture.jpg"
    )
    assert "not a model folder, it has no readable config.json" in refusal(tmp_path / "empty")


# The model folder


@pytest.mark.parametrize("method", ["ts-cam", "cam"])
def test_a_model_folder_gives_the_same_model_back_bit_for_bit(method: str, tmp_path: Path) -> None:
    model = seeded_model(method=method)
    save_model(model, tmp_path / "deep" / "model", metrics={"gt_known_loc": 87.5})
    assert names(tmp_path / "deep") == ["model"]
    assert names(tmp_path / "deep" / "model") == ["README.md", "config.json", "model.safetensors"]
    read = load_model(tmp_path / "deep" / "model").eval()
    assert read.spec == model.spec
    assert_same(read, model.tensors())
    pixels = torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for ours, theirs in zip(read.localize(pixels, top_k=2), model.localize(pixels, top_k=2), strict=True):
            assert torch.equal(ours, theirs)


def test_the_config_says_all_that_is_needed_to_build_the_model_and_what_it_reached(tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model", metrics={"gt_known_loc": 87.5, "protocol": "ts_cam"})
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["architecture"] == "deit_tiny_distilled_patch16_224"
    assert config["label_names"] == list(LABELS)
    assert config["num_classes"] == 3
    assert config["model_args"] == TINY
    assert config["pretrained_cfg"]["input_size"] == [3, 48, 80]
    assert config["pretrained_cfg"]["mean"] == [0.485, 0.456, 0.406]
    assert config["tscam"]["format_version"] == 1
    assert config["tscam"]["threshold"] == 0.1
    assert config["tscam"]["metrics"] == {"gt_known_loc": 87.5, "protocol": "ts_cam"}


def test_the_card_has_a_readable_head_and_names_where_the_weights_came_from(tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model", base_model='a "b": c')
    _, head, body = (tmp_path / "model" / "README.md").read_text(encoding="utf-8").split("---\n")
    assert yaml.safe_load(head)["base_model"] == 'a "b": c'
    assert "ts-cam" in yaml.safe_load(head)["tags"]
    assert "48×80 pixels, threshold 0.1" in body


def test_a_run_folder_gives_its_best_weights(tmp_path: Path) -> None:
    save_model(seeded_model(seed=1), tmp_path / "run" / "weights" / "last")
    save_model(seeded_model(seed=2), tmp_path / "run" / "weights" / "best")
    assert_same(load_model(tmp_path / "run"), seeded_model(seed=2).tensors())
    assert_same(load_model(tmp_path / "run" / "weights" / "last"), seeded_model(seed=1).tensors())


def test_a_folder_that_is_there_is_replaced_as_a_whole(tmp_path: Path) -> None:
    save_model(seeded_model(seed=1), tmp_path / "model")
    (tmp_path / "model" / "stale.txt").touch()
    save_model(seeded_model(seed=2), tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["README.md", "config.json", "model.safetensors"]
    assert_same(load_model(tmp_path / "model"), seeded_model(seed=2).tensors())


def test_what_a_crash_left_beside_the_folder_does_not_stop_the_next_save(tmp_path: Path) -> None:
    for left in (".model.new", ".model.old"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "model.safetensors").write_text("half")
    save_model(seeded_model(), tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert_same(load_model(tmp_path / "model"), seeded_model().tensors())


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")]
)
@pytest.mark.parametrize("there", [True, False], ids=["over an old folder", "new"])
def test_a_write_that_fails_leaves_the_old_folder_and_nothing_half_written(
    fault: Exception, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there:
        save_model(seeded_model(seed=1), tmp_path / "model")
    before = contents(tmp_path / "model") if there else {}

    def fail_halfway(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half of the wei")
        raise fault

    monkeypatch.setattr(tscam.checkpoint, "save_file", fail_halfway)
    with pytest.raises(OutputError, match=r"model: the model cannot be written \(.*No space left on device") as caught:
        save_model(seeded_model(seed=2), tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == (["model"] if there else [])
    assert not there or contents(tmp_path / "model") == before


def test_a_rename_that_fails_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(seeded_model(seed=1), tmp_path / "model")
    before, rename = contents(tmp_path / "model"), Path.rename

    def refuse_the_new_one(self: Path, target: Path) -> Path:
        if self.name == ".model.new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with pytest.raises(OutputError, match="Input/output error"):
        save_model(seeded_model(seed=2), tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert contents(tmp_path / "model") == before


def test_the_files_of_a_model_have_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save_model(seeded_model(), tmp_path / "model")
    for file in (tmp_path / "model").iterdir():
        assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode, file.name


def test_a_place_where_no_folder_can_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OutputError, match="the model cannot be written") as caught:
        save_model(seeded_model(), tmp_path / "file" / "model")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "precious"


# Folders that are broken or hostile

Config = dict[str, Any]


def with_value(*keys: str, to: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = to

    return change


def without(key: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        del config[key]

    return change


WRONG: dict[str, tuple[Callable[[Config], None], str]] = {
    "newer": (with_value("tscam", "format_version", to=2), "format 2, this tscam reads 1; update tscam"),
    "version as text": (with_value("tscam", "format_version", to="1"), "format '1', this tscam reads 1"),
    "no version": (with_value("tscam", to={}), "not the config of a model folder .*format_version"),
    "no section": (without("tscam"), "not the config of a model folder .*tscam"),
    "no labels": (without("label_names"), "not the config of a model folder .*label_names"),
    "labels as a string": (with_value("label_names", to="abc"), "label_names is not a list"),
    "labels null": (with_value("label_names", to=None), "label_names is not a list"),
    "empty labels": (with_value("label_names", to=[]), "a model of no classes"),
    "too few labels": (with_value("label_names", to=["a", "b"]), r"head.bias is \(3,\), the model's is \(2,\)"),
    "too many labels": (with_value("label_names", to=list("abcd")), r"head.bias is \(3,\), the model's is \(4,\)"),
    "threshold NaN": (with_value("tscam", "threshold", to=float("nan")), "config.json: threshold nan; expected"),
    "threshold infinite": (with_value("tscam", "threshold", to=float("inf")), "config.json: threshold inf; expected"),
    "threshold 7": (with_value("tscam", "threshold", to=7), "config.json: threshold 7; expected"),
    "threshold as a list": (with_value("tscam", "threshold", to=[0.1]), "not the config of a model folder"),
    "unknown method": (with_value("tscam", "method", to="gradcam"), "config.json: no method named 'gradcam'"),
    "method as a list": (with_value("tscam", "method", to=["cam"]), "config.json: no method named"),
    "a path as architecture": (with_value("architecture", to="../../x"), "config.json: no backbone named '../../x'"),
    "a hub as architecture": (with_value("architecture", to="hf-hub:x/y"), "config.json: no backbone named 'hf-hub:"),
    "a number as architecture": (with_value("architecture", to=5), "config.json: no backbone named '5'"),
    "no architecture": (with_value("architecture", to=None), "config.json: no backbone named 'None'"),
    "another size": (with_value("pretrained_cfg", "input_size", to=[3, 64, 80]), r"pos_embed is \(1, 17, 24\)"),
    "large size": (
        with_value("pretrained_cfg", "input_size", to=[3, 16 * 8000, 16 * 8000]),
        r"pos_embed is \(1, 17, 24\), the model's is \(1, 64000002, 24\)",
    ),
    "huge size": (with_value("pretrained_cfg", "input_size", to=[3, 16 * 10**9, 16 * 10**9]), "config.json: backbone"),
    "astronomic size": (with_value("pretrained_cfg", "input_size", to=[3, 10**40, 80]), "config.json: backbone"),
    "infinite size": (with_value("pretrained_cfg", "input_size", to=[3, float("inf"), 80]), "not the config"),
    "negative size": (with_value("pretrained_cfg", "input_size", to=[3, -48, 80]), "config.json: "),
    "no size": (with_value("pretrained_cfg", "input_size", to=[3, 0, 0]), "config.json: "),
    "size as text": (with_value("pretrained_cfg", "input_size", to="3x48x80"), "not the config of a model folder"),
    "broken patches": (with_value("pretrained_cfg", "input_size", to=[3, 50, 80]), "config.json: image size 50 is not"),
    "wide": (with_value("model_args", to=TINY | {"embed_dim": 10**12}), "config.json: backbone"),
    "headless": (with_value("model_args", to=TINY | {"num_heads": 0}), "config.json: backbone"),
    "no patch": (with_value("model_args", to=TINY | {"patch_size": 0}), "config.json: backbone"),
    "nonsense norm": (with_value("model_args", to=TINY | {"norm_layer": "os.system"}), "config.json: backbone"),
    "nested args": (with_value("model_args", to=TINY | {"embed_dim": {"a": 1}}), "config.json: "),
    "args as a list": (with_value("model_args", to=[1, 2]), "not the config of a model folder"),
    "another file": (
        with_value("model_args", to=TINY | {"checkpoint_path": "/etc/passwd"}),
        "config.json: backbone argument 'checkpoint_path'",
    ),
    "another cache": (
        with_value("model_args", to=TINY | {"cache_dir": "/tmp/x"}),
        "config.json: backbone argument 'cache_dir'",
    ),
    "the hub": (
        with_value("model_args", to=TINY | {"pretrained_cfg": {"hf_hub_id": "x/y"}}),
        "config.json: backbone argument 'pretrained_cfg'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_config_that_cannot_be_right_is_refused_in_one_line_that_names_the_file(case: str, tmp_path: Path) -> None:
    change, message = WRONG[case]
    save_model(seeded_model(), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    change(config)
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    assert re.search(message, refusal(tmp_path / "model"))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", "{}", "NaN", '{"tscam": 3}', "[" * 100_000, "9" * 5000, "\0"],
    ids=lambda text: text[:9],
)
def test_a_config_that_is_no_config_is_refused(text: str, tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(text)
    assert "config.json: not the config of a model folder" in refusal(tmp_path / "model")


def test_a_config_of_bytes_that_are_no_text_is_refused(tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model")
    (tmp_path / "model" / "config.json").write_bytes(b"\xff\xfe{")
    assert "config.json: not the config of a model folder (UnicodeDecodeError" in refusal(tmp_path / "model")


def test_a_folder_without_weights_or_with_others_is_refused(tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    weights = load_file(path)
    path.unlink()
    assert "model.safetensors: no such file" in refusal(tmp_path / "model")
    save_file({key: tensor for key, tensor in weights.items() if key != "dist_token"}, path)
    assert "model.safetensors: other names than the model's: missing dist_token" in refusal(tmp_path / "model")
    path.write_bytes(path.read_bytes()[:-8])
    assert "model.safetensors: cannot be read as weights" in refusal(tmp_path / "model")


def test_a_pickle_beside_a_config_is_never_read(tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    assert "model.safetensors: no such file" in refusal(tmp_path / "model")


# Conversion


def test_an_authors_file_becomes_a_model_folder_with_the_names_of_its_classes(tmp_path: Path) -> None:
    weights = hollow(classes=3) | {"head.bias": torch.tensor([1.0, 2.0, 3.0])}
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in weights.items()}}, tmp_path / "w.pth")
    (tmp_path / "labels.txt").write_text("Gänsegeier\n\n  black fox \n狐\n", encoding="utf-8")
    folder = convert_weights(tmp_path / "w.pth", out=tmp_path / "out", labels=tmp_path / "labels.txt")
    assert folder == tmp_path / "out"
    model = load_model(folder)
    assert model.spec.label_names == ("Gänsegeier", "black fox", "狐")
    assert model.spec.image_hw == (224, 224)
    assert model.tensors()["head.bias"].tolist() == [1, 2, 3]
    assert load_model(convert_weights(tmp_path / "w.pth", out=tmp_path / "numbers")).spec.label_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (b"one\ntwo\n", r"labels.txt: 2 names, the model has 3 classes; expected a name a line"),
        (b"one\ntwo\nthree\nfour", "labels.txt: 4 names, the model has 3 classes"),
        (b"", "labels.txt: 0 names, the model has 3 classes"),
        (b"\xff\xfe\n", "labels.txt: cannot be read as text"),
        (None, "labels.txt: cannot be read as text .*No such file"),
    ],
)
def test_labels_that_are_not_the_classes_are_refused_before_anything_is_written(
    labels: bytes | None, message: str, tmp_path: Path
) -> None:
    torch.save(hollow(classes=3), tmp_path / "w.pth")
    if labels is not None:
        (tmp_path / "labels.txt").write_bytes(labels)
    with pytest.raises(ConfigError, match=message) as caught:
        convert_weights(tmp_path / "w.pth", out=tmp_path / "out", labels=tmp_path / "labels.txt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_kept_unless_it_may_be_overwritten(tmp_path: Path) -> None:
    torch.save(hollow(classes=3), tmp_path / "w.pth")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").touch()
    with pytest.raises(OutputError, match="the folder is not empty"):
        convert_weights(tmp_path / "w.pth", out=tmp_path / "out")
    assert names(tmp_path / "out") == ["precious.txt"]
    convert_weights(tmp_path / "w.pth", out=tmp_path / "out", overwrite=True)
    assert names(tmp_path / "out") == ["README.md", "config.json", "model.safetensors"]
