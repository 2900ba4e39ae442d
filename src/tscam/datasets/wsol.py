"""wsolevaluation's metadata (CUB and CUBV2, ImageNet and ImageNetV2, OpenImages30k, or own data), read and written."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from tscam.datasets.base import Dataset, DatasetReader, dataset_readers
from tscam.datasets.listings import box_array, folder_names, list_lines, whole_number
from tscam.datasets.mask_files import Masks
from tscam.errors import DataError
from tscam.formats.parsing import box_of_edges, finite_number, picture_id
from tscam.geometry import Box
from tscam.writing import literal, write_text_atomically

_SPLITS = ("train", "val", "test")

# TS-CAM's, by the name of the metadata's folder; it has none for OpenImages.
_THRESHOLDS = {"CUB": 0.10, "ILSVRC": 0.12}

# Of a class or of a side in pixels; a larger number is a broken line, or an attack on memory.
_GREATEST = 10**6

_NO_BOXES = np.zeros((0, 4))
_NO_BOXES.setflags(write=False)


def _read(root: Path, split: str) -> Dataset:
    """One split, its pictures in the order of `image_ids.txt`.

    `root` is `…/metadata/<NAME>`, or the folder that holds `metadata/` and `dataset/`, where it holds one NAME, or the
    pictures of one alone. Pictures and masks lie below `dataset/<NAME>` beside `metadata/`; for metadata alone they
    need not be there.

    `image_ids.txt` (`path`) and `class_labels.txt` (`path,class`, from 0) are needed; `image_sizes.txt`
    (`path,width,height`) and `localization.txt` are taken where they are. The latter holds boxes (`path,x0,y0,x1,y1`, a
    line a box; a picture without a line has none) or masks (`path,mask,ignore`, a line an object, the ignore mask in
    the first; a picture without a line is refused, for it would count as all background). An ignore mask that is one
    of the objects drops nothing, and counts as none. `image_ids_proxy.txt` is not read.

    Boxes are edges as they stand. The rule is `ilsvrc` for CUB, too: its metadata hold whole edges, `x + width` already
    summed up, for which both rules are the same.

    A class is named by the folder that its pictures, and no others, lie in, in the first split where each class has
    one; else by its number.

    Raises:
        DataError: a list is missing, a line of it is broken, or the lists do not agree.
    """
    metadata = _metadata(root)
    pictures = metadata.parent.parent / "dataset" / metadata.name
    lists = metadata / split
    of = _image_ids(lists / "image_ids.txt")
    labels = _whole_numbers(lists / "class_labels.txt", "path,class", of=of, least=0)
    sizes = lists / "image_sizes.txt"
    boxes, masks = _localization(lists / "localization.txt", of, pictures)
    return Dataset(
        name="wsol",
        split=split,
        root=root,
        image_root=pictures,
        class_names=_class_names(metadata),
        image_ids=tuple(of),
        labels=labels[:, 0],
        boxes=boxes,
        box_rule="ilsvrc",
        threshold=_THRESHOLDS.get(metadata.name, 0.10),
        masks=masks,
        sizes_wh=_whole_numbers(sizes, "path,width,height", of=of, least=1) if sizes.exists() else None,
    )


def write_wsol_metadata(
    dataset: Dataset, folder: Path, *, sizes_wh: Int[np.ndarray, "n 2"], mask_root: Path | None = None
) -> None:
    """Write `image_ids.txt`, `class_labels.txt`, `image_sizes.txt` and `localization.txt` of one split.

    wsolevaluation reads them from `metadata/<NAME>/<split>`, with pictures below `dataset/<NAME>`. It takes whole edges
    alone: those of boxes are rounded to the nearest, and nothing else about them is changed.

    Args:
        dataset: without boxes, and no `mask_root`, there is no `localization.txt`.
        folder: made if need be; files of these names are replaced.
        sizes_wh: width and height of each picture as displayed, in pixels.
        mask_root: write masks in place of boxes, as paths below this folder. Where no pixel is ignored, the first
            object stands for the ignore mask, for wsolevaluation needs one, and takes the foreground off it. It scores
            masks of a NAME of `OpenImages` alone.

    Raises:
        DataError: an id or a mask's path that such a list cannot hold, a box with an edge left of or above the picture,
            masks outside `mask_root`, or none.
        OutputError: the disk refuses.
    """
    ids = [_writable(image_id) for image_id in dataset.image_ids]
    lists = {
        "image_ids": ids,
        "class_labels": [f"{image_id},{label}" for image_id, label in zip(ids, dataset.labels, strict=True)],
        "image_sizes": [f"{image_id},{w},{h}" for image_id, (w, h) in zip(ids, sizes_wh, strict=True)],
    }
    if mask_root is not None:
        lists["localization"] = list(_mask_lines(dataset, mask_root))
    elif dataset.boxes is not None:
        lists["localization"] = list(_box_lines(dataset))
    for name, lines in lists.items():
        write_text_atomically(folder / f"{name}.txt", "".join(f"{line}\n" for line in lines))


def _metadata(root: Path) -> Path:
    """The folder `metadata/<NAME>`, absolute: that which was given, or the one below it.

    Raises:
        DataError: there is none, or several.
    """
    named = _candidates(root)
    with_pictures = [folder for folder in named if (root / "dataset" / folder.name).is_dir()]
    chosen = with_pictures or named
    if not chosen:
        raise DataError(f"{root}: no metadata/<NAME>/<split>/image_ids.txt; expected wsolevaluation's layout")
    if len(chosen) > 1:
        names = ", ".join(folder.name for folder in chosen)
        raise DataError(f"{root}: metadata of {names}; --data takes one of them, such as {chosen[0]}")
    return literal(chosen[0])


def _candidates(root: Path) -> list[Path]:
    if _held(root):
        return [root]
    if not (root / "metadata").is_dir():
        return []
    folders = (root / "metadata" / name for name in folder_names(root / "metadata"))
    return [folder for folder in folders if _held(folder)]


def _held(metadata: Path) -> tuple[str, ...]:
    """The splits below `metadata/<NAME>`."""
    return tuple(split for split in _SPLITS if (metadata / split / "image_ids.txt").is_file())


def _rows(path: Path, fields: str) -> Iterator[tuple[str, str, list[str]]]:
    """`path:line`, the picture's id and the other values of every line."""
    expected = fields.count(",")
    for where, text in list_lines(path):
        image_id, *values = text.split(",")
        if len(values) != expected:
            raise DataError(f"{where}: {text!r:.200} holds {len(values) + 1} values; expected {fields}")
        yield where, picture_id(image_id, where), values


