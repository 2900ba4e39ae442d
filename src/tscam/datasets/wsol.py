"""wsolevaluation's metadata, read and written: CUB, CUBV2, ImageNet, ImageNetV2, OpenImages30k, or one's own data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from tscam.datasets.base import Dataset, DatasetReader, dataset_readers
from tscam.datasets.links import Inside
from tscam.datasets.listings import box_array, folder_names, list_lines
from tscam.datasets.mask_files import Masks
from tscam.datasets.splits import split_folders
from tscam.errors import DataError
from tscam.formats.parsing import box_of_edges, finite_number, picture_id, whole_number
from tscam.geometry import Box
from tscam.names import OnDisk, nfc
from tscam.system.writing import literal, write_text_atomically

# TS-CAM's thresholds by the name of the metadata folder; it has none for OpenImages.
_THRESHOLDS = {"CUB": 0.10, "ILSVRC": 0.12}

# The greatest class or side in pixels; a larger number is a broken line, or an attack on memory.
_GREATEST = 10**6

_NO_BOXES = np.zeros((0, 4))
_NO_BOXES.setflags(write=False)


def _read(root: Path, split: str) -> Dataset:
    """Read one split, its pictures in the order of `image_ids.txt`.

    `root` is `…/metadata/<NAME>`, or the folder that contains `metadata/` and `dataset/` with one NAME, or with the
    pictures of one NAME alone. Pictures and masks are below `dataset/<NAME>` beside `metadata/`; they may be missing
    where only the metadata are needed.

    `image_ids.txt` (`path`) and `class_labels.txt` (`path,class`, from 0) are required; `image_sizes.txt`
    (`path,width,height`) and `localization.txt` are optional. The latter lists boxes (`path,x0,y0,x1,y1`, one line a
    box; a picture without a line has none) or masks (`path,mask,ignore`, one line an object, the ignore mask in the
    first; a picture without a line is refused, for it would count as all background). An ignore mask that is one of
    the objects ignores nothing, and counts as none. `image_ids_proxy.txt` is not read.

    Boxes are edges, taken without a shift. The rule is `ilsvrc` for CUB, too: its metadata list whole edges with
    `x + width` already summed up, for which both rules are the same.

    A class is named by the folder that contains its pictures and no others, in the first split where each class has
    such a folder; else by its number.

    Raises:
        DataError: a list is missing, a line of it is broken, or the lists do not agree.
    """
    metadata = _metadata(root)
    pictures = metadata.parent.parent / "dataset" / metadata.name
    lists = _split_folders(metadata)[split]
    indices = _read_indices(lists / "image_ids.txt")
    labels = _read_columns(lists / "class_labels.txt", "path,class", indices=indices, least=0)
    sizes = lists / "image_sizes.txt"
    image_ids = tuple(map(OnDisk(pictures), indices))
    inside = Inside(root, pictures)
    for image_id in image_ids:
        inside.require(image_id, str(lists / "image_ids.txt"))
    boxes, masks = _localization(lists / "localization.txt", indices, pictures, inside)
    return Dataset(
        name="wsol",
        split=split,
        root=root,
        image_root=pictures,
        class_names=_class_names(metadata),
        image_ids=image_ids,
        labels=labels[:, 0],
        boxes=boxes,
        box_rule="ilsvrc",
        threshold=_THRESHOLDS.get(metadata.name, 0.10),
        masks=masks,
        is_listed=True,
        sizes_wh=_read_columns(sizes, "path,width,height", indices=indices, least=1) if sizes.exists() else None,
    )


def write_wsol_metadata(
    dataset: Dataset, folder: Path, *, sizes_wh: Int[np.ndarray, "n 2"], mask_root: Path | None = None
) -> None:
    """Write `image_ids.txt`, `class_labels.txt`, `image_sizes.txt` and `localization.txt` of one split.

    wsolevaluation reads them from `metadata/<NAME>/<split>`, with pictures below `dataset/<NAME>`. It reads whole edges
    alone: edges of boxes are rounded to the nearest pixel, and are not changed otherwise.

    Args:
        dataset: one split; without boxes and without `mask_root`, no `localization.txt` is written.
        folder: made if need be; files of these names are replaced.
        sizes_wh: width and height of each picture as displayed, in pixels.
        mask_root: write masks in place of boxes, as paths below this folder. Where no pixel is ignored, the first
            object is written as the ignore mask: wsolevaluation needs one, and subtracts the foreground from it. It
            scores masks only where NAME is `OpenImages`.

    Raises:
        DataError: an id or a mask's path that such a list cannot express, a box with an edge left of or above the
            picture, masks outside `mask_root`, or no masks.
        OutputError: a file cannot be written.
    """
    ids = [_require_writable(image_id) for image_id in dataset.image_ids]
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


def require_writable(dataset: Dataset, *, mask_root: Path | None = None) -> None:
    """Refuse what `write_wsol_metadata` refuses, but for the disk.

    Raises:
        DataError: as `write_wsol_metadata`.
    """
    for image_id in dataset.image_ids:
        _require_writable(image_id)
    for _ in _mask_lines(dataset, mask_root) if mask_root is not None else _box_lines(dataset):
        pass


def _metadata(root: Path) -> Path:
    """Return the folder `metadata/<NAME>`, absolute: the root itself, or the one below it.

    Raises:
        DataError: no such folder, or several.
    """
    candidates = _candidates(root)
    with_pictures = [folder for folder in candidates if (root / "dataset" / folder.name).is_dir()]
    folders = with_pictures or candidates
    if not folders:
        raise DataError(f"{root}: no metadata/<NAME>/<split>/image_ids.txt; expected wsolevaluation's layout")
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise DataError(f"{root}: metadata of {names}; --data takes one of them, such as {folders[0]}")
    return literal(folders[0])


def _candidates(root: Path) -> list[Path]:
    if _split_folders(root):
        return [root]
    if not (root / "metadata").is_dir():
        return []
    folders = (root / "metadata" / name for name in folder_names(root / "metadata"))
    return [folder for folder in folders if _split_folders(folder)]


def _split_folders(metadata: Path) -> dict[str, Path]:
    """Return the folder of each split below `metadata/<NAME>`."""
    return split_folders(metadata, is_split=lambda folder: (folder / "image_ids.txt").is_file())


def _rows(path: Path, fields: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield `path:line`, the picture's id as composed Unicode, and the other values of every line."""
    expected = fields.count(",")
    for source, text in list_lines(path):
        image_id, *values = text.split(",")
        if len(values) != expected:
            raise DataError(f"{source}: {text!r:.200} has {len(values) + 1} values; expected {fields}")
        yield source, nfc(picture_id(image_id, source)), values


