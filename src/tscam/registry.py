"""Names of plug-ins: a name finds its entry, a near miss finds a hint, other packages add entries by entry points."""

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from tscam.errors import ConfigError, did_you_mean

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """The entries of one kind of plug-in, by name.

    A package outside adds to it by an entry point in the group `tscam.<kind>s`, whose module registers on import.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}
        self._outside_loaded = False

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
        self._load_outside()
        if name not in self._entries:
            hint = did_you_mean(name, self._entries) or "."
            raise ConfigError(f"no {self.kind} named {name!r}{hint} Registered: {', '.join(self)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load_outside()
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def _load_outside(self) -> None:
        if not self._outside_loaded:
            self._outside_loaded = True
            for point in entry_points(group=f"tscam.{self.kind.replace(' ', '_')}s"):
                point.load()
