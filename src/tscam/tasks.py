"""A data set, with a predictor or a folder of maps → its pictures, judged, in the data set's order."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from tscam.datasets import Dataset, require_usable
from tscam.datasets.mask_files import read_masks
from tscam.errors import DataError
from tscam.geometry import View
from tscam.image import image_size_wh, preprocess, read_image
from tscam.judging import NO_MASK, Judge, Protocols, Task, read_localization_map
from tscam.loading import Progress, batches, in_processes, read_ahead
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.protocol import PixelProtocol
from tscam.metrics.threshold import Threshold, ThresholdPolicy
from tscam.predictor import Prediction, Predictor
from tscam.score_maps import map_path
from tscam.system.processes import ALONE, Processes

TOP_K = 5
_NAMED_AT_MOST = 5

# Fewer pictures are judged sooner than processes are started for it.
_FEW = 256


@runtime_checkable
class Tasks(Protocol):
    """Makes tasks of a data set's pictures."""

    @property
    def batch_size(self) -> int:
        """Pictures that are predicted together; processes take whole batches in turn."""
        ...

    def default_threshold(self, dataset: Dataset) -> Threshold:
        """The threshold under the policy `model`: stored with the model, or published for the data set."""
        ...

    def of(self, dataset: Dataset, indices: Sequence[int], *, faults: Mapping[int, str]) -> Iterator[Task]:
        """The tasks of these pictures, in their order.

        Args:
            faults: of a picture by its index, why it counts as wrong without being judged.
        """
        ...

    def without_map(self, dataset: Dataset) -> Mapping[int, str]:
        """Pictures for which there will be no map, by index, and why."""
        ...


@dataclass(frozen=True, kw_only=True)
class PredictedMaps:
    """Tasks whose maps a predictor makes.

    Attributes:
        batch_size: pictures at once.
        workers: threads that read pictures.
    """

    predictor: Predictor
    batch_size: int
    workers: int

    def default_threshold(self, dataset: Dataset) -> Threshold:  # noqa: ARG002  The model knows its own.
        policy = ThresholdPolicy(kind="model")
        return Threshold(policy=policy, value=self.predictor.threshold, explained=policy.explained)

    def of(self, dataset: Dataset, indices: Sequence[int], *, faults: Mapping[int, str]) -> Iterator[Task]:
        def load(index: int) -> tuple[int, Float[np.ndarray, "3 H W"], View]:
            pixels, view = preprocess(read_image(dataset.path(index)), to=self.predictor.input_format)
            return index, pixels, view

        loaded = read_ahead(indices, load, workers=max(self.workers, 1), depth=2 * self.batch_size)
        with closing(loaded):
            for batch in batches(loaded, self.batch_size):
                numbers, pixels, views = zip(*batch, strict=True)
                found = self.predictor.predict(np.stack(pixels), top_k=0, labels=dataset.labels[list(numbers)])
                for index, view, prediction in zip(numbers, views, found, strict=True):
                    yield _predicted(dataset, index, view, prediction, fault=faults.get(index, ""))

    def without_map(self, dataset: Dataset) -> Mapping[int, str]:  # noqa: ARG002  A predictor leaves none out.
        return {}


@dataclass(frozen=True, kw_only=True)
class SavedMaps:
    """Tasks whose maps lie in a folder, named as wsolevaluation names them; nothing is known of classes."""

    folder: Path
    batch_size: int = 64

    def default_threshold(self, dataset: Dataset) -> Threshold:
        explained = f"published for data sets like {dataset.name}"
        return Threshold(policy=ThresholdPolicy(kind="model"), value=dataset.threshold, explained=explained)

    def of(self, dataset: Dataset, indices: Sequence[int], *, faults: Mapping[int, str]) -> Iterator[Task]:
        for index in indices:
            file = map_path(self.folder, dataset.image_ids[index])
            yield _task(dataset, index, _picture_wh(dataset, index), map_=file, fault=faults.get(index, ""))

    def without_map(self, dataset: Dataset) -> Mapping[int, str]:
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder; --maps takes the folder of .npy maps, named by picture")
        ids = enumerate(dataset.image_ids)
        return {index: "no map" for index, image_id in ids if not map_path(self.folder, image_id).is_file()}


