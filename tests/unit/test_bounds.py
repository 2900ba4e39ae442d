"""Every number, text, list and path of the settings has bounds; what is beyond is refused in one short line."""

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from tscam.bounds import require_architecture, view_hw
from tscam.config import EvaluateConfig, ExplainConfig, LocalizeConfig, TrainConfig
from tscam.errors import ConfigError

CONFIGS = {config.__name__: config for config in (TrainConfig, EvaluateConfig, LocalizeConfig, ExplainConfig)}


def settings_of(*types: object) -> list[tuple[str, str]]:
    """Settings of all verbs whose type is, or contains, one of these."""
    return [
        (name, setting.name)
        for name, config in CONFIGS.items()
        for setting in fields(config)
        if {hint := get_type_hints(config)[setting.name], *get_args(hint)} & {*types}
    ]


def refusal(config: str, **changes: object) -> str:
    required = {"data": Path("d"), "out": Path("o")}
    names = {setting.name for setting in fields(CONFIGS[config])}
    settings: Any = {name: value for name, value in required.items() if name in names} | changes
    with pytest.raises(ConfigError) as refused:
        CONFIGS[config](**settings)
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) <= 300
    return message


@pytest.mark.parametrize(("config", "setting"), settings_of(int))
def test_every_integer_has_a_largest_and_a_least_value(config: str, setting: str) -> None:
    is_list = get_args(get_type_hints(CONFIGS[config])[setting])[1:] == (...,)
    for number in (10**20, -(10**20), 16**30_000, -(16**30_000)):
        assert setting in refusal(config, **{setting: (number,) if is_list else number})


@pytest.mark.parametrize(("config", "setting"), settings_of(float))
def test_every_number_has_a_largest_and_a_least_value(config: str, setting: str) -> None:
    for number in (1e40, -1e40, math.inf, -math.inf, math.nan):
        assert setting in refusal(config, **{setting: number})


@pytest.mark.parametrize(("config", "setting"), settings_of(str))
def test_every_text_has_a_longest_length(config: str, setting: str) -> None:
    hint = get_type_hints(CONFIGS[config])[setting]
    text = "x" * 5000
    if isinstance(hint, type) or get_args(hint)[1:] != (...,):
        if getattr(hint, "__origin__", None) is not Mapping:
            assert setting in refusal(config, **{setting: text})
    else:
        assert setting in refusal(config, **{setting: (text,)})
        assert setting in refusal(config, **{setting: ("x",) * 5000})


@pytest.mark.parametrize(("config", "setting"), settings_of(Path))
@pytest.mark.parametrize("path", ["x" * 300, "x/" * 3000, "a\0b", "\ud800"])
def test_a_path_that_no_system_takes_is_refused(config: str, setting: str, path: str) -> None:
    assert refusal(config, **{setting: Path(path)}).startswith(f"{setting}: ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"num_heads": -4}, "num_heads -4; expected an integer from 0 to 65,536"),
        ({"embed_dim": 10**12}, "embed_dim 1000000000000; expected"),
        ({"embed_dim": 16**30_000}, "embed_dim an integer of 120001 bits; expected"),
        ({"depth": 10**9}, "depth 1000000000; expected an integer from 1 to 200"),
        ({"depth": "two"}, "depth 'two'; expected an integer from 1 to 200"),
        ({"mlp_ratio": float("inf")}, "mlp_ratio inf; expected"),
        ({"mlp_ratio": float("nan")}, "mlp_ratio nan; expected"),
        ({"norm_layer": "x" * 5000}, "norm_layer 'xxx"),
        ({"embed_dim": {"a": 1}}, "embed_dim {'a': 1}; expected"),
        ({"embed_dim": None}, "embed_dim None; expected"),
        ({"n" * 5000: -1}, "nnn… -1; expected"),
        ({"checkpoint_path": "/etc/passwd"}, "'checkpoint_path' does not change an architecture"),
    ],
)
def test_an_argument_that_no_architecture_has_is_refused(args: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        require_architecture(args)
    assert message in str(refused.value)
    assert len(str(refused.value)) <= 300


def test_arguments_of_an_architecture_pass() -> None:
    require_architecture(
        {"depth": 200, "embed_dim": 65_536, "qkv_bias": False, "init_values": 1e-5, "act_layer": "gelu"}
    )


@pytest.mark.parametrize(
    ("size", "image_hw"),
    [(224, (224, 224)), ("224", (224, 224)), ("48x96", (48, 96)), ("96 x 48", (96, 48)), ("48×96", (48, 96))],
)
def test_the_size_of_a_view_is_its_side_or_height_and_width(size: int | str, image_hw: tuple[int, int]) -> None:
    assert view_hw(size, name="image_size") == image_hw


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "image_size 0; expected more than 0"),
        (-3, "image_size -3; expected more than 0"),
        ("0x48", "image_size 0x48; expected more than 0"),
        ("48x16385", "image_size 48x16385; expected at most 16,384"),
        (16_385, "image_size 16385; expected at most 16,384"),
        ("48x", "image_size '48x'; expected a number such as 224, or height x width, such as 48x96"),
        ("48x96x3", "image_size '48x96x3'; expected a number such as 224"),
        ("-48x96", "image_size '-48x96'; expected"),
        ("large", "image_size 'large'; expected"),
        ("", "image_size ''; expected"),
        ("9" * 5000, "image_size '999"),
    ],
)
def test_another_size_of_a_view_is_refused(size: int | str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        view_hw(size, name="image_size")
    assert message in str(refused.value)
    assert len(str(refused.value)) <= 300
