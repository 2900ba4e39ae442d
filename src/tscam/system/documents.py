"""Small documents of strangers, YAML and JSON: bounded in size, depth and number of values before they are used."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tscam.errors import one_line, shown

if TYPE_CHECKING:
    import yaml

# Bytes of a document. A recipe has two thousand; the config of a model with 20,000 classes has half a million.
MAX_YAML, MAX_JSON = 2**15, 2**22

# Levels of a YAML document, and its values. A recipe has two levels.
_MAX_DEPTH, _MAX_VALUES = 8, 5000


def read_small(path: Path, *, at_most: int) -> bytes:
    """Return the content of a file that must be small.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger.
    """
    with path.open("rb") as file:
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise ValueError(f"more than {at_most:,} bytes")
    return content


def read_json(path: Path) -> object:
    """Return the content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, or not JSON; says why.
    """
    try:
        return json.loads(read_small(path, at_most=MAX_JSON).decode())
    except RecursionError as fault:
        raise ValueError(one_line(fault)) from fault


def parse_yaml(text: str) -> object:
    """Return the content of a YAML document of plain values, lists and mappings, without aliases and tags.

    Dates and merge keys are text.

    Raises:
        ValueError: not such a document; says why.
    """
    import yaml  # Here, so that `--help` does not wait for it.

    loader = _plain_loader()
    depth = 0
    try:
        for number, event in enumerate(yaml.parse(text, Loader=loader)):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"an alias, {shown(f'*{event.anchor}')}; write the value in its place")
            if tag := getattr(event, "tag", None):
                raise ValueError(f"a tag, {shown(tag)}; write plain values")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH or number > _MAX_VALUES:
                raise ValueError(f"more than {_MAX_DEPTH} levels or {_MAX_VALUES} values")
        return yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as fault:
        line = "" if fault.problem_mark is None else f"line {fault.problem_mark.line + 1}: "
        raise ValueError(f"{line}{shown(str(fault.problem))}") from fault
    except yaml.YAMLError as fault:
        raise ValueError(one_line(fault)) from fault
    except (TypeError, LookupError, ArithmeticError) as fault:  # of YAML's constructors of numbers
        raise ValueError(one_line(fault)) from fault


@cache
def _plain_loader() -> "type[yaml.SafeLoader]":
    """YAML's loader without dates, which may not exist, and merge keys."""
    import yaml

    left_out = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"}

    class PlainLoader(yaml.SafeLoader):
        pass

    PlainLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in left_out]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return PlainLoader
