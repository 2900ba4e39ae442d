"""The output folder of `localize`: a line, a drawing and what failed for each picture, as the pictures are finished."""

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tscam.drawing import draw
from tscam.errors import DataError
from tscam.localization import Localization, LocalizationFile
from tscam.system.lines import LineFile, RowFile
from tscam.system.writing import Cell, plain_cell, write_bytes_atomically

LOCALIZATIONS, BAD_IMAGES, FAILED_DRAWINGS = "localizations.jsonl", "bad_images.csv", "failed_drawings.csv"

_QUALITY = 92  # of a drawing's JPEG


class LocalizationFolder:
    """Takes the localizations of a run one by one; those that an interrupted run has left in the folder are kept.

    The line of a picture is written last, so a picture with a line has everything else.

    Args:
        folder: locked by this process.
        images: all pictures of the run, in their order.
        with_drawings: draw each picture in `drawings/`.

    Raises:
        DataError: lines in the folder are not localizations of these pictures.
        OutputError: the disk refuses.
    """

    def __init__(self, folder: Path, images: Sequence[Path], *, with_drawings: bool) -> None:
        self._folder, self._images, self._with_drawings = folder, images, with_drawings
        with ExitStack() as files:
            self._lines = files.enter_context(LineFile(folder / LOCALIZATIONS))
            self._bad = files.enter_context(
                RowFile(folder / BAD_IMAGES, ["image", "reason"], rows=self._rows_of_bad_images())
            )
            self._failed = files.enter_context(
                RowFile(folder / FAILED_DRAWINGS, ["number", "image", "reason"], rows=self._rows_of_failed_drawings())
            )
            self._files = files.pop_all()

    @property
    def localizations(self) -> LocalizationFile:
        """All localizations so far."""
        return LocalizationFile(self._folder / LOCALIZATIONS)

    def __len__(self) -> int:
        """Number of pictures that are finished; they are the first ones."""
        return len(self._lines)

    def add(self, localization: Localization) -> None:
        """Add the localization of the next picture.

        Raises:
            OutputError: the disk refuses; the picture is then not finished.
        """
        if localization.status == "bad_image":
            self._bad.append([localization.image, localization.reason])
        elif self._with_drawings:
            self._draw(localization, number=len(self) + 1)
        self._lines.append(localization.to_json().encode())

    def __enter__(self) -> "LocalizationFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def _draw(self, localization: Localization, *, number: int) -> None:
        encoded = io.BytesIO()
        try:
            draw(localization).save(encoded, "JPEG", quality=_QUALITY)
        except DataError as fault:  # The picture has gone or changed since it was localized.
            self._failed.append([number, localization.image, str(fault)])
            return
        path = self._folder / "drawings" / f"{number:06d}-{_safe_stem(localization.image)}.jpg"
        write_bytes_atomically(path, encoded.getvalue())

    def _rows_of_bad_images(self) -> Iterator[Sequence[Cell]]:
        """Yield the rows of the pictures that are finished, after a check that the lines are theirs."""
        path = self._folder / LOCALIZATIONS
        if len(self) > len(self._images):
            raise DataError(f"{path}: {len(self)} lines for {len(self._images)} pictures; choose another folder")
        for number, (localization, image) in enumerate(zip(self.localizations, self._images, strict=False), start=1):
            if localization.image != str(image):
                raise DataError(
                    f"{path}:{number}: localizes {localization.image!r}, {str(image)!r} is due; choose another folder"
                )
            if localization.status == "bad_image":
                yield localization.image, localization.reason

    def _rows_of_failed_drawings(self) -> Iterator[Sequence[Cell]]:
        """Yield the rows of the pictures that are finished; a picture that is not is drawn again."""
        path = self._folder / FAILED_DRAWINGS
        if not path.exists():
            return
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.reader(file):
                if len(row) == 3 and row[0].isdecimal() and int(row[0]) <= len(self):
                    yield int(row[0]), *map(plain_cell, row[1:])


def _safe_stem(image: str) -> str:
    """Return the stem of a picture's name, safe in any shell and file system."""
    stem = re.sub(r"[\x00-\x1f\x7f<>:\"'`$/\\|?*=]+", "_", Path(image).stem)
    return os.fsencode(stem)[:80].decode(errors="ignore")  # A name may take 255 bytes, not as many characters.
