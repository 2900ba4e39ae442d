"""The verb `list`: the names of methods, backbones, datasets, recipes and formats."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from typing import Literal

from tscam.backbones.features import Record
from tscam.backbones.served import Served, served
from tscam.datasets import dataset_readers
from tscam.formats import formats
from tscam.methods import methods
from tscam.recipe import list_recipes

Kind = Literal["methods", "backbones", "datasets", "recipes", "formats"]

_NAMES: dict[Kind, Callable[[], Iterable[str]]] = {
    "methods": lambda: methods,
    "backbones": served,  # neither built nor imported: timm alone takes seconds
    "datasets": lambda: dataset_readers,
    "recipes": list_recipes,
    "formats": lambda: formats,
}


def list_names(kind: Kind, *, pattern: str = "*") -> list[str]:
    """The names of one kind that match a shell pattern, sorted."""
    return sorted(name for name in _NAMES[kind]() if fnmatch(name, pattern))


def describe_names(kind: Kind, *, pattern: str = "*") -> list[str]:
    """A line for each name; that of a backbone also names the methods that work with it."""
    names = list_names(kind, pattern=pattern)
    if kind != "backbones":
        return names
    width = max(map(len, names), default=0)
    return [f"{name:{width}}  {_METHODS[served()[name]]()}" for name in names]


def _without_attention() -> str:
    attention = Record.CLASS_ATTENTION | Record.ATTENTION
    return " ".join(name for name in methods if not methods[name].required_records() & attention)


_METHODS: dict[Served, Callable[[], str]] = {
    Served.WITH_CLASS_TOKEN: lambda: " ".join(methods),
    Served.WITHOUT_CLASS_TOKEN: _without_attention,
    Served.NOT: lambda: "not served",
}
