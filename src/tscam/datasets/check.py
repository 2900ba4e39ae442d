"""The check of a data set: counts, missing and broken files, boxes outside the picture, pictures shared by splits."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from tscam.datasets.base import Dataset, find_reader, recognize, same_names
from tscam.datasets.copies import Copy, copies_in
from tscam.datasets.inspection import MISSING, Inspection, common_range, inspect_split, reason_of
from tscam.datasets.links import outside_pictures
from tscam.datasets.mask_files import Masks
from tscam.datasets.unread import unlisted_files
from tscam.decoding import MAX_PIXELS, DecodeSettings, PixelRange
from tscam.errors import ImageError, first_names
from tscam.geometry import box_area
from tscam.image import printable, read_grey_levels
from tscam.system.loading import Progress, read_ahead

# Annotators count the last pixel as inside, or not: neither is an error.
_EDGE_TOLERANCE = 1.0

_MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class SplitCheck:
    """Counts and faults of one split; pictures are named by their ids.

    Attributes:
        split: name of the split.
        pictures: number of pictures.
        classes: number of classes with a picture in this split.
        per_class: fewest, median and most pictures of a class, over all classes of the data set.
        with_boxes: number of pictures with a box; None where the data set has no boxes.
        missing: pictures whose file does not exist.
        unreadable: pictures whose file exists and cannot be read, each with the reason.
        boxes_outside: pictures with a box that leaves the picture, by more than a pixel at the right or the bottom.
        boxes_without_area: pictures with a box that has no width or no height.
        missing_masks: pictures with a mask whose file does not exist, in a data set with masks.
        bad_masks: pictures with a mask that is unreadable or has another size than the picture, each with the reason.
        other_sizes: pictures that have another size than their list states, in a data set that states sizes.
        deep: number of pictures of more than eight bits.
        dark: pictures that look nearly black: 99 of 100 pixels are below level 16 of 255.
        outside: pictures behind links out of the data set.
        notes: what reading left out, and how many pictures have an object where not all have, a line of text each.
    """

    split: str
    pictures: int
    classes: int
    per_class: tuple[int, float, int]
    with_boxes: int | None
    missing: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    boxes_outside: tuple[str, ...]
    boxes_without_area: tuple[str, ...]
    missing_masks: tuple[str, ...]
    bad_masks: tuple[tuple[str, str], ...]
    other_sizes: tuple[str, ...]
    deep: int
    dark: tuple[str, ...]
    outside: tuple[str, ...]
    notes: tuple[str, ...]

    def describe(self) -> list[str]:
        """Return the counts as one line, then one line for every fault and warning."""
        fewest, median, most = self.per_class
        boxes = "no boxes" if self.with_boxes is None else f"{self.with_boxes} with boxes"
        counts = f"{self.pictures} pictures of {self.classes} classes ({fewest} to {most} a class, median {median:g})"
        messages = {
            "fault: no such file": self.missing,
            "fault: unreadable": _with_reasons(self.unreadable),
            "warning: box outside the picture": self.boxes_outside,
            "warning: box without area": self.boxes_without_area,
            "warning: no such mask": self.missing_masks,
            "warning: unusable mask": _with_reasons(self.bad_masks),
            "warning: another size than its list states": self.other_sizes,
            "warning: looks dark, nearly all pixels are black": self.dark,
        }
        lines = [f"{self.split}: {counts}, {boxes}", *self.notes]
        if self.outside:
            named = first_names(self.outside, at_most=_MAX_NAMED)
            lines.append(f"{self.split}: {len(self.outside)} pictures are behind links out of the data set: {named}")
        return lines + [f"{self.split}: {message}: {image_id}" for message, ids in messages.items() for image_id in ids]


@dataclass(frozen=True, kw_only=True)
class DatasetCheck:
    """Counts and faults of a data set.

    Attributes:
        name: registered name of its reader.
        root: the folder that the caller named.
        classes: number of classes.
        splits: counts and faults of each split.
        copies: pictures whose files have the same content as an earlier picture's, in the same split or in another one.
        untrained_classes: classes without training pictures.
        pixel_range: the range that pictures of more than eight bits are scaled by; None without such pictures.
        notes: classes of one name, and files that no list names, a line of text each.
    """

    name: str
    root: Path
    classes: int
    splits: tuple[SplitCheck, ...]
    copies: tuple[Copy, ...]
    untrained_classes: tuple[str, ...]
    pixel_range: PixelRange | None
    notes: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """True if every split has pictures and all of them can be read; everything else is a warning."""
        return bool(self.splits) and not any(
            split.missing or split.unreadable or not split.pictures for split in self.splits
        )

    @property
    def shared(self) -> tuple[Copy, ...]:
        """The copies of pictures of another split."""
        return tuple(copy for copy in self.copies if copy.split != copy.first_split)

    @property
    def contradictions(self) -> tuple[Copy, ...]:
        """The copies of pictures of another class."""
        return tuple(copy for copy in self.copies if copy.class_name != copy.first_class_name)

    def describe(self) -> str:
        """Return lines of text: the counts of each split, then every fault and warning by name."""
        lines = [f"{self.root}: data set {self.name!r}, {self.classes} classes"]
        lines += [line for split in self.splits for line in split.describe()]
        if self.pixel_range is not None:
            deep = sum(split.deep for split in self.splits)
            lines.append(f"{deep} pictures of more than 8 bits: values from {self.pixel_range} are black to white")
        lines += [f"warning: {name}: a class without training pictures" for name in self.untrained_classes]
        lines += [f"warning: {copy.describe()}" for copy in self.copies]
        lines += self.notes
        return "\n".join([*dict.fromkeys(lines), "usable" if self.usable else "NOT usable"])


def check_dataset(
    root: Path, *, name: str | None = None, max_pixels: int = MAX_PIXELS, on_progress: Progress | None = None
) -> DatasetCheck:
    """Read every split of a data set and decode every picture of it.

    Args:
        max_pixels: pixels of the largest picture that is read.

    Raises:
        DataError: the folder has no known layout, or a list file is broken.
        ConfigError: no reader of that name.
    """
    reader = find_reader(root, name=name)
    decode = DecodeSettings(max_pixels=max_pixels)
    datasets = [replace(reader.read(root, split), decode=decode) for split in reader.splits(root)]
    inspections: list[Inspection] = []
    total = sum(map(len, datasets))
    done = 0
    for dataset in datasets:
        inspections.append(
            inspect_split(dataset, workers=os.cpu_count() or 1, on_progress=on_progress, done=done, total=total)
        )
        done += len(dataset)
    pixel_range = common_range(inspection.span for inspection in inspections)
    return DatasetCheck(
        name=name or recognize(root),
        root=root,
        classes=len(datasets[0].class_names) if datasets else 0,
        splits=tuple(_check_split(*each, pixel_range) for each in zip(datasets, inspections, strict=True)),
        copies=tuple(copies_in(datasets, [inspection.byte_counts for inspection in inspections])),
        untrained_classes=_untrained_classes(datasets),
        pixel_range=pixel_range,
        notes=(*same_names(datasets[0].class_names if datasets else ()), *unlisted_files(datasets)),
    )


def _check_split(dataset: Dataset, inspection: Inspection, pixel_range: PixelRange | None) -> SplitCheck:
    ids, reasons = dataset.image_ids, inspection.reasons
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    boxes = dataset.boxes or ()
    mask_faults = list(_mask_faults(dataset, inspection))
    return SplitCheck(
        split=dataset.split,
        pictures=len(dataset),
        classes=int((counts > 0).sum()),
        per_class=(int(counts.min()), float(np.median(counts)), int(counts.max())) if len(counts) else (0, 0.0, 0),
        with_boxes=None if dataset.boxes is None else sum(len(picture_boxes) > 0 for picture_boxes in boxes),
        missing=tuple(ids[index] for index, reason in reasons.items() if reason == MISSING),
        unreadable=tuple((ids[index], reason) for index, reason in reasons.items() if reason != MISSING),
        boxes_outside=tuple(
            ids[index]
            for index, picture_boxes in enumerate(boxes)
            if index not in reasons and _leaves(picture_boxes, inspection.sizes_wh[index])
        ),
        boxes_without_area=tuple(
            ids[index] for index, picture_boxes in enumerate(boxes) if (box_area(picture_boxes) == 0).any()
        ),
        missing_masks=tuple(image_id for image_id, reason in mask_faults if reason == MISSING),
        bad_masks=tuple((image_id, reason) for image_id, reason in mask_faults if reason != MISSING),
        other_sizes=tuple(
            ids[index]
            for index, stated in enumerate(dataset.sizes_wh if dataset.sizes_wh is not None else ())
            if index not in reasons and (stated != inspection.sizes_wh[index]).any()
        ),
        deep=len(inspection.deep),
        dark=tuple(ids[index] for index in inspection.dark(pixel_range)),
        outside=tuple(outside_pictures(dataset)),
        notes=tuple(dataset.describe_gaps()),
    )


def _mask_faults(dataset: Dataset, inspection: Inspection) -> Iterator[tuple[str, str]]:
    """Yield each picture with a mask that cannot be used, and the first reason."""

    def first_fault(index: int) -> str | None:
        masks = dataset.masks[index] if dataset.masks is not None else Masks(())
        faults = (_mask_fault(path, inspection.sizes_wh[index]) for path in masks.files)
        return next(filter(None, faults), None)

    indices = range(len(dataset.masks or ()))
    workers = os.cpu_count() or 1
    for index, reason in enumerate(read_ahead(indices, first_fault, workers=workers, depth=16 * workers)):
        if reason:
            yield dataset.image_ids[index], reason


def _mask_fault(path: Path, picture_wh: Int[np.ndarray, " 2"]) -> str | None:
    """Return why a mask cannot be used, or None; a picture that cannot be read has size 0×0, which is not compared."""
    try:
        height, width = read_grey_levels(path).shape
    except ImageError as fault:
        return reason_of(fault, path)
    if not picture_wh.any() or (picture_wh == (width, height)).all():
        return None
    return f"{printable(path)} is {width}×{height}, the picture {picture_wh[0]}×{picture_wh[1]}"


def _with_reasons(faults: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{image_id} ({reason})" for image_id, reason in faults]


def _leaves(boxes: Float[np.ndarray, "m 4"], size_wh: Int[np.ndarray, " 2"]) -> bool:
    return bool((boxes[:, :2] < 0).any() or (boxes[:, 2:] > size_wh + _EDGE_TOLERANCE).any())


def _untrained_classes(datasets: Sequence[Dataset]) -> tuple[str, ...]:
    """Return the classes without a picture in the training split; none where there is no training split."""
    for dataset in datasets:
        if dataset.split in ("train", "all"):
            trained = set(dataset.labels.tolist())
            return tuple(name for number, name in enumerate(dataset.class_names) if number not in trained)
    return ()
