"""Recipes: YAML files of `TrainConfig` fields; those the package brings are found by name. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tscam.config import TrainConfig
from tscam.errors import ConfigError, did_you_mean, one_line


@cache
def list_recipes() -> tuple[str, ...]:
    """The names of the recipes that the package brings, such as `cub/deit-small`."""
    folder = files("tscam") / "recipes"
    return tuple(
        sorted(f"{group.name}/{file.name.removesuffix('.yaml')}" for group in folder.iterdir() if group.is_dir()
               for file in group.iterdir() if file.name.endswith(".yaml"))
    )  # fmt: skip


def read_recipe(recipe: str) -> dict[str, object]:
    """The settings of a recipe: one of the package's, by name, or a YAML file of one's own.

    Raises:
        ConfigError: no such recipe, not YAML, or a key or value that `TrainConfig` does not know.
    """
    if recipe in list_recipes():
        text = (files("tscam") / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8")
    elif Path(recipe).is_file():
        text = Path(recipe).read_text(encoding="utf-8", errors="replace")
    else:
        hint = did_you_mean(recipe, list_recipes()) or ";"
        raise ConfigError(f"no recipe {recipe!r}{hint} give a YAML file or one of {', '.join(list_recipes())}")
    import yaml  # here, so that `--help` does not wait for it

    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise ConfigError(f"{recipe}: not YAML ({one_line(fault)})") from fault
    if not isinstance(settings, dict):
        raise ConfigError(f"{recipe}: not a recipe; expected lines of the form `epochs: 60`")
    return {str(key): _setting(str(key), value, source=recipe) for key, value in settings.items()}


def train_config(recipe: str, **changes: object) -> TrainConfig:
    """The settings of a recipe with the given changes; `data` and `out` among them unless the recipe has them.

    Raises:
        ConfigError: as `read_recipe`; a setting that neither gives, or one with a value that is not allowed.
    """
    settings = read_recipe(recipe) | {key: _setting(key, value, source="train") for key, value in changes.items()}
    lacking = {"data", "out"} - settings.keys()
    if lacking:
        raise ConfigError(f"{recipe}: lacks {', '.join(sorted(lacking))}; give them in the recipe or beside it")
    return TrainConfig(**settings)  # type: ignore[arg-type]  # each was converted to its field's type


def to_yaml(config: TrainConfig) -> str:
    """All settings as a recipe that gives the same run again."""
    import yaml

    return yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True)


def to_plain(config: TrainConfig) -> dict[str, object]:
    """All settings as JSON values."""
    return {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
    }


def _setting(key: str, value: object, *, source: str) -> object:
    kinds = get_type_hints(TrainConfig)
    if key not in kinds:
        hint = did_you_mean(key, kinds) or ";"
        raise ConfigError(f"{source}: no setting {key!r}{hint} there are {', '.join(kinds)}")
    try:
        return _converted(value, kinds[key])
    except (TypeError, ValueError):
        raise ConfigError(f"{source}: {key} is {value!r}; expected {_kind_name(kinds[key])}") from None


def _kind_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list: [{_kind_name(get_args(kind)[0])}, …]"
    if type(None) in get_args(kind):
        return " or ".join(_kind_name(part) for part in get_args(kind) if part is not NoneType) + ", or null"
    if get_origin(kind) is Mapping:
        return "a mapping: {name: value, …}"
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _converted(value: object, kind: Any) -> object:
    """A YAML value as the type of its field; ValueError or TypeError where it is of another."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Union or origin is UnionType:
        return None if value is None else _converted(value, next(part for part in parts if part is not NoneType))
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_converted(item, parts[0]) for item in value)
    if origin is Mapping and isinstance(value, Mapping):
        return dict(value)
    if origin is Literal and value in parts:
        return value
    if kind is Path and isinstance(value, str | Path) and str(value).strip():
        return Path(value)
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        return float(value)  # YAML reads 5e-5, which has no point, as text
    if type(value) is kind:
        return value
    raise TypeError
