"""Where the maps of a data set come from: a predictor that makes them, or a folder that has them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from tscam.datasets import Dataset
from tscam.datasets.inspection import reason_of
from tscam.decoding import PixelRange
from tscam.errors import DataError, ImageError
from tscam.evaluation.judging import UNREADABLE, Task
from tscam.evaluation.score_maps import map_path
from tscam.geometry import View
from tscam.image import image_size_wh, preprocess
from tscam.metrics.threshold import Threshold, ThresholdPolicy
from tscam.names import OnDisk
from tscam.predictor import Prediction, Predictor
from tscam.system.loading import batches, read_ahead

TOP_K = 5


@runtime_checkable
class MapSource(Protocol):
    """Source of the maps that are judged."""

    @property
    def batch_size(self) -> int:
        """Pictures that are predicted together; processes take whole batches in turn."""
        ...

    @property
    def facts(self) -> Mapping[str, object]:
        """Facts about the model or the maps, as `metrics.json` states them."""
        ...

    @property
    def has_classifier(self) -> bool:
        """True if tasks have class scores."""
        ...

    def fingerprint(self, datasets: Iterable[Dataset]) -> str:
        """A hash of everything that decides the maps of these data sets."""
        ...

    def default_threshold(self, dataset: Dataset) -> Threshold:
        """The threshold under the policy `model`: stored with the model, or published for the data set."""
        ...

    @property
    def pixel_range(self) -> PixelRange | None:
        """The range of values of pictures of more than eight bits that the model was trained with, if there was one."""
        ...

    def tasks(
        self, dataset: Dataset, indices: Sequence[int], *, faults: Mapping[int, str], allow_unreadable: bool
    ) -> Iterator[Task]:
        """The tasks of these pictures, in their order.

        Args:
            faults: by index, why a picture counts as wrong without being judged.
            allow_unreadable: a picture that cannot be read counts as wrong; otherwise it raises its `ImageError`.
        """
        ...

    def missing(self, dataset: Dataset) -> Mapping[int, str]:
        """Pictures for which there will be no map, by index, with the reason."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class MappedSplit:
    """A split of a data set, with the source of its maps.

    Attributes:
        faults: by index, why a picture counts as wrong without being judged.
        allow_unreadable: a picture that cannot be read counts as wrong, too.
    """

    dataset: Dataset
    maps: MapSource
    faults: Mapping[int, str] = field(default_factory=dict)
    allow_unreadable: bool = False

    def tasks(self, indices: Sequence[int]) -> Iterator[Task]:
        """The tasks of these pictures, in their order."""
        return self.maps.tasks(self.dataset, indices, faults=self.faults, allow_unreadable=self.allow_unreadable)

    def scaled_by(self, pixel_range: PixelRange | None) -> "MappedSplit":
        """Return the split with another range for pictures of more than eight bits."""
        return replace(self, dataset=self.dataset.scaled_by(pixel_range))


@dataclass(frozen=True, kw_only=True)
class PredictedMaps:
    """Maps that a predictor makes.

    Attributes:
        batch_size: pictures that are predicted together.
        workers: threads that read pictures.
    """

    predictor: Predictor
    batch_size: int
    workers: int

    @property
    def facts(self) -> Mapping[str, object]:
        return self.predictor.facts.to_json()

    def fingerprint(self, datasets: Iterable[Dataset]) -> str:  # noqa: ARG002  The pictures are not the model's.
        return self.predictor.fingerprint()

    @property
    def has_classifier(self) -> bool:
        return self.predictor.facts.has_classifier

    def default_threshold(self, dataset: Dataset) -> Threshold:  # noqa: ARG002  The model's serves all data sets.
        policy = ThresholdPolicy(name="model")
        return Threshold(policy=policy, value=self.predictor.threshold, explained=policy.explained)

    @property
    def pixel_range(self) -> PixelRange | None:
        return self.predictor.input_format.pixel_range

    def tasks(
        self, dataset: Dataset, indices: Sequence[int], *, faults: Mapping[int, str], allow_unreadable: bool
    ) -> Iterator[Task]:
        input_format = self.predictor.input_format

        def load(index: int) -> "_Seen | Task":
            try:
                pixels, view = preprocess(dataset.read(index), to=input_format)
            except ImageError as fault:
                if not allow_unreadable:
                    raise
                unread = _unread_task(dataset, index, fault, view_wh=input_format.size_wh)
                return replace(unread, is_unclassified=self.has_classifier)
            return _Seen(index, pixels, view)

        loaded = read_ahead(indices, load, workers=max(self.workers, 1), depth=2 * self.batch_size)
        with closing(loaded):
            for batch in batches(loaded, self.batch_size):
                predictions = iter(self._predict(dataset, [each for each in batch if isinstance(each, _Seen)]))
                for each in batch:
                    if isinstance(each, Task):
                        yield each
                        continue
                    prediction = next(predictions)
                    top = np.argsort(-prediction.logits, kind="stable")[:TOP_K] if self.has_classifier else ()
                    yield _task(
                        dataset, each.index, each.view.picture_wh, map_=prediction.maps[-1],
                        view_wh=each.view.view_wh, top_classes=tuple(map(int, top)), fault=faults.get(each.index, ""),
                    )  # fmt: skip

    def _predict(self, dataset: Dataset, seen: Sequence["_Seen"]) -> list[Prediction]:
        if not seen:
            return []
        indices = [each.index for each in seen]
        labels = dataset.labels[indices] if self.has_classifier else np.zeros(len(indices), dtype=np.int64)
        return self.predictor.predict(np.stack([each.pixels for each in seen]), top_k=0, labels=labels)

    def missing(self, dataset: Dataset) -> Mapping[int, str]:  # noqa: ARG002  A predictor leaves none out.
        return {}


