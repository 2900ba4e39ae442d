"""Pictures → `localizations.jsonl` and the files beside it; and `load`, the way to a localizer in Python."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from tscam.checkpoints.source import ModelSource, resolve
from tscam.config import LocalizeConfig
from tscam.drawing import draw
from tscam.errors import OutputError, one_line
from tscam.formats import formats, write_annotations
from tscam.localization import Localization, read_localizations
from tscam.localizer import Localizer, find_pictures
from tscam.predictors import ModelLike, open_predictor
from tscam.registry import MethodArgs
from tscam.system.loading import Progress
from tscam.system.resources import Precision
from tscam.system.writing import claim_output, write_csv


def load(
    model: ModelLike,
    *,
    method: str | None = None,
    method_args: MethodArgs | None = None,
    device: str | None = None,
    precision: Precision = "fp32",
    batch_size: int = 16,
    workers: int = 2,
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

    Raises:
        WeightsError: the model cannot be read.
        ConfigError: no such method, option or device.
    """
    predictor = open_predictor(model, method=method, method_args=method_args, device=device, precision=precision)
    return Localizer(predictor, batch_size=batch_size, workers=workers)


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
    read; each annotation format of `config.to`; and `drawings/` with `config.draw`.

    Args:
        pictures: one picture file or folder, or several.
        model: as `load` takes it.
        on_note: called with messages for people, a line of text each.

    Returns:
        The absolute path of the output folder.

    Raises:
        TscamError: the model, a path of a picture, the name of a format or the output folder does not fit; nothing is
            written then.
    """
    for name in config.to:
        formats[name]
    paths = find_pictures(pictures, on_note=on_note)
    source = resolve(model) if isinstance(model, str | Path | ModelSource) else model
    localizer = load(
        source, method=config.method, method_args=config.method_args, device=config.device, precision=config.precision,
        batch_size=config.batch_size, workers=config.workers,
    )  # fmt: skip
    inputs = [*paths, source.path] if isinstance(source, ModelSource) else paths
    out = claim_output(config.out, overwrite=config.overwrite, inputs=inputs)
    lines = out / "localizations.jsonl"
    bad: list[tuple[str, str]] = []
    try:
        with lines.open("w", encoding="utf-8") as file:
            localizations = localizer.stream(paths, top_k=config.top_k, threshold=config.threshold)
            for number, localization in enumerate(localizations, start=1):
                file.write(localization.to_json() + "\n")
                if localization.status == "bad_image":
                    bad.append((localization.image, localization.reason))
                elif config.draw:
                    _draw(localization, out / "drawings", number=number)
                if on_progress is not None:
                    on_progress(number, len(paths))
    except OSError as fault:
        raise OutputError(f"{out}: cannot be written ({one_line(fault)}); what is finished stays there") from fault
    if bad:
        write_csv(out / "bad_images.csv", ["image", "reason"], bad)
    for name in config.to:
        write_annotations(read_localizations(lines), out, to=name, class_names=localizer.predictor.label_names)
    return out


def _draw(localization: Localization, folder: Path, *, number: int) -> None:
    # Safe in any shell and file system; a name may take 255 bytes, not as many characters.
    safe = re.sub(r"[\x00-\x1f\x7f<>:\"'`$/\\|?*=]+", "_", Path(localization.image).stem)
    stem = os.fsencode(safe)[:80].decode(errors="ignore")
    folder.mkdir(exist_ok=True)
    draw(localization).save(folder / f"{number:06d}-{stem}.jpg", quality=92)
