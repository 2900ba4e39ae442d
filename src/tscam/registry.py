"""Registries of plug-ins by name, open to other packages through entry points; and the types of their options."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from tscam.errors import ConfigError, did_you_mean, quoted

Entry = TypeVar("Entry")

# Arguments of an architecture, such as `embed_dim`, written into a model folder unchanged.
ModelArgs = Mapping[str, int | float | str | bool]

# Options of a method, such as `layers`, written into a model folder unchanged. The command line takes the first type
# that fits: with bool in front it would read [0] as False.
MethodArgs = Mapping[str, tuple[int, ...] | bool]


class Registry(Generic[Entry]):
    """Plug-ins of one type, by name.

    Another package adds entries through an entry point in the group `tscam.<noun>s`; its module registers on import.

    Args:
        noun: name of the type in messages, such as `method`.
        home: module that registers our own entries; imported at the first look-up, because its import is slow.
    """

    def __init__(self, noun: str, *, home: str | None = None) -> None:
        self.noun = noun
        self._home = home
        self._entries: dict[str, Entry] = {}
        self._is_loaded = False

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that registers an entry under `name`; a name in use is a programming error."""

        def add(entry: Entry) -> Entry:
            if name in self._entries:
                raise ValueError(f"{self.noun} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> Entry:
        """Return the entry of that name.

        Raises:
            ConfigError: no such name; the message lists the names and the nearest one.
        """
        self._load()
        if name not in self._entries:
            hint = did_you_mean(name, self._entries) or "."
            raise ConfigError(f"no {self.noun} named {quoted(name)}{hint} Registered: {', '.join(self)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def _load(self) -> None:
        if not self._is_loaded:
            self._is_loaded = True
            if self._home is not None:
                import_module(self._home)
            for point in entry_points(group=f"tscam.{self.noun.replace(' ', '_')}s"):
                point.load()
