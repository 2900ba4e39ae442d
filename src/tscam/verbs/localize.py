"""Pictures → `localizations.jsonl` and the files beside it; and `load`, the way to a localizer in Python."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from tscam.checkpoints.source import ModelSource, resolve
from tscam.config import LocalizeConfig
from tscam.datasets.fingerprint import byte_count
from tscam.decoding import MAX_PIXELS
from tscam.formats import formats, require_writable_names, write_annotations
from tscam.localization import Localization
from tscam.localizer import Localizer, find_pictures
from tscam.predictors import ModelLike, open_predictor
from tscam.registry import MethodArgs
from tscam.system.loading import Progress
from tscam.system.output_folder import Job, resumable_output
from tscam.system.resources import Precision
from tscam.verbs.localization_folder import LocalizationFolder


def load(
    model: ModelLike,
    *,
    method: str | None = None,
    method_args: MethodArgs | None = None,
    device: str | None = None,
    precision: Precision = "fp32",
    batch_size: int = 16,
    workers: int = 2,
    max_pixels: int = MAX_PIXELS,
) -> Localizer:
    """Return a localizer that uses a model.

    Args:
        model: a model folder, a run folder (its best weights), a checkpoint of the TS-CAM authors,
            `hf-hub:user/name[@revision]`; or a model in memory.
        method: reads the maps by another method than the model's own, such as `cam` or `attention`.
        method_args: options of the method.
        device: as PyTorch names it; None takes the GPU where there is one.
        precision: of the matrix products.
        batch_size: pictures a batch.
        workers: threads that read pictures.
        max_pixels: pixels of the largest picture that is read.

    Raises:
        WeightsError: the model cannot be read.
        ConfigError: no such method, option or device.
    """
    predictor = open_predictor(model, method=method, method_args=method_args, device=device, precision=precision)
    return Localizer(predictor, batch_size=batch_size, workers=workers, max_pixels=max_pixels)


def localize(
    pictures: str | Path | Iterable[str | Path],
    *,
    model: ModelLike,
    config: LocalizeConfig,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Path:
    """Localize picture files and folders of them, and write the result.

    Written are `localizations.jsonl`, a line a picture as it is finished; `bad_images.csv` where a picture could not be
    read; `drawings/` with `config.draw`, and `failed_drawings.csv` where a picture could not be drawn; and at the end
    each annotation format of `config.to`.

    Args:
        pictures: one picture file or folder, or several.
        model: as `load` takes it.
        on_progress: called after every picture with how many are done, of how many.
        on_note: called with messages for people, a line of text each.

    Returns:
        The absolute path of the output folder.

    Raises:
        TscamError: the model, a path of a picture, the name of a format or the output folder does not fit, and nothing
            is written; or the disk refuses, and what is finished stays.
    """
    for name in config.to:
        formats[name]
    paths = find_pictures(pictures, on_note=on_note)
    for name in config.to:
        require_writable_names([str(path) for path in paths], to=name)
    source = resolve(model) if isinstance(model, str | Path | ModelSource) else model
    localizer = load(
        source, method=config.method, method_args=config.method_args, device=config.device, precision=config.precision,
        batch_size=config.batch_size, workers=config.workers, max_pixels=config.max_pixels,
    )  # fmt: skip
    _stream(localizer, [], config)  # Settings that the model cannot meet are refused before anything is written.
    inputs = [*paths, source.path] if isinstance(source, ModelSource) else paths
    job = _job(config, localizer, paths)
    scaled_alone, scaled_first = 0, ""
    with (
        resumable_output(config.out, job, overwrite=config.overwrite, resume=config.resume, inputs=inputs) as out,
        LocalizationFolder(out, paths, with_drawings=config.draw) as folder,
    ):
        for localization in _remaining(localizer, paths, config, done=len(folder)):
            folder.add(localization)
            if localization.pixel_range is not None and localizer.predictor.input_format.pixel_range is None:
                scaled_alone += 1
                scaled_first = scaled_first or f"{localization.image} by {localization.pixel_range}"
            if on_progress is not None:
                on_progress(len(folder), len(paths))
        for name in config.to:
            write_annotations(folder.localizations, out, to=name, class_names=localizer.predictor.label_names)
    if scaled_alone:
        on_note(
            f"{scaled_alone} pictures of more than 8 bits are each scaled by the range of their own values, since the "
            f"model states none: the first, {scaled_first}"
        )
    return out


def _remaining(
    localizer: Localizer, paths: Sequence[Path], config: LocalizeConfig, *, done: int
) -> Iterator[Localization]:
    """Localize the pictures after the first ones that are done, in the batches that they are in without interruption.

    The other pictures of a batch decide the last bits of a prediction.
    """
    if done == len(paths):
        return
    start = done - done % config.batch_size
    yield from islice(_stream(localizer, paths[start:], config), done - start, None)


def _stream(localizer: Localizer, paths: Sequence[Path], config: LocalizeConfig) -> Iterator[Localization]:
    return localizer.stream(
        paths, top_k=config.top_k, threshold=config.threshold, objects=config.objects,
        min_objectness=config.min_objectness,
    )  # fmt: skip


def _job(config: LocalizeConfig, localizer: Localizer, paths: Sequence[Path]) -> Job:
    """Everything that decides the result."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(os.fsencode(path) + f"\0{byte_count(path)}\n".encode())
    settings = {
        "tscam": version("tscam"), "top_k": config.top_k, "threshold": config.threshold, "objects": config.objects,
        "min_objectness": config.min_objectness, "method": config.method, "method_args": dict(config.method_args),
        "to": config.to, "draw": config.draw, "batch_size": config.batch_size, "precision": config.precision,
        "max_pixels": config.max_pixels,
    }  # fmt: skip
    inputs = {"the model": localizer.predictor.fingerprint(), "the list of pictures": digest.hexdigest()}
    return Job(verb="localize", settings=settings, inputs=inputs)