def judged(
    tasks: Tasks,
    dataset: Dataset,
    judge: Judge,
    *,
    faults: Mapping[int, str] | None = None,
    workers: int = 0,
    processes: Processes = ALONE,
    on_progress: Progress | None = None,
) -> Iterator[JudgedPicture]:
    """Every picture of a data set, judged, in the data set's order; the same ones in every process.

    Processes take whole batches in turn, so that each picture is predicted among the same others, and to the same bits,
    whatever their number. None holds more than a few batches at a time.

    Args:
        faults: of pictures by index, why they count as wrong without being judged.
        workers: processes that judge, each of `processes` its own; they are not started for a few pictures.

    Raises:
        DataError: a picture, map or mask cannot be read.
    """
    size, count = tasks.batch_size, len(dataset)
    starts = range(0, count, size)
    own = [range(start, min(start + size, count)) for start in starts[processes.rank :: processes.count]]
    mine = tasks.of(dataset, [index for batch in own for index in batch], faults=faults or {})
    helpers = workers if count >= _FEW else 0
    done = 0
    with closing(in_processes(mine, judge, processes=helpers, depth=4 * max(helpers, 1))) as found:
        for turn in range(-(-len(starts) // processes.count)):
            batch = list(islice(found, len(own[turn]))) if turn < len(own) else []
            for picture in processes.gather(batch):
                if picture.image != dataset.image_ids[done]:
                    raise RuntimeError(f"{picture.image} where {dataset.image_ids[done]} is due: each counts once")
                done += 1
                if on_progress is not None:
                    on_progress(done, count)
                yield picture
    if done != count:
        raise RuntimeError(f"{done} results for {count} pictures: each must count once")


def require_judgeable(
    dataset: Dataset, tasks: Tasks, *, with_boxes: bool, with_masks: bool, allow_missing: bool
) -> Mapping[int, str]:
    """Pictures of a data set that cannot be judged, by index, and why: they count as wrong where that is allowed.

    Raises:
        DataError: there are such pictures and it is not allowed; or the whole data set has no boxes or no masks.
    """
    where = f"{dataset.root}: split {dataset.split!r}"
    if with_boxes and (dataset.boxes is None or not any(map(len, dataset.boxes))):
        raise DataError(f"{dataset.root}: no boxes for split {dataset.split!r}; evaluation compares with boxes")
    if with_masks and dataset.masks is None:
        raise DataError(f"{where} has no masks; the protocol pxap compares with masks, take one of boxes")
    reasons: dict[str, list[int]] = {}
    for index, reason in tasks.without_map(dataset).items():
        reasons.setdefault(reason, []).append(index)
    if with_boxes and dataset.boxes is not None:
        reasons["no box"] = [index for index, boxes in enumerate(dataset.boxes) if not len(boxes)]
    if with_masks and dataset.masks is not None:
        missing = [not all(file.is_file() for file in masks.files) for masks in dataset.masks]
        reasons[NO_MASK] = [index for index, is_missing in enumerate(missing) if is_missing]
    faults: dict[int, str] = {}
    for reason, indices in reasons.items():
        faults |= {index: f"{faults[index]}, {reason}" if index in faults else reason for index in indices}
    if faults and (not allow_missing or len(faults) == len(dataset)):
        said = [_said(dataset, reason, indices) for reason, indices in reasons.items() if indices]
        way_out = (
            "nothing is left to judge" if allow_missing else "add them, or count them as wrong with --allow-missing"
        )
        raise DataError(f"{where}: {'; '.join(said)}; {way_out}")
    return dict(sorted(faults.items()))


def require_readable(
    dataset: Dataset,
    tasks: Tasks,
    protocols: Protocols,
    *,
    faults: Mapping[int, str],
    workers: int,
    with_pictures: bool = False,
) -> None:
    """Refuses pictures, maps and masks that cannot be judged, before a place for the result is claimed.

    Args:
        faults: of pictures by index, why they are not judged.
        workers: threads that read.
        with_pictures: pictures are read even where their maps are saved.

    Raises:
        DataError: names the first one that cannot be read or is of another size.
    """
    if with_pictures or isinstance(tasks, PredictedMaps):
        require_usable(dataset, workers=workers)
    with_masks = any(isinstance(protocol, PixelProtocol) for protocol in protocols)
    side = next((protocol.view for protocol in protocols if protocol.view is not None), None)

    def read(index: int) -> None:
        if isinstance(tasks, SavedMaps):
            picture_wh = _picture_wh(dataset, index)
            if index not in faults:
                read_localization_map(map_path(tasks.folder, dataset.image_ids[index]), side=side)
        else:
            picture_wh = image_size_wh(dataset.path(index))
        if with_masks and dataset.masks is not None and NO_MASK not in faults.get(index, ""):
            read_masks(dataset.masks[index], size_wh=(1, 1), picture_wh=picture_wh, scaled=_masks_scaled(dataset))

    if with_masks or isinstance(tasks, SavedMaps):
        for _ in read_ahead(range(len(dataset)), read, workers=workers, depth=4 * workers):
            pass


def _masks_scaled(dataset: Dataset) -> bool:
    """May masks be of another size? wsolevaluation states no sizes for OpenImages, and takes its masks as they are."""
    return dataset.name == "wsol" and dataset.sizes_wh is None


def _picture_wh(dataset: Dataset, index: int) -> tuple[int, int]:
    """As the data set's list states it, else as the picture itself does."""
    if dataset.sizes_wh is None:
        return image_size_wh(dataset.path(index))
    width, height = dataset.sizes_wh[index].tolist()
    return width, height


def _said(dataset: Dataset, reason: str, indices: Sequence[int]) -> str:
    named = ", ".join(repr(dataset.image_ids[index]) for index in indices[:_NAMED_AT_MOST])
    more = f" and {len(indices) - _NAMED_AT_MOST} more" if len(indices) > _NAMED_AT_MOST else ""
    return f"{len(indices)} of {len(dataset)} pictures have {reason} ({named}{more})"


def _predicted(dataset: Dataset, index: int, view: View, prediction: Prediction, *, fault: str) -> Task:
    top = np.argsort(-prediction.logits, kind="stable")[:TOP_K]
    return _task(
        dataset, index, view.picture_wh, map_=prediction.maps[-1], view_wh=view.view_wh,
        top_classes=tuple(top.tolist()), fault=fault,
    )  # fmt: skip


def _task(
    dataset: Dataset,
    index: int,
    picture_wh: tuple[int, int],
    *,
    map_: Float[np.ndarray, "h w"] | Path,
    view_wh: tuple[int, int] | None = None,
    top_classes: tuple[int, ...] = (),
    fault: str,
) -> Task:
    return Task(
        image=dataset.image_ids[index],
        label=int(dataset.labels[index]),
        picture_wh=picture_wh,
        view_wh=view_wh,
        truths=np.empty((0, 4)) if dataset.boxes is None else dataset.boxes[index],
        rule=dataset.box_rule,
        masks=None if dataset.masks is None else dataset.masks[index],
        masks_scaled=_masks_scaled(dataset),
        map=map_,
        top_classes=top_classes,
        fault=fault,
    )
