"""Annotation files → the true boxes of pictures: which picture each entry names, and which boxes are its object's.

Boxes of a crowd, those to ignore, difficult ones and those of another class than the picture's are no ground truth:
a model that finds them has not found the object. They are left out and counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from jaxtyping import Float
from numpy import ndarray

from tscam.datasets.listings import box_array
from tscam.errors import DataError, first_names
from tscam.formats import AnnotatedObject, AnnotatedPicture, Annotations
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
        if names and not any(_means_any_object(name) or self._classes.find(name) is not None for name in names):
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
        if category is None or _means_any_object(category) or self._classes.find(category) == class_id:
            return True
        self.left_out.categories[category] += 1
        return False


@dataclass(frozen=True, kw_only=True)
class MatchedBoxes:
    """The boxes of each picture, and what was left out, as lines of text."""

    boxes: tuple[Float[ndarray, "_ 4"], ...]
    notes: tuple[str, ...]


def match_boxes(
    annotations: Annotations,
    *,
    path: Path,
    prefix: str,
    split: str,
    class_ids: Mapping[str, int],
    all_ids: Iterable[str],
    class_names: Sequence[str],
) -> MatchedBoxes:
    """Return the boxes of the pictures of a split.

    Args:
        path: the annotation file, or the folder of such files; pictures are named relative to where it is.
        prefix: ids of the pictures that the file may name begin with it.
        class_ids: class of each picture of the split, by id.
        all_ids: ids of the pictures of all splits, which the file may also name.

    Raises:
        DataError: an entry names no picture or several, or no box is of a class.
    """
    is_voc = annotations.format == "voc"
    candidates = _by_path_or_stem(all_ids, prefix) if is_voc else _by_path(all_ids)
    categories = {annotated.category for picture in annotations.pictures for annotated in picture.objects}
    own = OwnBoxes(categories, class_names, source=str(path))
    boxes: dict[str, list[Box]] = {image_id: [] for image_id in class_ids}
    for picture in annotations.pictures:
        if not picture.objects:
            continue
        image_id = _match(picture, candidates, prefix=prefix, folder=path.parent, is_voc=is_voc)
        if image_id in boxes:  # Else it is in another split.
            boxes[image_id] += own.of_picture(picture.objects, class_ids[image_id])
    return MatchedBoxes(boxes=tuple(map(box_array, boxes.values())), notes=own.left_out.notes(split))


def _match(
    picture: AnnotatedPicture, candidates: Mapping[str, list[str]], *, prefix: str, folder: Path, is_voc: bool
) -> str:
    name = _without_suffix(picture.name) if is_voc else picture.name
    matches = candidates.get(nfc(prefix + name), [])
    if len(matches) > 1 and prefix + name in matches:
        matches = [prefix + name]
    if len(matches) != 1:
        fault = "names several pictures" if matches else "names no picture"
        raise DataError(f"{picture.source}: {name!r} {fault} of {folder}; expected the path of one below it")
    return matches[0]


def _listed(names: Iterable[str]) -> str:
    return first_names(list(names), at_most=5)


def _by_path(image_ids: Iterable[str]) -> dict[str, list[str]]:
    candidates: dict[str, list[str]] = {}
    for image_id in image_ids:
        candidates.setdefault(nfc(image_id), []).append(image_id)
    return candidates


def _by_path_or_stem(image_ids: Iterable[str], prefix: str) -> dict[str, list[str]]:
    """Return the pictures that an XML file can mean, by their path without suffix and by their stem."""
    candidates: dict[str, list[str]] = {}
    for image_id in image_ids:
        path = PurePosixPath(nfc(image_id)).with_suffix("")
        candidates.setdefault(str(path), []).append(image_id)
        candidates.setdefault(nfc(prefix) + path.name, []).append(image_id)
    return candidates


def _without_suffix(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")) if has_picture_suffix(name) else name


def _means_any_object(category: str) -> bool:
    return category.casefold() in _ANY_OBJECT
