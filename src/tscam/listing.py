"""The names of what is registered, for `tscam list`."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from typing import Literal

from tscam.backbones import list_backbones
from tscam.datasets import dataset_readers
from tscam.formats import formats
from tscam.methods import methods
from tscam.recipe import list_recipes

Kind = Literal["methods", "backbones", "datasets", "recipes", "formats"]

_NAMES: dict[Kind, Callable[[], Iterable[str]]] = {
    "methods": lambda: methods,
    "backbones": list_backbones,
    "datasets": lambda: dataset_readers,
    "recipes": list_recipes,
    "formats": lambda: formats,
}


def names_of(kind: Kind, *, pattern: str = "*") -> list[str]:
    """The names of that kind that fit a shell pattern, sorted."""
    return sorted(name for name in _NAMES[kind]() if fnmatch(name, pattern))
