"""The names of what is registered, for `tscam list`."""

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
    "backbones": served,  # not built, nor imported: timm alone takes seconds
    "datasets": lambda: dataset_readers,
    "recipes": list_recipes,
    "formats": lambda: formats,
}


def names_of(kind: Kind, *, pattern: str = "*") -> list[str]:
    """The names of that kind that fit a shell pattern, sorted."""
    return sorted(name for name in _NAMES[kind]() if fnmatch(name, pattern))


def lines_of(kind: Kind, *, pattern: str = "*") -> list[str]:
    """The same for people: beside the name of a backbone stand the methods that work with it."""
    names = names_of(kind, pattern=pattern)
    if kind != "backbones":
        return names
    width = max(map(len, names), default=0)
    return [f"{name:{width}}  {_READ_BY[served()[name]]()}" for name in names]


def _without_attention() -> str:
    reads = Record.CLASS_ATTENTION | Record.ATTENTION
    return " ".join(name for name in methods if not methods[name].required_records() & reads)


_READ_BY: dict[Served, Callable[[], str]] = {
    Served.WITH_CLASS_TOKEN: lambda: " ".join(methods),
    Served.WITHOUT_CLASS_TOKEN: _without_attention,
    Served.NOT: lambda: "not served",
}
