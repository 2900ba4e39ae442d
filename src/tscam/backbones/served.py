"""Which backbones work, and which of them have a class token, looked up without building one.

`tests/contracts/test_served.py` builds and runs all backbones and writes the table `served.json`.
"""

import json
from enum import StrEnum
from functools import cache
from importlib.resources import files


class Served(StrEnum):
    """Methods that work on a backbone."""

    WITH_CLASS_TOKEN = "with class token"  # all
    WITHOUT_CLASS_TOKEN = "without class token"  # those that need no attention
    NOT = "not served"


@cache
def served() -> dict[str, Served]:
    """Return for each backbone, by name, which methods work on it."""
    table = json.loads((files("tscam.backbones") / "served.json").read_text(encoding="utf-8"))
    return {name: Served(status) for status, names in table.items() for name in names}
