"""Pictures → localizations, batch by batch, with any `Predictor`. Knows nothing of networks and of files of results."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import get_args, overload

import numpy as np
from jaxtyping import Float

from tscam.boxes import Objects, find_regions, require_threshold
from tscam.decoding import MAX_PIXELS, DecodeSettings, PixelRange
from tscam.errors import ConfigError, DataError, ImageError, did_you_mean
from tscam.geometry import View, to_box
from tscam.image import PICTURE_SUFFIXES, Picture, decode_picture, preprocess, require_picture
from tscam.localization import Localization, LocalizedObject, StoredMap
from tscam.names import nfc
from tscam.picture_files import count_endings, describe_passed_over, walk
from tscam.predictor import Prediction, Predictor
from tscam.system.loading import batches, read_ahead

# A class by its name, or by its number from 0.
Label = str | int | np.integer

# A picture and the id of its class, None where the class is not known.
_Request = tuple[Picture, int | None]

# Stands for what is missing where there are more pictures than labels, or fewer.
_END = object()


class Localizer:
    """Localizes the objects of pictures.

    Args:
        predictor: makes maps from pixels.
        batch_size: pictures a batch.
        workers: threads that read pictures.
        max_pixels: pixels of the largest picture that is read.
    """

    def __init__(
        self, predictor: Predictor, *, batch_size: int = 16, workers: int = 2, max_pixels: int = MAX_PIXELS
    ) -> None:
        self.predictor = predictor
        self.batch_size = batch_size
        self.workers = workers
        self._decode = DecodeSettings(pixel_range=predictor.input_format.pixel_range, max_pixels=max_pixels)

    # A string is an iterable of strings, too; it is one path, as the first overload says.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        pictures: Picture,
        *,
        labels: Label | None = None,
        top_k: int = 1,
        threshold: float | None = None,
        objects: Objects = "one",
        min_objectness: float | None = None,
    ) -> Localization: ...

    @overload
    def __call__(
        self,
        pictures: Iterable[Picture],
        *,
        labels: Iterable[Label] | None = None,
        top_k: int = 1,
        threshold: float | None = None,
        objects: Objects = "one",
        min_objectness: float | None = None,
    ) -> list[Localization]: ...

    def __call__(
        self,
        pictures: Picture | Iterable[Picture],
        *,
        labels: Label | Iterable[Label] | None = None,
        top_k: int = 1,
        threshold: float | None = None,
        objects: Objects = "one",
        min_objectness: float | None = None,
    ) -> Localization | list[Localization]:
        """Localize one picture, or several in their order.

        A picture that cannot be read, a file or in memory, does not raise: its localization has `status` `bad_image`
        and the reason.

        Args:
            pictures: one picture gives one localization, a list of pictures a list of them. A picture is the path of a
                file, the bytes of a file, a PIL picture, or an array of uint8 that is height × width × 3 (RGB) or
                height × width (grey). The localization of a picture in memory has an empty `image`.
            labels: class of the picture by name or number from 0, where it is known; for a list of pictures a list of
                as many. The object is then of this class, whichever is the most likely one.
            top_k: classes a picture whose objects are localized, the most likely ones; beside labels there is one.
            threshold: fraction of the map's maximum above which is object; the model's own by default.
            objects: objects a class: the largest region (`one`), or all large ones (`parts`), as `find_boxes` says.
            min_objectness: a picture whose objectness is lower has no objects; only for a model that tells objectness.

        Raises:
            ConfigError: a threshold or an objectness outside (0, 1), an objectness that the model does not tell, an
                unknown label, another number of labels than of pictures, or nothing that could be a picture.
        """
        stream = partial(self.stream, top_k=top_k, threshold=threshold, objects=objects, min_objectness=min_objectness)
        if isinstance(pictures, Picture):
            if not (labels is None or isinstance(labels, Label)):
                raise ConfigError(f"labels {labels!r} for one picture; expected one label, or a list of pictures")
            one_label = None if labels is None else [labels]
            (localization,) = stream([pictures], labels=one_label)
            return localization
        if labels is None or isinstance(labels, Label):
            return list(stream(pictures, labels=labels))
        pictures = list(_several(pictures))
        class_ids = [find_class(label, self.predictor.label_names) for label in labels]
        if len(class_ids) != len(pictures):
            raise ConfigError(f"{len(class_ids)} labels for {len(pictures)} pictures; expected one for each")
        return list(stream(pictures, labels=class_ids))

    def stream(
        self,
        pictures: Iterable[Picture],
        *,
        labels: Label | Iterable[Label] | None = None,
        top_k: int = 1,
        threshold: float | None = None,
        objects: Objects = "one",
        min_objectness: float | None = None,
    ) -> Iterator[Localization]:
        """Localize any number of pictures one by one; arguments and errors are those of a call.

        Pictures and labels are taken as they are needed, so that they may come from endless iterators.
        """
        require_threshold(threshold)
        criteria = _Criteria(
            threshold=self.predictor.threshold if threshold is None else threshold,
            objects=objects,
            min_objectness=min_objectness,
        )
        criteria.require_possible(self.predictor)
        if top_k < 1:
            raise ConfigError(f"top_k {top_k}; expected 1 or more")
        if isinstance(labels, Label):
            raise ConfigError(f"label {labels!r} for several pictures; expected a list with one label for each")
        if labels is not None and top_k != 1:
            raise ConfigError(f"top_k {top_k} beside labels; a known class is one object a picture, leave top_k out")
        requests = self._requests(_several(pictures), labels)
        return self._stream(requests, criteria, top_k=top_k if labels is None else 0)

    def _requests(self, pictures: Iterable[Picture], labels: Iterable[Label] | None) -> Iterator[_Request]:
        if labels is None:
            yield from ((picture, None) for picture in pictures)
            return
        for number, (picture, label) in enumerate(zip_longest(pictures, labels, fillvalue=_END)):
            if picture is _END or label is _END:
                few, many = ("pictures", "labels") if picture is _END else ("labels", "pictures")
                raise ConfigError(f"{number} {few} and more {many}; expected one label for each picture")
            yield require_picture(picture), find_class(label, self.predictor.label_names)

    def _stream(self, requests: Iterator[_Request], criteria: "_Criteria", *, top_k: int) -> Iterator[Localization]:
        loaded = read_ahead(requests, self._load, workers=max(self.workers, 1), depth=2 * self.batch_size)
        for batch in batches(loaded, self.batch_size):
            predictions = iter(self._predict([each for each in batch if isinstance(each, _View)], top_k=top_k))
            for each in batch:
                if isinstance(each, _View):
                    yield self._localization(each, next(predictions), criteria)
                else:
                    yield each

    def _load(self, request: _Request) -> "_View | Localization":
        picture, class_id = request
        image = str(picture) if isinstance(picture, str | Path) else ""
        try:
            decoded = decode_picture(picture, settings=self._decode)
            pixels, view = preprocess(decoded.image, to=self.predictor.input_format)
        except ImageError as fault:
            return Localization(image=image, width=0, height=0, status="bad_image", reason=str(fault), objects=())
        return _View(image=image, class_id=class_id, pixels=pixels, view=view, pixel_range=decoded.pixel_range)

    def _predict(self, views: Sequence["_View"], *, top_k: int) -> list[Prediction]:
        if not views:
            return []
        class_ids = [each.class_id for each in views if each.class_id is not None]
        pixels, labels = np.stack([each.pixels for each in views]), np.array(class_ids) if class_ids else None
        return self.predictor.predict(pixels, top_k=top_k, labels=labels)

    def _localization(self, view: "_View", prediction: Prediction, criteria: "_Criteria") -> Localization:
        names, facts = self.predictor.label_names, self.predictor.facts
        objects: list[LocalizedObject] = []
        maps = {}
        objectness = prediction.objectness if facts.tells_objectness else None
        for class_id, raw in zip(prediction.classes.tolist(), prediction.maps, strict=True):
            regions = find_regions(raw, view.view, threshold=criteria.threshold, objects=criteria.objects)
            if not len(regions.boxes):
                continue
            scores = regions.means.tolist()
            if not facts.maps_are_probabilities:
                scores = [float(prediction.probabilities[class_id])] * len(scores)
            objects += [
                LocalizedObject(label=names[class_id], class_id=class_id, score=score, box=to_box(box))
                for box, score in zip(regions.boxes, scores, strict=True)
            ]
            maps[class_id] = StoredMap.from_raw(raw)
        reason = "" if objects else "the maps are flat: nothing stands out"
        if objectness is not None and criteria.min_objectness is not None and objectness < criteria.min_objectness:
            objects, reason = [], f"objectness {objectness:.2f} is below {criteria.min_objectness:g}"
        width, height = view.view.picture_wh
        return Localization(
            image=view.image, width=width, height=height, status="ok", reason=reason, objects=tuple(objects), maps=maps,
            threshold=criteria.threshold, objectness=objectness, pixel_range=view.pixel_range,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Criteria:
    """Conditions under which a region of a map is an object, as a call takes them."""

    threshold: float
    objects: Objects
    min_objectness: float | None

    def require_possible(self, predictor: Predictor) -> None:
        """Refuse conditions that no model meets, or not this one.

        Raises:
            ConfigError: names the condition.
        """
        if self.objects not in get_args(Objects):
            raise ConfigError(f"objects {self.objects!r}; expected {' or '.join(get_args(Objects))}")
        if self.min_objectness is None:
            return
        if not 0 < self.min_objectness < 1:
            raise ConfigError(f"min_objectness {self.min_objectness:g}; expected a probability between 0 and 1")
        facts = predictor.facts
        if not facts.tells_objectness:
            raise ConfigError(
                f"min_objectness {self.min_objectness:g}: model {facts.model!r} (method {facts.method}) tells no "
                "objectness; leave it out, or take the bundled model"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """A picture as the network sees it, the id of its class where that is known, and how its values were scaled."""

    image: str
    class_id: int | None
    pixels: Float[np.ndarray, "3 H W"]
    view: View
    pixel_range: PixelRange | None


def find_class(label: object, label_names: Sequence[str]) -> int:
    """Id of a class.

    Args:
        label: name of the class, or its number from 0.

    Raises:
        ConfigError: no such class, several of that name, or neither name nor number.
    """
    count = f"the model has {len(label_names)}"
    if isinstance(label, int | np.integer):
        if 0 <= label < len(label_names):
            return int(label)
        raise ConfigError(f"no class {label}; {count}, numbered from 0")
    if not isinstance(label, str):
        raise ConfigError(f"label {label!r}; expected the name of a class, or its number from 0")
    class_ids = [class_id for class_id, name in enumerate(label_names) if nfc(name) == nfc(label)]
    if len(class_ids) > 1:
        raise ConfigError(
            f"{len(class_ids)} classes are named {label!r}; give the number of one: {', '.join(map(str, class_ids))}"
        )
    if class_ids:
        return class_ids[0]
    hint = did_you_mean(label, label_names) or ";"
    raise ConfigError(f"no class named {label!r}{hint} {count}, such as {label_names[0]!r}")


def find_pictures(
    paths: str | Path | Iterable[str | Path], *, on_note: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Picture files by path, and those in folders by path, at any depth and sorted; each once.

    Hidden files and folders (macOS's `._x.jpg`) in folders are left out; links to folders are followed.

    Args:
        paths: one file or folder, or several.
        on_note: called with a line of text on the files of a folder that are no pictures by their ending.

    Raises:
        DataError: nothing of that name, or a folder without pictures.
    """
    pictures: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if path.is_dir():
            files = walk(path)
            if not files.pictures:
                others = f" (found {count_endings(files.others)})" if files.others else ""
                endings = ", ".join(sorted(PICTURE_SUFFIXES))
                raise DataError(f"{path}: no pictures in this folder; looked for {endings}{others}")
            pictures += [path / name for name in files.pictures]
            if files.others:
                on_note(f"{path}: {describe_passed_over(files.others)}")
        elif os.path.lexists(path):
            pictures.append(path)
        else:
            raise DataError(f"{path}: no such file or folder; PICTURES are files or folders of them")
    if not pictures:
        raise DataError("no pictures given; PICTURES are files or folders of them")
    unique: dict[str, Path] = {}
    for path in pictures:
        unique.setdefault(os.path.abspath(path), path)  # noqa: PTH100  `Path.absolute` keeps `..`.
    return list(unique.values())


def _several(pictures: object) -> Iterable[Picture]:
    """Several pictures as they are, one picture as a list of one.

    Raises:
        ConfigError: nothing that could be pictures.
    """
    if isinstance(pictures, Iterable) and not isinstance(pictures, Picture):
        return pictures
    return [require_picture(pictures)]
