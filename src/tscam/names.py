"""Names as people compare them: Unicode in composed form (NFC), whatever form a disk or a file of annotations uses."""

import unicodedata
from collections.abc import Iterable


def nfc(text: str) -> str:
    """Return text in Unicode's composed form; a Mac's disk and many tools decompose letters with accents (NFD)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


class NameTable:
    """Finds a class by its name: the same name, or the only one that differs from it in case alone."""

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = {nfc(name): class_id for class_id, name in enumerate(names)}
        self._folded: dict[str, list[int]] = {}
        for name, class_id in self._exact.items():
            self._folded.setdefault(name.casefold(), []).append(class_id)

    def find(self, name: str) -> int | None:
        """Return the id of a class; None where no class fits, or several do."""
        composed = nfc(name)
        if composed in self._exact:
            return self._exact[composed]
        candidates = self._folded.get(composed.casefold(), [])
        return candidates[0] if len(candidates) == 1 else None
