"""Recipes: YAML files of `TrainConfig` fields; the recipes of the package are found by name. Imports no PyTorch."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tscam.config import TrainConfig
from tscam.errors import ConfigError, did_you_mean, first_names, one_line, quoted
from tscam.system.documents import MAX_YAML, parse_yaml, read_small

_LONGEST_INTEGER = 128  # bits; Python refuses to write much longer ones


@cache
def list_recipes() -> tuple[str, ...]:
    """The names of the package's recipes, such as `cub/deit-small`."""
    folder = files("tscam") / "recipes"
    return tuple(
        sorted(f"{group.name}/{file.name.removesuffix('.yaml')}" for group in folder.iterdir() if group.is_dir()
               for file in group.iterdir() if file.name.endswith(".yaml"))
    )  # fmt: skip


def read_recipe(recipe: str) -> dict[str, object]:
    """The settings of a recipe: one of the package's, by name, or a YAML file.

    Raises:
        ConfigError: no such recipe, not YAML, or a key or value that `TrainConfig` does not have.
    """
    try:
        if recipe in list_recipes():
            text = (files("tscam") / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8")
        elif Path(recipe).is_file():
            text = read_small(Path(recipe), at_most=MAX_YAML).decode(errors="replace")
        else:
            hint = did_you_mean(recipe, list_recipes()) or ";"
            raise ConfigError(
                f"no recipe {quoted(recipe)}{hint} give a YAML file or one of {', '.join(list_recipes())}"
            )
        settings = parse_yaml(text)
    except OSError as fault:
        raise ConfigError(f"recipe {quoted(recipe)}: cannot be read ({one_line(fault)})") from fault
    except ValueError as fault:
        raise ConfigError(f"{recipe}: not YAML ({fault})") from fault
    if not isinstance(settings, dict):
        raise ConfigError(f"{recipe}: not a recipe; expected lines of the form `epochs: 60`")
    return {str(key): _setting(str(key), value, source=recipe) for key, value in settings.items()}


def train_config(recipe: str, **changes: object) -> TrainConfig:
    """The settings of a recipe with changes; they include `data` and `out` unless the recipe does.

    Raises:
        ConfigError: as `read_recipe`; a setting that neither has, or a value that is not allowed.
    """
    settings = read_recipe(recipe) | {key: _setting(key, value, source="train") for key, value in changes.items()}
    missing = {"data", "out"} - settings.keys()
    if missing:
        raise ConfigError(f"{recipe}: lacks {', '.join(sorted(missing))}; give them in the recipe or beside it")
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
    """The value of a setting in the type of its field.

    Raises:
        ConfigError: no such setting, or a value of another type; names the source.
    """
    types = get_type_hints(TrainConfig)
    if key not in types:
        hint = did_you_mean(key, types) or ";"
        raise ConfigError(f"{source}: no setting {quoted(key)}{hint} there are {first_names(list(types), at_most=12)}")
    try:
        return _converted(value, types[key])
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{source}: {key} is {quoted(value)}; expected {_type_name(types[key])}") from None


def _type_name(type_: Any) -> str:
    if get_origin(type_) is Literal:
        return " or ".join(get_args(type_))
    if get_origin(type_) is tuple:
        return f"a list: [{_type_name(get_args(type_)[0])}, …]"
    if get_origin(type_) in (Union, UnionType):
        names = " or ".join(_type_name(part) for part in get_args(type_) if part is not NoneType)
        return f"{names}, or null" if NoneType in get_args(type_) else names
    if get_origin(type_) is Mapping:
        return "a mapping: {name: value, …}"
    return type_.__name__ if isinstance(type_, type) else str(type_)


def _converted_to_any(value: object, types: tuple[Any, ...]) -> object:
    """A YAML value in the first of several types that it fits."""
    for type_ in types:
        try:
            return _converted(value, type_)
        except (TypeError, ValueError):
            continue
    raise TypeError


def _is_option(item: tuple[object, object]) -> bool:
    """True for the name of an option with one value, or with a list of integers."""
    name, value = item
    values = value if isinstance(value, list | tuple) else [value]
    allowed = int if isinstance(value, list | tuple) else bool | int | float | str
    return isinstance(name, str) and all(isinstance(each, allowed) for each in values)


def _converted(value: object, type_: Any) -> object:
    """A YAML value in the type of its field; raises ValueError or TypeError for a value of another type."""
    origin, parts = get_origin(type_), get_args(type_)
    if origin is Union or origin is UnionType:
        return None if value is None and NoneType in parts else _converted_to_any(value, parts)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_converted(item, parts[0]) for item in value)
    if origin is Mapping and isinstance(value, Mapping) and all(map(_is_option, value.items())):
        return {name: tuple(option) if isinstance(option, list) else option for name, option in value.items()}
    if origin is Literal and value in parts:
        return value
    if type_ is Path and isinstance(value, str | Path) and str(value).strip():
        return Path(value)
    if type_ is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        return float(value)  # YAML reads 5e-5, which has no point, as text
    if type_ is int and isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER:
        raise ValueError
    if type(value) is type_:
        return value
    raise TypeError
