"""Names of plug-ins: a name finds its entry, a near miss finds a hint, other packages add entries by entry points."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from tscam.errors import ConfigError, did_you_mean

Entry = TypeVar("Entry")

# Options of a method, such as `layers`, written into a model folder unchanged. The command line takes the first type
# that fits: with bool in front it would read [0] as False.
MethodArgs = Mapping[str, tuple[int, ...] | bool]


class Registry(Generic[Entry]):
    """The entries of one kind of plug-in, by name.

    A package outside adds to it by an entry point in the group `tscam.<kind>s`, whose module registers on import.

    Args:
        kind: what an entry is, for messages.
        home: a module whose import files our own entries, where that is too slow to be done before one is looked for.
    """

    def __init__(self, kind: str, *, home: str | None = None) -> None:
        self.kind = kind
        self._home = home
        self._entries: dict[str, Entry] = {}
        self._is_loaded = False

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Decorator that files an entry under `name`; a name already taken is a programming error."""

        def file(entry: Entry) -> Entry:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return file

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            ConfigError: no such name; the message lists the names and the nearest one.
        """
        self._load()
        if name not in self._entries:
            hint = did_you_mean(name, self._entries) or "."
            raise ConfigError(f"no {self.kind} named {name!r}{hint} Registered: {', '.join(self)}")
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
            for point in entry_points(group=f"tscam.{self.kind.replace(' ', '_')}s"):
                point.load()