@dataclass(frozen=True, kw_only=True)
class SavedMaps:
    """Maps in a folder, named as wsolevaluation names them; they come without class scores."""

    folder: Path
    batch_size: int = 64

    def file(self, image_id: str) -> Path:
        """Return the file of a picture's map, as the disk spells it."""
        path = map_path(self.folder, image_id)
        return path if image_id.isascii() else self.folder / self._on_disk(path.relative_to(self.folder).as_posix())

    @cached_property
    def _on_disk(self) -> OnDisk:
        return OnDisk(self.folder)

    @property
    def facts(self) -> Mapping[str, object]:
        return {"maps": str(self.folder)}

    def fingerprint(self, datasets: Iterable[Dataset]) -> str:
        """A hash of names, sizes and times of the files."""
        digest = hashlib.sha256()
        for image_id in chain.from_iterable(dataset.image_ids for dataset in datasets):
            with suppress(OSError):  # A missing map counts as wrong, or was refused.
                state = self.file(image_id).stat()
                digest.update(f"{image_id!r} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    @property
    def has_classifier(self) -> bool:
        return False

    def default_threshold(self, dataset: Dataset) -> Threshold:
        explained = f"published for data sets like {dataset.name}"
        return Threshold(policy=ThresholdPolicy(name="model"), value=dataset.threshold, explained=explained)

    @property
    def pixel_range(self) -> PixelRange | None:
        return None

    def tasks(
        self, dataset: Dataset, indices: Sequence[int], *, faults: Mapping[int, str], allow_unreadable: bool
    ) -> Iterator[Task]:
        for index in indices:
            try:
                picture_wh = picture_size_wh(dataset, index)
            except ImageError as fault:
                if not allow_unreadable:
                    raise
                yield _unread_task(dataset, index, fault)
                continue
            file = self.file(dataset.image_ids[index])
            yield _task(dataset, index, picture_wh, map_=file, fault=faults.get(index, ""))

    def missing(self, dataset: Dataset) -> Mapping[int, str]:
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder; --maps takes the folder of .npy maps, named by picture")
        ids = enumerate(dataset.image_ids)
        return {index: "no map" for index, image_id in ids if not self.file(image_id).is_file()}


def may_scale_masks(dataset: Dataset) -> bool:
    """True if masks may differ in size from their pictures.

    wsolevaluation states no sizes for OpenImages, and takes its masks as they are.
    """
    return dataset.name == "wsol" and dataset.sizes_wh is None


def picture_size_wh(dataset: Dataset, index: int) -> tuple[int, int]:
    """Width and height of a picture as the data set's list states them, else as the picture itself does."""
    if dataset.sizes_wh is None:
        return image_size_wh(dataset.path(index), max_pixels=dataset.decode.max_pixels)
    width, height = dataset.sizes_wh[index].tolist()
    return width, height


@dataclass(frozen=True, eq=False)
class _Seen:
    """A picture as the network sees it."""

    index: int
    pixels: Float[np.ndarray, "3 H W"]
    view: View


def _unread_task(dataset: Dataset, index: int, fault: ImageError, *, view_wh: tuple[int, int] | None = None) -> Task:
    """Return the task of a picture that cannot be read and counts as wrong; its size is the stated or a possible."""
    if dataset.sizes_wh is not None:
        width, height = dataset.sizes_wh[index].tolist()
    else:
        boxes = np.empty((0, 4)) if dataset.boxes is None else dataset.boxes[index]
        width, height = (max(1, *np.ceil(boxes[:, edge]).astype(int).tolist()) if len(boxes) else 1 for edge in (2, 3))
    reason = f"{UNREADABLE}: {reason_of(fault, dataset.path(index))}"
    return _task(dataset, index, (width, height), map_=np.zeros((1, 1)), view_wh=view_wh, fault=reason)


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
        masks_scaled=may_scale_masks(dataset),
        map=map_,
        top_classes=top_classes,
        fault=fault,
    )
