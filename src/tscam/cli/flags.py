"""The way from flags to settings: recipes fill in what the command line leaves open, ambiguous values are refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from cyclopts import App, ArgumentCollection, Parameter
from cyclopts.config import Dict

from tscam.errors import ConfigError, shown
from tscam.recipe import read_recipe
from tscam.system.paths import require_path

# Every field of a verb's settings is a flag.
Flags = Parameter(name="*")
# No defaults in the help of a verb that takes a recipe: the help does not know the recipe.
RecipeFlags = Parameter(name="*", show_default=False)

# Arguments that name a model: a path, or a name on the hub.
_MODELS = ("MODEL", "--model")


def fill_from_recipe(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take the settings of `train` that the command line leaves open from its recipe."""
    recipes = [token.value for argument in arguments if argument.name == "RECIPE" for token in argument.tokens]
    if not recipes:
        return
    # A mapping as JSON, which its flag takes too: cyclopts would look for a flag for each of its keys.
    settings = {
        key: json.dumps(value) if isinstance(value, Mapping) else value
        for key, value in read_recipe(recipes[0]).items()
    }
    if any(argument.name == "--print-config" and argument.tokens for argument in arguments):
        settings = {"data": "DATA", "out": "RUN"} | settings  # settings are printed without them, too
    Dict(settings, source=recipes[0], use_commands_as_keys=False)(app, commands, arguments)


def refuse_ambiguous_values(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse fractions for integers, which would be rounded, and empty paths, which would mean the current folder.

    Refuse paths with too long names as well: they would be an OSError wherever they are first looked for.
    """
    for argument in arguments:
        types = {argument.hint, *get_args(argument.hint)}
        if argument.name in _MODELS:
            types.add(Path)  # a name on the hub is not a path, but the same names are refused
        for value in (token.value for token in argument.tokens):
            if Path in types:
                require_path(value, name=argument.name)
            if int in types and float not in types and _is_fraction(value):
                raise ConfigError(f"{argument.name} {shown(value)}; expected a whole number")


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except ValueError:  # not a number, which cyclopts reports
        return False
