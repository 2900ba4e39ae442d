"""Models are loaded from their folder bit for bit; a corrupt folder is refused in one line."""

import ctypes
import errno
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import tscam.checkpoints.model_folder
from figures import seeded_weights
from tiny_models import assert_same, names, refusal
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import save_model
from tscam.errors import OutputError
from tscam.model import LocalizationModel, create_model

TINY: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}
LABELS = ("Gänsegeier", "狐", 'a "quoted" name')


def seeded_model(*, method: str = "ts-cam", seed: int = 31) -> LocalizationModel:
    model = create_model(
        "deit_tiny_distilled_patch16_224", label_names=LABELS, image_size=(48, 80), method=method, backbone_args=TINY
    )
    shapes = {key: tensor.shape for key, tensor in model.tensors().items()}
    model.load_tensors(seeded_weights(shapes, seed=seed, scale=0.3), source="the rule")
    return model.eval()


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


@pytest.mark.parametrize("method", ["ts-cam", "cam"])
def test_a_model_is_loaded_from_its_folder_bit_for_bit(method: str, tmp_path: Path) -> None:
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


def test_the_options_of_the_method_are_loaded_with_the_model(tmp_path: Path) -> None:
    options: dict[str, bool | tuple[int, ...]] = {"layers": (1,), "heads": (0, 1), "relu": True}
    model = create_model("deit_tiny_patch16_224", label_names=3, image_size=48, backbone_args=TINY, method_args=options)
    save_model(model, tmp_path / "model")
    assert load_model(tmp_path / "model").spec.method_args == options


def test_the_config_states_the_architecture_of_the_model_and_its_scores(tmp_path: Path) -> None:
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


