"""Pictures → localizations, batch by batch, and the files of `tscam localize`."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tscam.boxes import find_boxes, require_threshold
from tscam.checkpoints.source import ModelSource, resolve
from tscam.config import LocalizeConfig
from tscam.drawing import draw
from tscam.errors import DataError, ImageError, OutputError, one_line
from tscam.formats import formats, write_annotations
from tscam.geometry import View, to_box
from tscam.image import PICTURE_SUFFIXES, preprocess, read_image
from tscam.loading import Progress, batches, read_ahead
from tscam.localization import Localization, LocalizedObject, StoredMap, read_localizations
from tscam.predictor import Prediction, Predictor
from tscam.predictors import open_predictor
from tscam.registry import MethodArgs
from tscam.system.resources import Precision
from tscam.writing import claim_output, write_csv


class Localizer:
    """Finds the objects of pictures with any `Predictor`.

    Args:
        predictor: what turns pixels into maps.
        batch_size: pictures at once.
        workers: threads that read pictures.
    """

    def __init__(self, predictor: Predictor, *, batch_size: int = 16, workers: int = 2) -> None:
        self.predictor = predictor
        self.batch_size = batch_size
        self.workers = workers

    def __call__(
        self, pictures: Sequence[str | Path], *, top_k: int = 1, threshold: float | None = None
    ) -> list[Localization]:
        """What is found in each picture file, in their order; a picture that cannot be read says so in its `status`."""
        return list(self.stream(pictures, top_k=top_k, threshold=threshold))

    def stream(
        self, pictures: Iterable[str | Path], *, top_k: int = 1, threshold: float | None = None
    ) -> Iterator[Localization]:
        """The same one by one, for any number of pictures.

        Args:
            pictures: paths of files.
            top_k: objects a picture, one for each of its most likely classes.
            threshold: fraction of the map's maximum above which is object; None takes the model's own.

        Raises:
            ConfigError: a threshold outside (0, 1).
        """
        require_threshold(threshold)
        level = self.predictor.threshold if threshold is None else threshold
        loaded = read_ahead(pictures, self._load, workers=max(self.workers, 1), depth=2 * self.batch_size)
        for batch in batches(loaded, self.batch_size):
            readable = [pixels for _, pixels, _ in batch if not isinstance(pixels, ImageError)]
            found = iter(self.predictor.predict(np.stack(readable), top_k=top_k) if readable else [])
            for image, pixels, view in batch:
                if isinstance(pixels, ImageError):
                    yield _unreadable(image, pixels)
                else:
                    yield self._localization(image, view, next(found), threshold=level)

    def _load(self, image: str | Path) -> tuple[str, Float[np.ndarray, "3 H W"] | ImageError, View]:
        form = self.predictor.input_format
        try:
            pixels, view = preprocess(read_image(Path(image)), to=form)
        except ImageError as fault:
            return str(image), fault, View(picture_wh=form.size_wh, view_wh=form.size_wh)
        return str(image), pixels, view

    def _localization(self, image: str, view: View, prediction: Prediction, *, threshold: float) -> Localization:
        probabilities, names = prediction.probabilities, self.predictor.label_names
        objects, maps = [], {}
        for class_id, raw in zip(prediction.classes.tolist(), prediction.maps, strict=True):
            boxes = find_boxes(raw, view, threshold=threshold)
            if len(boxes):
                objects.append(
                    LocalizedObject(
                        label=names[class_id],
                        class_id=class_id,
                        score=float(probabilities[class_id]),
                        box=to_box(boxes[0]),
                    )
                )
                maps[class_id] = StoredMap.from_raw(raw)
        width, height = view.picture_wh
        reason = "" if objects else "the maps are flat: nothing stands out"
        return Localization(
            image=image, width=width, height=height, status="ok", reason=reason, objects=tuple(objects), maps=maps
        )


def load(
    model: str | Path | ModelSource,
    *,
    method: str | None = None,
    method_args: MethodArgs | None = None,
    device: str | None = None,
    precision: Precision = "fp32",
    batch_size: int = 16,
    workers: int = 2,
) -> Localizer:
    """A localizer from a model folder, a run folder (its best weights), or a checkpoint of the TS-CAM authors.

    Args:
        model: path of the folder or file, or `hf-hub:user/name[@revision]` on the Hugging Face hub.
        method: reads the maps by another method than the model's own, such as `cam` or `attention`.
        method_args: options of the method.
        device: as PyTorch names it; None takes the GPU where there is one.
        precision: of the matrix products.
        batch_size, workers: as of `Localizer`.

    Raises:
        WeightsError: the model cannot be read.
        ConfigError: no such method, option or device.
    """
    predictor = open_predictor(model, method=method, method_args=method_args, device=device, precision=precision)
    return Localizer(predictor, batch_size=batch_size, workers=workers)


def localize(
    pictures: Sequence[Path], *, model: str | Path, config: LocalizeConfig, on_progress: Progress | None = None
) -> Path:
    """Localizes picture files and folders of them, and writes what was found.

    Written are `localizations.jsonl`, a line a picture as it is finished; `bad_images.csv` where a picture could not be
    read; each annotation format of `config.to`; and `drawings/` with `config.draw`.

    Returns:
        The absolute path of the output folder.

    Raises:
        TscamError: the model, the pictures' paths, a format's name or the place are not fit; nothing is written then.
    """
    for name in config.to:
        formats[name]
    paths = find_pictures(pictures)
    source = resolve(model)
    localizer = load(
        source, method=config.method, method_args=config.method_args, device=config.device, precision=config.precision,
        batch_size=config.batch_size, workers=config.workers,
    )  # fmt: skip
    out = claim_output(config.out, overwrite=config.overwrite, inputs=(*paths, source.path))
    lines = out / "localizations.jsonl"
    bad: list[tuple[str, str]] = []
    try:
        with lines.open("w", encoding="utf-8") as file:
            found = localizer.stream(paths, top_k=config.top_k, threshold=config.threshold)
            for number, localization in enumerate(found, start=1):
                file.write(localization.to_json() + "\n")
                if localization.status == "bad_image":
                    bad.append((localization.image, localization.reason))
                elif config.draw:
                    # Safe in any shell and file system; a name may take 255 bytes, not as many characters.
                    safe = re.sub(r"[\x00-\x1f\x7f<>:\"'`$/\\|?*=]+", "_", Path(localization.image).stem)
                    stem = os.fsencode(safe)[:80].decode(errors="ignore")
                    _draw(localization, out / "drawings" / f"{number:06d}-{stem}.jpg")
                if on_progress is not None:
                    on_progress(number, len(paths))
    except OSError as fault:
        raise OutputError(f"{out}: cannot be written ({one_line(fault)}); what is finished stays there") from fault
    if bad:
        write_csv(out / "bad_images.csv", ["image", "reason"], bad)
    for name in config.to:
        write_annotations(read_localizations(lines), out, to=name, class_names=localizer.predictor.label_names)
    return out


def find_pictures(given: Iterable[Path]) -> list[Path]:
    """The picture files that are named, and those in the folders that are named, at any depth and sorted; each once.

    Hidden files in folders (macOS's `._x.jpg`) are left out.

    Raises:
        DataError: nothing of that name, or a folder without pictures.
    """
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = [
                Path(folder, name)
                for folder, _, names in os.walk(path)
                for name in names
                if Path(name).suffix.lower() in PICTURE_SUFFIXES and not name.startswith(".")
            ]
            if not inside:
                raise DataError(f"{path}: no pictures in this folder; looked for {', '.join(sorted(PICTURE_SUFFIXES))}")
            found += sorted(inside)
        elif os.path.lexists(path):
            found.append(path)
        else:
            raise DataError(f"{path}: no such file or folder; PICTURES are files or folders of them")
    if not found:
        raise DataError("no pictures given; PICTURES are files or folders of them")
    unique: dict[str, Path] = {}
    for path in found:
        unique.setdefault(os.path.abspath(path), path)  # noqa: PTH100  `Path.absolute` keeps `..`.
    return list(unique.values())


def _unreadable(image: str, fault: ImageError) -> Localization:
    return Localization(image=image, width=0, height=0, status="bad_image", reason=str(fault), objects=())


def _draw(localization: Localization, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    draw(localization).save(path, quality=92)