def _image_ids(path: Path) -> dict[str, int]:
    """The place of each picture by its id."""
    of: dict[str, int] = {}
    for where, image_id, _ in _rows(path, "path"):
        if image_id in of:
            raise DataError(f"{where}: {image_id!r} is listed twice")
        of[image_id] = len(of)
    return of


def _index(image_id: str, of: Mapping[str, int], where: str) -> int:
    if image_id not in of:
        raise DataError(f"{where}: {image_id!r} is not in image_ids.txt")
    return of[image_id]


def _number(text: str, where: str, least: int) -> int:
    number = whole_number(text, where)
    if not least <= number <= _GREATEST:
        raise DataError(f"{where}: {text:.80}; expected {least} to {_GREATEST}")
    return number


def _whole_numbers(path: Path, fields: str, *, of: Mapping[str, int], least: int) -> Int[np.ndarray, "n k"]:
    """What a list says of each picture, in one line of it."""
    numbers = np.full((len(of), fields.count(",")), -1, dtype=np.int64)
    for where, image_id, values in _rows(path, fields):
        index = _index(image_id, of, where)
        if numbers[index, 0] >= 0:
            raise DataError(f"{where}: {image_id!r} is listed twice")
        numbers[index] = [_number(value, where, least) for value in values]
    _require_whole(path, of, set(np.flatnonzero(numbers[:, 0] < 0).tolist()))
    return numbers


def _require_whole(path: Path, of: Mapping[str, int], without: set[int]) -> None:
    if without:
        missing = next(image_id for image_id, index in of.items() if index in without)
        raise DataError(f"{path}: no line for {missing!r} of image_ids.txt")


