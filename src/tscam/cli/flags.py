"""How flags of the command line become settings: from recipes, and refused where they would be guessed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from cyclopts import App, ArgumentCollection, Parameter
from cyclopts.config import Dict

from tscam.errors import ConfigError
from tscam.recipe import read_recipe

# The fields of a verb's settings are flags of their own.
Flags = Parameter(name="*")
# What a recipe brings is not known when help is asked, so no defaults are shown.
RecipeFlags = Parameter(name="*", show_default=False)


_MODELS = ("MODEL", "--model")

# In bytes, of a file, on Linux, macOS and Windows alike.
_LONGEST_NAME = 255


def fill_from_recipe(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Settings that the command line of `train` leaves open come from its recipe."""
    given = [token.value for argument in arguments if argument.name == "RECIPE" for token in argument.tokens]
    if given:
        # A mapping as the JSON that its flag takes: cyclopts would look for a flag for each of its keys.
        settings = {
            key: json.dumps(value) if isinstance(value, Mapping) else value
            for key, value in read_recipe(given[0]).items()
        }
        if any(argument.name == "--print-config" and argument.tokens for argument in arguments):
            settings = {"data": "DATA", "out": "RUN"} | settings  # what is to be printed need not be there
        Dict(settings, source=given[0], use_commands_as_keys=False)(app, commands, arguments)


def refuse_what_would_be_guessed(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fractions of whole numbers, which would be rounded, and paths that are empty, which would be the current folder.

    And paths that no system takes, which would be an OSError wherever one looks for them first.
    """
    for argument in arguments:
        kinds = {argument.hint, *get_args(argument.hint)}
        if argument.name in _MODELS:
            kinds.add(Path)  # a name on the hub is no path, but the same names are refused
        for given in (token.value for token in argument.tokens):
            if Path in kinds and not given.strip():
                raise ConfigError(f"{argument.name} is empty; name a file or folder")
            if Path in kinds and any(len(os.fsencode(name)) > _LONGEST_NAME for name in Path(given).parts):
                raise ConfigError(f"{argument.name}: a name of more than {_LONGEST_NAME} bytes; choose a shorter one")
            if int in kinds and float not in kinds and _is_fraction(given):
                raise ConfigError(f"{argument.name} {given}; expected a whole number")


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except ValueError:  # no number, which is said elsewhere
        return False
