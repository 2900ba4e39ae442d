"""Which backbones work, and whether they have a class token: known without building them.

`served.json` is what `tests/contracts/test_served.py` has found by running them all.
"""

import json
from enum import StrEnum
from functools import cache
from importlib.resources import files


class Served(StrEnum):
    """What a backbone can be read by."""

    WITH_CLASS_TOKEN = "with class token"  # every method
    WITHOUT_CLASS_TOKEN = "without class token"
    NOT = "not served"


@cache
def served() -> dict[str, Served]:
    """What each backbone can be read by, by name."""
    table = json.loads((files("tscam.backbones") / "served.json").read_text(encoding="utf-8"))
    return {name: Served(kind) for kind, names in table.items() for name in names}
