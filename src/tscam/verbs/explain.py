"""One picture → pages that show what a model sees in it."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from tscam.checkpoints.source import ModelSource, resolve
from tscam.decoding import MAX_PIXELS
from tscam.explainer import Explainer
from tscam.image import Picture
from tscam.localizer import Label
from tscam.model import LocalizationModel
from tscam.predictors import ModelLike
from tscam.system.output_folder import claimed_output
from tscam.system.writing import write_bytes_atomically

_SIDE = 960  # Longer side of a panel in a file, in pixels.
_DPI = 300  # Four panels side by side are as wide as a page and a half.


def explain(
    picture: Picture,
    *,
    model: ModelLike,
    out: str | Path,
    label: Label | None = None,
    methods: Sequence[str] = (),
    threshold: float | None = None,
    device: str | None = None,
    max_pixels: int = MAX_PIXELS,
    overwrite: bool = False,
    on_note: Callable[[str], None] = lambda _: None,
) -> Path:
    """Draw what a model sees in a picture, as pages in a folder.

    `layers.png`: the attention map of each layer, their sum, and the rollout. `coupling.png`: semantic map, attention
    map, and the map of the model's own method with its box. `classes.png`: the map and box of each of the five most
    likely classes. `methods.png`: the map and box of each method for one class. Every map is scaled by itself, from
    its lowest value to its highest. A page that a backbone without a class token cannot fill is left out.

    Args:
        picture, label: as `Explainer` takes them when it is called.
        model, methods, threshold, device, max_pixels: as `Explainer` takes them.
        out: folder of the result, new.
        overwrite: replace the content of `out`.
        on_note: called with messages for people, a line of text each.

    Returns:
        The absolute path of the output folder.

    Raises:
        TscamError: the picture, model, label, a method or the output folder does not fit; nothing is written then.
    """
    opened = model if isinstance(model, LocalizationModel) else resolve(model)
    explainer = Explainer(opened, methods=methods, threshold=threshold, device=device, max_pixels=max_pixels)
    explanation = explainer(picture, label=label)
    if explanation.pixel_range is not None and not explainer.has_pixel_range:
        on_note(
            "the picture has more than 8 bits, and the model states no range of values: those from "
            f"{explanation.pixel_range} are black to white"
        )
    inputs = [Path(picture)] if isinstance(picture, str | Path) else []
    inputs += [opened.path] if isinstance(opened, ModelSource) else []
    with claimed_output(Path(out), overwrite=overwrite, inputs=inputs) as folder:
        for page in explanation.pages():
            encoded = io.BytesIO()
            explanation.draw(page, side=_SIDE).save(encoded, "PNG", dpi=(_DPI, _DPI))
            write_bytes_atomically(folder / f"{page}.png", encoded.getvalue())
    return folder
