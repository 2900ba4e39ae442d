"""Recipes have the authors' figures, settings survive YAML, and invalid settings are refused in one helpful line."""

import math
from pathlib import Path

import pytest

from tscam.config import EvaluateConfig, LocalizeConfig, TrainConfig
from tscam.errors import ConfigError
from tscam.recipe import list_recipes, read_recipe, to_yaml, train_config

# Protocol G: what the original really does; it ignores the values of its own YAML.
AUTHORS = {
    "weight_decay": 0.05,
    "drop_path": 0.1,
    "seed": 26,
    "image_size": 224,
    "resize_size": 256,
    "method": "ts-cam",
    "weights": "pretrained",
    "precision": "fp32",
    "head_learning_rate": None,
    "select": "oracle",  # Its best epoch is the best one on the test split.
    "schedule": "steps",
    "warmup_epochs": 0,
    "layer_decay": 1.0,
    "label_smoothing": 0.0,
    "rand_augment": None,
    "clip_norm": None,
    "ema": None,
    "freeze_backbone": False,
    "freeze_blocks": 0,
    "fast_decode": False,
}
CUB = {"learning_rate": 5e-5, "learning_rate_steps": (30,), "epochs": 60, "batch_size": 128, "dataset": "cub"}
ILSVRC = {"learning_rate": 5e-4, "learning_rate_steps": (10, 12), "epochs": 20, "batch_size": 256}
CONFORMER = {"backbone": "conformer_small_patch16", "weights": "Conformer_small_patch16.pth"}
PUBLISHED = {
    "cub/deit-tiny": AUTHORS | CUB | {"backbone": "deit_tiny_patch16_224"},
    "cub/deit-small": AUTHORS | CUB | {"backbone": "deit_small_patch16_224"},
    "cub/deit-base": AUTHORS | CUB | {"backbone": "deit_base_patch16_224"},
    "cub/deit-base-384": AUTHORS | CUB | {"backbone": "deit_base_patch16_384", "image_size": 384, "resize_size": 438},
    "ilsvrc/deit-small": AUTHORS | ILSVRC | {"dataset": "imagenet", "backbone": "deit_small_patch16_224"},
    "cub/conformer-small": AUTHORS | CUB | CONFORMER,
    "ilsvrc/conformer-small": AUTHORS | ILSVRC | CONFORMER | {"dataset": "imagenet"},
}


def recipe(folder: Path, text: str) -> str:
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return str(folder / "mine.yaml")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_has_the_authors_figures(name: str) -> None:
    config = train_config(name, data="birds", out="run")
    assert {key: getattr(config, key) for key in PUBLISHED[name]} == PUBLISHED[name]


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_of_the_package_leaves_data_and_out_to_the_user(name: str) -> None:
    assert {"data", "out"}.isdisjoint(read_recipe(name))
    config = train_config(name, data="birds", out="run")
    assert (config.data, config.out) == (Path("birds"), Path("run"))


def test_the_recipes_are_found_by_name() -> None:
    modern = {"modern/cub-deit-small", "modern/dinov2-small", "modern/ilsvrc-deit-small"}
    assert set(list_recipes()) == {*PUBLISHED, *modern, "cub/vgg16-cam", "demo/vit-tiny", "own/dinov2-small"}


@pytest.mark.parametrize("name", [name for name in list_recipes() if name not in PUBLISHED])
def test_other_recipes_choose_without_the_test_split(name: str) -> None:
    assert train_config(name, data="birds", out="run").select == "val"


def test_a_change_overrides_the_recipe() -> None:
    config = train_config("cub/deit-tiny", data="birds", out="run", epochs=3, learning_rate_steps=[2])
    assert (config.epochs, config.learning_rate_steps, config.batch_size) == (3, (2,), 128)


def test_a_rate_without_a_point_which_yaml_reads_as_text_is_a_number(tmp_path: Path) -> None:
    settings = read_recipe(recipe(tmp_path, "learning_rate: 5e-5\nhead_learning_rate: 1e-3\nweight_decay: 0\n"))
    assert settings == {"learning_rate": 5e-5, "head_learning_rate": 1e-3, "weight_decay": 0.0}
    assert isinstance(settings["weight_decay"], float)


