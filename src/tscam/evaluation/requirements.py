"""Requirements of an evaluation on its data set and maps; all are checked before anything is written."""

from collections.abc import Mapping, Sequence

from tscam.datasets import Dataset, require_usable
from tscam.datasets.mask_files import read_masks
from tscam.errors import DataError, ImageError, first_names
from tscam.evaluation.judging import NO_MASK, Protocols, read_localization_map
from tscam.evaluation.map_sources import (
    MappedSplit,
    MapSource,
    PredictedMaps,
    SavedMaps,
    may_scale_masks,
    picture_size_wh,
)
from tscam.image import ValueSpan, image_size_wh, printable
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.names import nfc
from tscam.predictor import Predictor
from tscam.system.loading import read_ahead

_NAMED_AT_MOST = 5


def require_scorable(dataset: Dataset, maps: MapSource, protocols: Protocols, *, allow_missing: bool) -> MappedSplit:
    """Return the data set with its maps, and the pictures that count as wrong since they lack a map or a mask.

    A picture without a box has no object: it counts for classification, not for localization.

    Args:
        allow_missing: count such pictures as wrong, and those that cannot be read; by default they are refused.

    Raises:
        DataError: there are such pictures and they are not allowed; or no picture has what a protocol compares with.
    """
    split = f"{dataset.root}: split {dataset.split!r}"
    by_boxes = any(isinstance(protocol, BoxProtocol) for protocol in protocols)
    by_masks = any(isinstance(protocol, PixelProtocol) for protocol in protocols)
    if by_boxes and (dataset.boxes is None or not any(map(len, dataset.boxes))):
        raise DataError(f"{dataset.root}: no boxes for split {dataset.split!r}; evaluation compares with boxes")
    if by_masks and dataset.masks is None:
        raise DataError(f"{split} has no masks; the protocol pxap compares with masks, take one of boxes")
    reasons = _reasons(dataset, maps, by_masks=by_masks)
    faults: dict[int, str] = {}
    for reason, indices in reasons.items():
        faults |= {index: f"{faults[index]}, {reason}" if index in faults else reason for index in indices}
    if faults and (not allow_missing or len(faults) == len(dataset)):
        counts = [_count(dataset, reason, indices) for reason, indices in reasons.items() if indices]
        way_out = (
            "nothing is left to judge" if allow_missing else "add them, or count them as wrong with --allow-missing"
        )
        raise DataError(f"{split}: {'; '.join(counts)}; {way_out}")
    return MappedSplit(dataset=dataset, maps=maps, faults=dict(sorted(faults.items())), allow_unreadable=allow_missing)


def require_readable(
    split: MappedSplit, protocols: Protocols, *, workers: int, with_pictures: bool = False
) -> ValueSpan | None:
    """Refuse pictures, maps and masks that cannot be judged.

    Args:
        workers: threads that read.
        with_pictures: read pictures even where their maps are saved.

    Returns:
        Smallest and largest value of the pictures of more than eight bits; None if there are none, or none were read.

    Raises:
        DataError: names the first one that cannot be read or has another size.
    """
    dataset, maps, faults = split.dataset, split.maps, split.faults
    span = None
    if with_pictures or isinstance(maps, PredictedMaps):
        span = require_usable(dataset, workers=workers, allow_unreadable=split.allow_unreadable)
    by_masks = any(isinstance(protocol, PixelProtocol) for protocol in protocols)
    side = next((protocol.view for protocol in protocols if protocol.view is not None), None)

    def read(index: int) -> None:
        try:
            read_judged(index)
        except ImageError as fault:
            if not (split.allow_unreadable and str(fault).startswith(printable(dataset.path(index)))):
                raise

    def read_judged(index: int) -> None:
        if isinstance(maps, SavedMaps):
            picture_wh = picture_size_wh(dataset, index)
            if index not in faults:
                read_localization_map(maps.file(dataset.image_ids[index]), side=side)
        else:
            picture_wh = image_size_wh(dataset.path(index), max_pixels=dataset.decode.max_pixels)
        if by_masks and dataset.masks is not None and NO_MASK not in faults.get(index, ""):
            read_masks(dataset.masks[index], size_wh=(1, 1), picture_wh=picture_wh, scaled=may_scale_masks(dataset))

    if by_masks or isinstance(maps, SavedMaps):
        for _ in read_ahead(range(len(dataset)), read, workers=workers, depth=4 * workers):
            pass
    return span


def require_same_classes(predictor: Predictor, dataset: Dataset) -> None:
    """Refuse a data set with other classes than the model's; class names that are mere numbers fit by count.

    A model that tells no classes apart fits every data set.

    Raises:
        DataError: names the first difference.
    """
    if not predictor.facts.has_classifier:
        return
    ours, theirs = predictor.label_names, dataset.class_names
    if len(ours) != len(theirs):
        raise DataError(
            f"{dataset.root}: {len(theirs)} classes, the model has {len(ours)}; give the data it was made for"
        )
    named = _has_names(ours) and _has_names(theirs)
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if named and nfc(our) != nfc(their):
            raise DataError(
                f"{dataset.root}: class {number} is {their!r}, the model's is {our!r}; give the data it was made for"
            )


def _has_names(classes: tuple[str, ...]) -> bool:
    return any(name != str(number) for number, name in enumerate(classes))


def _reasons(dataset: Dataset, maps: MapSource, *, by_masks: bool) -> Mapping[str, Sequence[int]]:
    """Indices of the pictures that cannot be judged, by reason."""
    reasons: dict[str, list[int]] = {}
    for index, reason in maps.missing(dataset).items():
        reasons.setdefault(reason, []).append(index)
    if by_masks and dataset.masks is not None:
        is_whole = [all(file.is_file() for file in masks.files) for masks in dataset.masks]
        reasons[NO_MASK] = [index for index, whole in enumerate(is_whole) if not whole]
    return reasons


def _count(dataset: Dataset, reason: str, indices: Sequence[int]) -> str:
    names = first_names([repr(dataset.image_ids[index]) for index in indices], at_most=_NAMED_AT_MOST)
    return f"{len(indices)} of {len(dataset)} pictures have {reason} ({names})"