def _read_indices(path: Path) -> dict[str, int]:
    """Read the index of each picture by its id, in the order of the list."""
    indices: dict[str, int] = {}
    for source, image_id, _ in _rows(path, "path"):
        if image_id in indices:
            raise DataError(f"{source}: {image_id!r} is listed twice")
        indices[image_id] = len(indices)
    return indices


def _index(image_id: str, indices: Mapping[str, int], source: str) -> int:
    if image_id not in indices:
        raise DataError(f"{source}: {image_id!r} is not in image_ids.txt")
    return indices[image_id]


def _number(text: str, source: str, least: int) -> int:
    number = whole_number(text, source)
    if not least <= number <= _GREATEST:
        raise DataError(f"{source}: {text:.80}; expected {least} to {_GREATEST}")
    return number


def _read_columns(path: Path, fields: str, *, indices: Mapping[str, int], least: int) -> Int[np.ndarray, "n k"]:
    """Read the whole numbers of each picture from a list of one line a picture."""
    numbers = np.full((len(indices), fields.count(",")), -1, dtype=np.int64)
    for source, image_id, values in _rows(path, fields):
        index = _index(image_id, indices, source)
        if numbers[index, 0] >= 0:
            raise DataError(f"{source}: {image_id!r} is listed twice")
        numbers[index] = [_number(value, source, least) for value in values]
    _require_complete(path, indices, missing=set(np.flatnonzero(numbers[:, 0] < 0).tolist()))
    return numbers


def _require_complete(path: Path, indices: Mapping[str, int], *, missing: set[int]) -> None:
    if missing:
        first = next(image_id for image_id, index in indices.items() if index in missing)
        raise DataError(f"{path}: no line for {first!r} of image_ids.txt")


def _class_names(metadata: Path) -> tuple[str, ...]:
    """Return the class names, which are the same for every split."""
    split_folders: list[dict[int, set[str]]] = []
    for folder in _split_folders(metadata).values():
        folders: dict[int, set[str]] = {}
        for source, image_id, (label,) in _rows(folder / "class_labels.txt", "path,class"):
            folders.setdefault(_number(label, source, 0), set()).add(image_id.rpartition("/")[0].rpartition("/")[2])
        split_folders.append(folders)
    labels = sorted(set().union(*split_folders))
    if labels != list(range(len(labels))):
        raise DataError(f"{metadata}: classes run from {labels[0]} to {labels[-1]} with gaps; expected 0, 1, 2 …")
    for folders in split_folders:
        names = [name for label in labels for name in folders.get(label, ())]
        if all(names) and len(names) == len(set(names)) == len(folders) == len(labels):
            return tuple(names)
    return tuple(map(str, labels))