def test_null_is_none_for_an_optional_setting(tmp_path: Path) -> None:
    settings = read_recipe(recipe(tmp_path, "device: null\ndataset: ~\nhead_learning_rate:\n"))
    assert settings == {"device": None, "dataset": None, "head_learning_rate": None}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "data": "ünïcode näme",
            "dataset": "cub",
            "backbone_args": {"patch_size": 8, "embed_dim": 32, "qkv_bias": False, "init_values": 1e-5},
            "learning_rate": 3e-7,
            "head_learning_rate": 1e-3,
            "learning_rate_steps": (),
            "precision": "fp16",
            "device": "cuda:1",
            "overwrite": True,
            "freeze_blocks": 3,
            "rand_augment": 9,
            "schedule": "cosine",
            "warmup_epochs": 2,
            "ema": 0.999,
            "clip_norm": 1.0,
            "select": "val",
            "cache": "ram",
            "tracker": "tensorboard",
            "method_args": {"layers": (0, 3), "relu": True},
        },
    ],
)
def test_a_config_written_as_yaml_is_the_same_config_again(tmp_path: Path, changes: dict[str, object]) -> None:
    config = train_config("ilsvrc/deit-small", **({"data": "pictures", "out": "run 1"} | changes))
    assert train_config(recipe(tmp_path, to_yaml(config))) == config


def refusal(folder: Path, text: str) -> str:
    """The one-line message that refuses a recipe."""
    with pytest.raises(ConfigError) as refused:
        train_config(recipe(folder, text), data="pictures", out="run")
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epcohs: 3", "no setting 'epcohs'; did you mean 'epochs'?"),
        ("learningrate: 3", "did you mean 'learning_rate'?"),
        ("zebra: 3", "no setting 'zebra'; there are data, out, dataset"),
        ("3: 4", "no setting '3'"),
        ("epochs: ten", "epochs is 'ten'; expected int"),
        ("epochs: 2.5", "epochs is 2.5; expected int"),
        ("epochs: true", "epochs is True; expected int"),
        ("epochs: null", "epochs is None; expected int"),
        ("learning_rate: fast", "learning_rate is 'fast'; expected float"),
        ("learning_rate: true", "learning_rate is True; expected float"),
        ("learning_rate_steps: 30", "learning_rate_steps is 30; expected a list: [int, …]"),
        ("clip_norm: [1]", "clip_norm is [1]; expected float, or null"),
        ("data: ''", "data is ''; expected Path"),
        ("learning_rate_steps: [30, x]", "learning_rate_steps is"),
        ("overwrite: maybe", "overwrite is 'maybe'; expected bool"),
        ("backbone: [deit]", "backbone is"),
        ("backbone_args: 7", "backbone_args is 7; expected a mapping: {name: value, …}"),
        ("data: 5", "data is 5; expected Path"),
        ("dataset: 7", "dataset is 7; expected str"),
    ],
)
def test_an_unknown_key_or_a_value_of_another_type_is_refused(tmp_path: Path, text: str, message: str) -> None:
    refused = refusal(tmp_path, text)
    assert refused.startswith(str(tmp_path / "mine.yaml"))
    assert message in refused


def test_an_unknown_choice_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    message = refusal(tmp_path, "precision: fp8")
    assert "precision is 'fp8'" in message
    assert "fp32" in message
    assert "bf16" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[epochs, 3]", "not a recipe; expected lines of the form"),
        ("60", "not a recipe"),
        ("", "not a recipe"),
        ("epochs: [60", "not YAML"),
        ("a: b: c", "not YAML"),
        ("\tepochs: 60", "not YAML"),
        ("\0", "not YAML"),
    ],
)
def test_a_file_without_a_yaml_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


@pytest.mark.parametrize("tag", ["!!python/object/apply:pathlib.Path.touch", "!!python/object/new:pathlib.Path.touch"])
def test_a_recipe_that_contains_a_program_does_not_run_it(tmp_path: Path, tag: str) -> None:
    trap = tmp_path / "ran"
    assert "not YAML" in refusal(tmp_path, f"epochs: {tag} [!!python/object/apply:pathlib.Path ['{trap}']]")
    assert not trap.exists()


def test_a_similar_name_of_a_recipe_is_suggested() -> None:
    with pytest.raises(
        ConfigError, match=r"no recipe 'cub/deit-smal'; did you mean 'cub/deit-small'\? .*cub/deit-tiny"
    ):
        read_recipe("cub/deit-smal")


def test_an_unknown_name_is_answered_by_the_list_of_recipes() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'xyz'; give a YAML file or one of ") as refused:
        read_recipe("xyz")
    assert str(refused.value).endswith(", ".join(list_recipes()))


