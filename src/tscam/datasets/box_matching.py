"""Annotation files → the true boxes of pictures: which picture each entry names, and which boxes are its object's.

Boxes of a crowd, those to ignore, difficult ones and those of another class than the picture's are no ground truth:
a model that finds them has not found the object. They are left out and counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from jaxtyping import Float
from numpy import ndarray

from tscam.datasets.box_files import BoxFiles
from tscam.datasets.listings import box_array
from tscam.errors import DataError, first_names
from tscam.formats import AnnotatedObject
from tscam.geometry import Box
from tscam.image import has_picture_suffix
from tscam.names import NameTable, nfc

# Categories that tools and people write where every box is the object of its picture (labelImg's default and others).
_ANY_OBJECT = frozenset({"object", "objects", "foreground"})


@dataclass(kw_only=True)
class LeftOutBoxes:
    """Number of boxes that are no ground truth, by the reason.

    Attributes:
        flags: by the name of a flag: `crowd`, `ignore` or `difficult`.
        categories: by the name of a category that is not the class of the picture.
    """

    flags: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)

    def notes(self, split: str) -> tuple[str, ...]:
        """Return a line of text, or none where no box is left out."""
        counts = [f"{count} {flag}" for flag, count in self.flags.items()]
        if self.categories:
            named = _listed(f"{name!r} {count}" for name, count in self.categories.most_common())
            others = "another category" if len(self.categories) == 1 else "other categories"
            counts.append(f"{self.categories.total()} of {others} ({named})")
        line = f"split {split!r}: boxes left out, which are no ground truth: {', '.join(counts)}"
        return (line,) if counts else ()


class OwnBoxes:
    """Chooses the boxes that show the object of a picture, and counts the others.

    A category is the class of the same name, whatever its case where one class alone fits. A box without a category,
    or with one that means any object (`object`), is that of its picture's class.

    Args:
        categories: of all boxes of an annotation file.
        source: the file, for messages.

    Raises:
        DataError: there are categories, and none is a class.
    """

    def __init__(self, categories: Iterable[str | None], class_names: Sequence[str], *, source: str) -> None:
        self.left_out = LeftOutBoxes()
        self._classes = NameTable(class_names)
        names = sorted({name for name in categories if name is not None})
        if names and not any(_means_any_object(name) or self._classes.find(name) for name in names):
            raise DataError(
                f"{source}: no box of a class: its categories are {_listed(map(repr, names))}, the classes "
                f"{_listed(map(repr, class_names))}; name each box by its class, or 'object' where it is the "
                "picture's own"
            )

    def of_picture(self, objects: Iterable[AnnotatedObject], class_id: int) -> list[Box]:
        """Return the boxes of a picture of this class."""
        return [annotated.box for annotated in objects if self._is_own(annotated, class_id)]

    def _is_own(self, annotated: AnnotatedObject, class_id: int) -> bool:
        flags = {"crowd": annotated.iscrowd, "ignore": annotated.ignore, "difficult": annotated.difficult}
        if any(flags.values()):
            self.left_out.flags[next(name for name, is_set in flags.items() if is_set)] += 1
            return False
        category = annotated.category
        if category is None or _means_any_object(category) or class_id in self._classes.find(category):
            return True
        self.left_out.categories[category] += 1
        return False


@dataclass(frozen=True, kw_only=True)
class MatchedBoxes:
    """The boxes of each picture, and what was left out, as lines of text."""

    boxes: tuple[Float[ndarray, "_ 4"], ...]
    notes: tuple[str, ...]


def match_boxes(
    files: BoxFiles,
    *,
    root: Path,
    split: str,
    class_ids: Mapping[str, int],
    all_ids: Iterable[str],
    class_names: Sequence[str],
) -> MatchedBoxes:
    """Return the boxes of the pictures of a split.

    Args:
        root: the folder that ids are relative to.
        class_ids: class of each picture of the split, by id.
        all_ids: ids of the pictures of all splits, which the files may also name.

    Raises:
        DataError: an entry names no picture or several, or no box is of a class.
    """
    prefix = "" if files.folder == root else f"{files.folder.relative_to(root).as_posix()}/"
    pictures = PictureIndex(all_ids, prefix=prefix, by_stem=files.by_stem)
    own_boxes = OwnBoxes(files.categories, class_names, source=files.title)
    boxes: dict[str, list[Box]] = {image_id: [] for image_id in class_ids}
    for entry in files.entries:
        matches = pictures.find(entry.name)
        if len(matches) != 1:
            fault = "names several pictures" if matches else "names no picture"
            raise DataError(
                f"{entry.source}: {entry.name!r} {fault} of {files.folder}; expected the path of one below it"
            )
        (image_id,) = matches
        if image_id in boxes:  # Else it is in another split.
            boxes[image_id] += own_boxes.of_picture(entry.objects(root / image_id), class_ids[image_id])
    notes = [*own_boxes.left_out.notes(split)]
    for name, numbers in NameTable(files.listed).shared().items():
        both = "both" if len(numbers) == 2 else "all"
        notes.append(f"{files.title}: {len(numbers)} categories are named {name!r}; boxes of {both} count")
    return MatchedBoxes(boxes=tuple(map(box_array, boxes.values())), notes=tuple(notes))


class PictureIndex:
    """Finds the picture that a file of annotations names, as composed Unicode.

    A name is a path relative to the folder of the file, or to the root; or the same with backslashes; or, without a
    folder, the name of a picture that no other one in the folder of the file has.

    Args:
        image_ids: ids of pictures.
        prefix: ids of the pictures in the folder of the file begin so.
        by_stem: names may lack the suffix of the picture.
    """

    def __init__(self, image_ids: Iterable[str], *, prefix: str, by_stem: bool) -> None:
        self._prefix, self._by_stem = prefix, by_stem
        self._ids = dict.fromkeys(image_ids)
        self._paths = self._grouped(lambda name: name)
        self._bare_paths = self._grouped(_without_suffix) if by_stem else {}

    def find(self, name: str) -> list[str]:
        """Return the pictures that a name can mean."""
        for spelled in dict.fromkeys([name, str(PurePosixPath(name.replace("\\", "/")))]):
            for path in dict.fromkeys([self._prefix + spelled, spelled]):
                matches = [path] if path in self._ids else self._paths.get(nfc(path), [])
                if matches or (matches := self._bare_paths.get(_without_suffix(nfc(path)), [])):
                    return matches
        bare = nfc(name)
        if "/" in bare or "\\" in bare:
            return []
        return self._names.get(bare) or self._stems.get(_without_suffix(bare), [])

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return self._grouped(lambda path: path.rpartition("/")[2], is_local=True)

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        if not self._by_stem:
            return {}
        return self._grouped(lambda path: _without_suffix(path.rpartition("/")[2]), is_local=True)

    def _grouped(self, key: Callable[[str], str], *, is_local: bool = False) -> dict[str, list[str]]:
        """Group ids by a key of their composed form; with `is_local` those in the folder of the file alone."""
        groups: dict[str, list[str]] = {}
        for image_id in self._ids:
            if not is_local or image_id.startswith(self._prefix):
                groups.setdefault(key(nfc(image_id)), []).append(image_id)
        return groups


def _listed(names: Iterable[str]) -> str:
    return first_names(list(names), at_most=5)


def _without_suffix(name: str) -> str:
    return name[: name.rindex(".")] if has_picture_suffix(name) else name


def _means_any_object(category: str) -> bool:
    return category.casefold() in _ANY_OBJECT