def _localization(
    path: Path, indices: Mapping[str, int], mask_root: Path, inside: Inside
) -> tuple[tuple[Float[np.ndarray, "_ 4"], ...] | None, tuple[Masks, ...] | None]:
    """Read the boxes, or else the masks, of each picture; None for what the list does not contain."""
    first = next(list_lines(path), None) if path.exists() else None
    if first is None:
        return None, None
    if first[1].count(",") == 2:
        return None, _masks(path, indices, mask_root, inside)
    boxes: dict[int, list[Box]] = {}
    for source, image_id, values in _rows(path, "path,x0,y0,x1,y1"):
        edges = [finite_number(value, source) for value in values]
        boxes.setdefault(_index(image_id, indices, source), []).append(box_of_edges(edges, source))
    return tuple(box_array(boxes[index]) if index in boxes else _NO_BOXES for index in indices.values()), None


def _masks(path: Path, indices: Mapping[str, int], mask_root: Path, inside: Inside) -> tuple[Masks, ...]:
    on_disk = OnDisk(mask_root)

    def file_of(name: str, source: str) -> Path:
        relative = on_disk(picture_id(name, source))
        inside.require(relative, source)
        return mask_root / relative

    objects: dict[int, list[Path]] = {}
    ignored: dict[int, Path] = {}
    for source, image_id, (mask, ignore) in _rows(path, "path,mask,ignore"):
        index = _index(image_id, indices, source)
        file = file_of(mask, source)
        if file in objects.setdefault(index, []):
            raise DataError(f"{source}: the mask {mask!r} is listed twice")
        if ignore and objects[index]:
            raise DataError(f"{source}: {ignore!r} in a further line of {image_id!r}; the first names its ignore mask")
        objects[index].append(file)
        if ignore:
            ignored[index] = file_of(ignore, source)
    _require_complete(path, indices, missing=set(indices.values()) - set(objects))
    return tuple(
        Masks(tuple(objects[index]), None if ignored.get(index) in objects[index] else ignored.get(index))
        for index in indices.values()
    )


def _box_lines(dataset: Dataset) -> Iterator[str]:
    if dataset.boxes is None:
        return
    for image_id, boxes in zip(dataset.image_ids, dataset.boxes, strict=True):
        for box in np.rint(boxes).astype(np.int64).tolist():
            if min(box) < 0:
                raise DataError(f"{image_id!r}: box {tuple(box)} leaves the picture; wsolevaluation reads no such box")
            yield ",".join(map(str, (image_id, *box)))


def _mask_lines(dataset: Dataset, mask_root: Path) -> Iterator[str]:
    if dataset.masks is None:
        raise DataError(f"{dataset.root}: no masks for split {dataset.split!r}; leave mask_root out to write boxes")
    for image_id, masks in zip(dataset.image_ids, dataset.masks, strict=True):
        if not masks.objects:
            raise DataError(f"{image_id!r}: no mask of an object; wsolevaluation needs one for every picture")
        objects = _relative_paths(masks.objects, folder=mask_root)
        first = _relative_paths([masks.ignore] if masks.ignore else masks.objects[:1], folder=mask_root)
        ignores = [*first, *[""] * len(objects)]
        yield from (f"{image_id},{mask},{ignore}" for mask, ignore in zip(objects, ignores, strict=False))


def _relative_paths(files: Iterable[Path], *, folder: Path) -> Sequence[str]:
    relative = []
    for file in files:
        if not file.is_relative_to(folder):
            raise DataError(f"{file}: not below {folder}; wsolevaluation looks for all masks below one folder")
        relative.append(_require_writable(file.relative_to(folder).as_posix()))
    return relative


def _require_writable(text: str) -> str:
    """Return the text; refuse one that a line of a list cannot express."""
    if set(text) & set(",\r\n") or text != text.strip(" \t\ufeff"):
        raise DataError(
            f"{text!r}: a comma, a line break or a blank at an end, which no such list can express; rename it"
        )
    return text


dataset_readers.register("wsol")(
    DatasetReader(
        recognizes=lambda root: bool(_candidates(root)),
        splits=lambda root: tuple(_split_folders(_metadata(root))),
        read=_read,
    )
)