def test_a_recipe_without_data_and_out_names_them() -> None:
    with pytest.raises(ConfigError, match="cub/deit-tiny: lacks data, out; give them"):
        train_config("cub/deit-tiny")
    with pytest.raises(ConfigError, match="lacks data;"):
        train_config("cub/deit-tiny", out="run")


def test_a_misspelt_change_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no setting 'batchsize'; did you mean 'batch_size'\?"):
        train_config("cub/deit-tiny", data="birds", out="run", batchsize=3)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, 1.5, math.nan, math.inf])
def test_a_threshold_that_is_not_a_fraction_is_refused(threshold: float) -> None:
    for make in (
        lambda: EvaluateConfig(data=Path("d"), out=Path("o"), threshold=threshold),
        lambda: LocalizeConfig(out=Path("o"), threshold=threshold),
    ):
        with pytest.raises(ConfigError, match=rf"threshold {threshold:g}; expected a fraction .* between 0 and 1"):
            make()


@pytest.mark.parametrize("threshold", [1e-9, 0.12, 1 - 1e-9, None])
def test_a_threshold_inside_the_bounds_is_allowed(threshold: float | None) -> None:
    assert EvaluateConfig(data=Path("d"), out=Path("o"), threshold=threshold).threshold == threshold


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resize_size": 223}, "resize_size 223 is below image_size 224"),
        ({"epochs": 0}, "epochs 0; expected more than 0"),
        ({"epochs": -1}, "epochs -1; expected more than 0"),
        ({"batch_size": 0}, "batch_size 0; expected more than 0"),
        ({"image_size": 0}, "image_size 0; expected more than 0"),
        ({"learning_rate": 0.0}, "learning_rate 0.0; expected more than 0"),
        ({"learning_rate": math.nan}, "learning_rate nan; expected more than 0"),
        ({"head_learning_rate": -1e-3}, "head_learning_rate -0.001; expected more than 0"),
        ({"head_learning_rate": 0.0}, "head_learning_rate 0.0; expected more than 0"),
        ({"learning_rate_steps": [0]}, "learning_rate_steps"),
        ({"learning_rate_steps": [30, -2]}, "learning_rate_steps"),
        ({"drop_path": 1.0}, "drop_path 1.0; expected from 0 to below 1"),
        ({"drop_path": -0.1}, "drop_path -0.1"),
        ({"drop_path": math.nan}, "drop_path nan"),
        ({"weight_decay": -0.05}, "weight_decay -0.05; expected 0 or more"),
        ({"weight_decay": math.inf}, "weight_decay inf; expected at most 1,000,000"),
        ({"weight_decay": math.nan}, "weight_decay nan; expected 0 or more"),
        ({"learning_rate": 1e300}, "learning_rate 1e+300; expected at most 1e+30"),
        ({"head_learning_rate": 1e300}, "head_learning_rate 1e+300; expected at most 1e+30"),
        ({"clip_norm": 1e300}, "clip_norm 1e+300; expected at most 1e+30"),
        ({"resize_size": 16385}, "resize_size 16385; expected at most 16,384"),
        ({"image_size": 16400, "resize_size": 16400}, "image_size 16400; expected at most 16,384"),
        ({"epochs": 1_000_001}, "epochs 1000001; expected at most 1,000,000"),
        ({"workers": -1}, "workers -1; expected 0 or more"),
        ({"seed": -1}, "seed -1; expected 0 to 4294967295"),
        ({"seed": 2**32}, "seed 4294967296; expected 0 to 4294967295"),
        ({"accumulate": 0}, "accumulate 0; expected more than 0"),
        ({"processes": 0}, "processes 0; expected more than 0"),
        ({"save_minutes": 0.0}, "save_minutes 0.0; expected more than 0"),
        ({"save_minutes": math.inf}, "save_minutes inf; expected more than 0"),
        ({"clip_norm": 0.0}, "clip_norm 0.0; expected more than 0"),
        ({"clip_norm": math.nan}, "clip_norm nan; expected more than 0"),
        ({"freeze_blocks": -1}, "freeze_blocks -1; expected 0 or more"),
        ({"warmup_epochs": -1}, "warmup_epochs -1; expected 0 or more"),
        ({"warmup_epochs": 60}, "warmup_epochs 60; expected fewer than epochs, 60"),
        ({"samples_every": -1}, "samples_every -1; expected 0 or more"),
        ({"label_smoothing": 1.0}, "label_smoothing 1.0; expected from 0 to below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing -0.1; expected from 0 to below 1"),
        ({"val_fraction": 0.0}, "val_fraction 0.0; expected between 0 and 1"),
        ({"val_fraction": 1.0}, "val_fraction 1.0; expected between 0 and 1"),
        ({"val_fraction": math.nan}, "val_fraction nan; expected between 0 and 1"),
        ({"layer_decay": 0.0}, "layer_decay 0.0; expected above 0, and 1 at most"),
        ({"layer_decay": 1.1}, "layer_decay 1.1; expected above 0, and 1 at most"),
        ({"ema": 0.0}, "ema 0.0; expected between 0 and 1"),
        ({"ema": 1.0}, "ema 1.0; expected between 0 and 1"),
        ({"rand_augment": 0}, "rand_augment 0; expected 1 to 30"),
        ({"rand_augment": 31}, "rand_augment 31; expected 1 to 30"),
        ({"devices": "0,x"}, "devices '0,x'; expected different GPUs by number, such as 0,1"),
        ({"devices": "1,1"}, "devices '1,1'; expected different GPUs by number, such as 0,1"),
        ({"devices": ""}, "devices ''; expected different GPUs by number, such as 0,1"),
        ({"devices": "²"}, "devices '²'; expected different GPUs by number, such as 0,1"),
        ({"devices": "0", "device": "cuda"}, "devices 0 beside device cuda and processes 1; give one of them"),
        ({"devices": "0,1", "processes": 3}, "devices 0,1 beside device None and processes 3; give one of them"),
    ],
)
def test_a_setting_of_training_out_of_its_bounds_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        train_config("cub/deit-small", data="birds", out="run", **changes)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"select": "best"}, "train: select is 'best'; expected val or last or oracle"),
        ({"schedule": "linear"}, "train: schedule is 'linear'; expected steps or cosine"),
        ({"cache": "disk"}, "train: cache is 'disk'; expected none or ram"),
        ({"precision": "fp8"}, "train: precision is 'fp8'; expected fp32 or bf16 or fp16"),
        ({"ema": "slow"}, "train: ema is 'slow'; expected"),
        ({"rand_augment": 9.5}, "train: rand_augment is 9.5; expected"),
        ({"auto_batch": 1}, "train: auto_batch is 1; expected bool"),
    ],
)
def test_a_choice_or_type_that_a_setting_does_not_allow_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        train_config("cub/deit-small", data="birds", out="run", **changes)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_each_numbered_gpu_gets_a_process() -> None:
    config = TrainConfig(data=Path("d"), out=Path("o"), devices="3,0")
    assert (config.gpus, config.process_count) == ((3, 0), 2)
    alone = TrainConfig(data=Path("d"), out=Path("o"))
    assert (alone.gpus, alone.process_count) == ((), 1)
    assert TrainConfig(data=Path("d"), out=Path("o"), processes=3).process_count == 3