def test_the_card_has_a_readable_head_and_names_the_start_weights(tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model", base_model="timm/vit.augreg", metrics={"gt_known_loc": 87.5})
    _, head, body = (tmp_path / "model" / "README.md").read_text(encoding="utf-8").split("---\n")
    assert yaml.safe_load(head)["base_model"] == "timm/vit.augreg"
    assert "| GT-known Loc | 87.5 |" in body
    assert "ts-cam" in yaml.safe_load(head)["tags"]
    assert "48×80 pixels, threshold 0.1" in body


def test_a_run_folder_gives_its_best_weights(tmp_path: Path) -> None:
    save_model(seeded_model(seed=1), tmp_path / "run" / "weights" / "last")
    save_model(seeded_model(seed=2), tmp_path / "run" / "weights" / "best")
    assert_same(load_model(tmp_path / "run"), seeded_model(seed=2).tensors())
    assert_same(load_model(tmp_path / "run" / "weights" / "last"), seeded_model(seed=1).tensors())


def test_the_old_weights_are_read_where_a_kill_left_them_under_their_backup_name(tmp_path: Path) -> None:
    best = tmp_path / "run" / "weights" / "best"
    save_model(seeded_model(seed=1), best)
    best.rename(best.with_name(".best.old"))
    for name in (tmp_path / "run", best):
        assert_same(load_model(name), seeded_model(seed=1).tensors())
    save_model(seeded_model(seed=2), best)
    assert names(best.parent) == ["best"]
    assert_same(load_model(tmp_path / "run"), seeded_model(seed=2).tensors())


def test_an_old_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    save_model(seeded_model(seed=1), tmp_path / "model")
    (tmp_path / "model" / "stale.txt").touch()
    save_model(seeded_model(seed=2), tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["README.md", "config.json", "model.safetensors"]
    assert_same(load_model(tmp_path / "model"), seeded_model(seed=2).tensors())


def test_leftovers_of_a_crash_do_not_stop_the_next_save(tmp_path: Path) -> None:
    for leftover in (".model.new", ".model.old"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "model.safetensors").write_text("half")
    save_model(seeded_model(), tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert_same(load_model(tmp_path / "model"), seeded_model().tensors())


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")]
)
@pytest.mark.parametrize("has_old", [True, False], ids=["over an old folder", "new"])
def test_a_failed_write_leaves_the_old_folder_and_nothing_half_written(
    fault: Exception, has_old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_old:
        save_model(seeded_model(seed=1), tmp_path / "model")
    before = contents(tmp_path / "model") if has_old else {}

    def fail_halfway(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half of the wei")
        raise fault

    monkeypatch.setattr(tscam.checkpoints.model_folder, "save_file", fail_halfway)
    with pytest.raises(OutputError, match=r"model: the model cannot be written \(.*No space left on device") as caught:
        save_model(seeded_model(seed=2), tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == (["model"] if has_old else [])
    assert not has_old or contents(tmp_path / "model") == before


class NoSwap:
    """A C library without the exchange of two names."""

    def __init__(self, _: object) -> None:
        pass


def test_a_failed_rename_restores_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(seeded_model(seed=1), tmp_path / "model")
    before, rename = contents(tmp_path / "model"), Path.rename
    monkeypatch.setattr(ctypes, "CDLL", NoSwap)

    def refuse_new_folder(self: Path, target: Path) -> Path:
        if self.name == ".model.new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new_folder)
    with pytest.raises(OutputError, match="Input/output error"):
        save_model(seeded_model(seed=2), tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert contents(tmp_path / "model") == before


def test_the_files_of_a_model_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save_model(seeded_model(), tmp_path / "model")
    for file in (tmp_path / "model").iterdir():
        assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode, file.name


def test_a_path_below_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OutputError, match="the model cannot be written") as caught:
        save_model(seeded_model(), tmp_path / "file" / "model")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "precious"


# Corrupt and hostile folders

Config = dict[str, Any]


def with_value(*keys: str, to: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = to

    return change


def with_labels(*names: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        config.update(label_names=list(names), num_classes=len(names))

    return change


def without(key: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        del config[key]

    return change


WRONG: dict[str, tuple[Callable[[Config], None], str]] = {
    "newer": (with_value("tscam", "format_version", to=2), "format 2, this tscam reads 1; update tscam"),
    "version as text": (with_value("tscam", "format_version", to="1"), "format '1', this tscam reads 1"),
    "no version": (with_value("tscam", to={}), "not the config of a model folder .*format_version"),
    "another mean": (with_value("pretrained_cfg", "mean", to=[0.0, 0.0, 0.0]), r"mean is \[0.0, 0.0, 0.0\]; .* only"),
    "another head": (with_value("tscam", "head", to="linear"), "head is 'linear'; .* only 'conv3x3'"),
    "another count": (with_value("num_classes", to=40), "num_classes is not the number of label_names"),
    "endless depth": (with_value("model_args", "depth", to=10**9), "depth 1000000000; expected .* from 1 to 200"),
    "no section": (without("tscam"), "not the config of a model folder .*tscam"),
    "no labels": (without("label_names"), "not the config of a model folder .*label_names"),
    "labels as a string": (with_value("label_names", to="abc"), "label_names is not a list"),
    "labels null": (with_value("label_names", to=None), "label_names is not a list"),
    "empty labels": (with_labels(), "no classes"),
    "too few labels": (with_labels("a", "b"), r"head.bias is \(3,\), the model's is \(2,\)"),
    "too many labels": (with_labels(*"abcd"), r"head.bias is \(3,\), the model's is \(4,\)"),
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
        with_value("pretrained_cfg", "input_size", to=[3, 16 * 1000, 16 * 1000]),
        r"pos_embed is \(1, 17, 24\), the model's is \(1, 1000002, 24\)",
    ),
    "huge size": (with_value("pretrained_cfg", "input_size", to=[3, 16 * 10**9, 16 * 10**9]), "1 to 16,384 pixels"),
    "astronomic size": (with_value("pretrained_cfg", "input_size", to=[3, 10**40, 80]), "1 to 16,384 pixels"),
    "infinite size": (with_value("pretrained_cfg", "input_size", to=[3, float("inf"), 80]), "not the config"),
    "negative size": (with_value("pretrained_cfg", "input_size", to=[3, -48, 80]), "config.json: "),
    "a size of an attack": (with_value("pretrained_cfg", "input_size", to=[3, 20_000, 20_000]), "1 to 16,384 pixels$"),
    "negative heads": (
        with_value("model_args", to=TINY | {"num_heads": -4}),
        "config.json: backbone argument num_heads -4; expected an integer from 0 to 65,536",
    ),
    "more blocks than tensors": (
        with_value("model_args", to=TINY | {"depth": 199}),
        "config.json: backbone argument depth 199; the weights are 33 tensors$",
    ),
    "a long class name": (
        with_value("label_names", to=["x" * 5000, "b", "c"]),
        "class 'xxx.*…; expected at most 500 c",
    ),
    "a long architecture": (with_value("architecture", to="x" * 5000), "no backbone named 'xxx.*…; `tscam list"),
    "an option of another type": (
        with_value("tscam", "method_args", to={"layers": {"a": 1}}),
        r"option layers \{'a': 1\}; expected true, false, or a list of indices from 0 to 65,536",
    ),
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
def test_a_wrong_config_is_refused_in_one_line_that_names_the_file(case: str, tmp_path: Path) -> None:
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
def test_a_file_that_is_not_a_config_is_refused(text: str, tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(text)
    assert "config.json: not the config of a model folder" in refusal(tmp_path / "model")


def test_a_config_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model")
    (tmp_path / "model" / "config.json").write_bytes(b"\xff\xfe{")
    assert "config.json: not the config of a model folder (UnicodeDecodeError" in refusal(tmp_path / "model")


def test_a_folder_without_weights_or_with_other_weights_is_refused(tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    weights = load_file(path)
    path.unlink()
    assert "model.safetensors: no such file" in refusal(tmp_path / "model")
    save_file({key: tensor for key, tensor in weights.items() if key != "dist_token"}, path)
    assert "model.safetensors: tensor names differ from the model's: missing dist_token" in refusal(tmp_path / "model")
    path.write_bytes(path.read_bytes()[:-8])
    assert "model.safetensors: cannot be read as weights" in refusal(tmp_path / "model")


def test_a_pickle_beside_a_config_is_never_read(tmp_path: Path) -> None:
    save_model(seeded_model(), tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    assert "model.safetensors: no such file" in refusal(tmp_path / "model")


def test_a_path_that_is_no_model_is_refused_with_the_kinds_of_models(tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").touch()
    (tmp_path / "empty").mkdir()
    assert "no such file or folder; a MODEL is a model folder, a run folder" in refusal(tmp_path / "missing")
    assert "unknown ending '.jpg'; a MODEL is a folder or ends in .safetensors, .pth" in refusal(
        tmp_path / "picture.jpg"
    )
    assert "not a model folder, it has no readable config.json" in refusal(tmp_path / "empty")
