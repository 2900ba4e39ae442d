"""Names as people compare them: Unicode in composed form (NFC), whatever form a disk or a file of annotations uses."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path


def nfc(text: str) -> str:
    """Return text in Unicode's composed form; a Mac's disk and many tools decompose letters with accents (NFD)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


class NameTable:
    """Finds classes by their name: those of the same name, or of the only name that differs from it in case alone."""

    def __init__(self, names: Iterable[str]) -> None:
        self._class_ids: dict[str, list[int]] = {}
        for class_id, name in enumerate(names):
            self._class_ids.setdefault(nfc(name), []).append(class_id)
        self._spellings: dict[str, list[str]] = {}
        for name in self._class_ids:
            self._spellings.setdefault(name.casefold(), []).append(name)

    def find(self, name: str) -> list[int]:
        """Return the ids of the classes; none where no name fits, or where names of several spellings do."""
        composed = nfc(name)
        if composed in self._class_ids:
            return self._class_ids[composed]
        spellings = self._spellings.get(composed.casefold(), [])
        return self._class_ids[spellings[0]] if len(spellings) == 1 else []

    def shared(self) -> dict[str, list[int]]:
        """Return the names that several classes have, with the ids of these classes."""
        return {name: class_ids for name, class_ids in self._class_ids.items() if len(class_ids) > 1}


class OnDisk:
    """Finds how a disk spells paths below a folder; call it with a path as a list spells it.

    A path of ASCII and one that exists stay as they are; so do the parts of a path from the first that is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listings: dict[str, dict[str, str]] = {}

    def __call__(self, path: str) -> str:
        if path.isascii() or os.path.lexists(self._folder / path):
            return path
        spelled = ""
        for part in path.split("/"):
            spelled = os.path.join(spelled, self._names(spelled).get(nfc(part), part))  # noqa: PTH118 - no objects.
        return spelled

    def _names(self, path: str) -> dict[str, str]:
        """Return the names in a folder by their composed form; none where it cannot be listed."""
        if path not in self._listings:
            try:
                self._listings[path] = {nfc(entry.name): entry.name for entry in (self._folder / path).iterdir()}
            except OSError:
                self._listings[path] = {}
        return self._listings[path]