def test_the_defaults_are_allowed() -> None:
    config = TrainConfig(data=Path("d"), out=Path("o"), resize_size=224)
    assert (config.image_size, config.resize_size) == (224, 224)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": 0}, "top_k 0; expected 1 or more"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"workers": -1}, "workers -1"),
    ],
)
def test_a_setting_of_localization_out_of_its_bounds_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LocalizeConfig(out=Path("o"), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"), [({"batch_size": -2}, "batch_size -2"), ({"workers": -1}, "workers -1")]
)
def test_a_setting_of_evaluation_out_of_its_bounds_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EvaluateConfig(data=Path("d"), out=Path("o"), **changes)  # type: ignore[arg-type]


def test_a_view_that_is_not_square_is_read_from_a_recipe_and_written_again(tmp_path: Path) -> None:
    config = train_config(recipe(tmp_path, "image_size: 48x96\nresize_size: 110\n"), data="birds", out="run")
    assert (config.image_size, config.image_hw, config.resize_size) == ("48x96", (48, 96), 110)
    assert train_config(recipe(tmp_path, to_yaml(config))) == config
    for square in ("224x224", 224, "224"):
        assert train_config("cub/deit-small", data="d", out="o", image_size=square).image_size == 224


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_size": "48x96", "resize_size": 95}, "resize_size 95 is below image_size 48x96"),
        ({"image_size": "48x96x2"}, "image_size '48x96x2'; expected a number such as 224, or height x width"),
        ({"image_size": 2.5}, "train: image_size is 2.5; expected int or str"),
        ({"image_size": True}, "train: image_size is True; expected int or str"),
    ],
)
def test_a_view_of_another_form_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        train_config("cub/deit-small", data="birds", out="run", **changes)
    assert said in str(refused.value)