def _class_names(metadata: Path) -> tuple[str, ...]:
    """The same for every split, whichever is asked for."""
    folders_of: list[dict[int, set[str]]] = []
    for split in _held(metadata):
        folders: dict[int, set[str]] = {}
        for where, image_id, (label,) in _rows(metadata / split / "class_labels.txt", "path,class"):
            folders.setdefault(_number(label, where, 0), set()).add(image_id.rpartition("/")[0].rpartition("/")[2])
        folders_of.append(folders)
    labels = sorted(set().union(*folders_of))
    if labels != list(range(len(labels))):
        raise DataError(f"{metadata}: classes run from {labels[0]} to {labels[-1]} with gaps; expected 0, 1, 2 …")
    for folders in folders_of:
        names = [name for label in labels for name in folders.get(label, ())]
        if all(names) and len(names) == len(set(names)) == len(folders) == len(labels):
            return tuple(names)
    return tuple(map(str, labels))


def _localization(
    path: Path, of: Mapping[str, int], mask_root: Path
) -> tuple[tuple[Float[np.ndarray, "_ 4"], ...] | None, tuple[Masks, ...] | None]:
    """The boxes, or else the masks, of each picture; None for what the list does not hold."""
    first = next(list_lines(path), None) if path.exists() else None
    if first is None:
        return None, None
    if first[1].count(",") == 2:
        return None, _masks(path, of, mask_root)
    boxes: dict[int, list[Box]] = {}
    for where, image_id, values in _rows(path, "path,x0,y0,x1,y1"):
        edges = [finite_number(value, where) for value in values]
        boxes.setdefault(_index(image_id, of, where), []).append(box_of_edges(edges, where))
    return tuple(box_array(boxes[index]) if index in boxes else _NO_BOXES for index in of.values()), None


def _masks(path: Path, of: Mapping[str, int], mask_root: Path) -> tuple[Masks, ...]:
    objects: dict[int, list[Path]] = {}
    ignored: dict[int, Path] = {}
    for where, image_id, (mask, ignore) in _rows(path, "path,mask,ignore"):
        index = _index(image_id, of, where)
        file = mask_root / picture_id(mask, where)
        if file in objects.setdefault(index, []):
            raise DataError(f"{where}: the mask {mask!r} is listed twice")
        if ignore and objects[index]:
            raise DataError(f"{where}: {ignore!r} in a further line of {image_id!r}; the first names its ignore mask")
        objects[index].append(file)
        if ignore:
            ignored[index] = mask_root / picture_id(ignore, where)
    _require_whole(path, of, set(of.values()) - set(objects))
    return tuple(
        Masks(tuple(objects[index]), None if ignored.get(index) in objects[index] else ignored.get(index))
        for index in of.values()
    )


def _box_lines(dataset: Dataset) -> Iterator[str]:
    for image_id, boxes in zip(dataset.image_ids, dataset.boxes or (), strict=True):
        for box in np.rint(boxes).astype(np.int64).tolist():
            if min(box) < 0:
                raise DataError(f"{image_id!r}: box {tuple(box)} leaves the picture; wsolevaluation takes no such box")
            yield ",".join(map(str, (image_id, *box)))


def _mask_lines(dataset: Dataset, mask_root: Path) -> Iterator[str]:
    if dataset.masks is None:
        raise DataError(f"{dataset.root}: no masks for split {dataset.split!r}; leave mask_root out to write boxes")
    for image_id, masks in zip(dataset.image_ids, dataset.masks, strict=True):
        if not masks.objects:
            raise DataError(f"{image_id!r}: no mask of an object; wsolevaluation needs one for every picture")
        objects = _below(mask_root, masks.objects)
        ignores = [*_below(mask_root, [masks.ignore] if masks.ignore else masks.objects[:1]), *[""] * len(objects)]
        yield from (f"{image_id},{mask},{ignore}" for mask, ignore in zip(objects, ignores, strict=False))


def _below(folder: Path, files: Iterable[Path]) -> Sequence[str]:
    """Paths relative to a folder."""
    relative = []
    for file in files:
        if not file.is_relative_to(folder):
            raise DataError(f"{file}: not below {folder}; wsolevaluation looks for all masks below one folder")
        relative.append(_writable(file.relative_to(folder).as_posix()))
    return relative


def _writable(text: str) -> str:
    """The same, if a line of a list can hold it."""
    if set(text) & set(",\r\n") or text != text.strip(" \t\ufeff"):
        raise DataError(f"{text!r}: a comma, a line break or a blank at an end, which no such list can hold; rename it")
    return text


dataset_readers.register("wsol")(
    DatasetReader(
        recognizes=lambda root: bool(_candidates(root)),
        splits=lambda root: _held(_metadata(root)),
        read=_read,
    )
)
