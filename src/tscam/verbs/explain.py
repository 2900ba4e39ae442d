"""One picture → pages that show what a model sees in it."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tscam.checkpoints.source import ModelSource, resolve
from tscam.errors import OutputError, one_line
from tscam.explainer import Explainer
from tscam.image import Picture
from tscam.localizer import Label
from tscam.model import LocalizationModel
from tscam.predictors import ModelLike
from tscam.system.writing import claim_output

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
    overwrite: bool = False,
) -> Path:
    """Draw what a model sees in a picture, as pages in a folder.

    `layers.png`: the attention map of each layer, their sum, and the rollout. `coupling.png`: semantic map, attention
    map, and the map of the model's own method with its box. `classes.png`: the map and box of each of the five most
    likely classes. `methods.png`: the map and box of each method for one class. Every map is scaled by itself, from
    its lowest value to its highest. A page that a backbone without a class token cannot fill is left out.

    Args:
        picture, label: as `Explainer` takes them when it is called.
        model, methods, threshold, device: as `Explainer` takes them.
        out: folder of the result, new.
        overwrite: replace the content of `out`.

    Returns:
        The absolute path of the output folder.

    Raises:
        TscamError: the picture, model, label, a method or the output folder does not fit; nothing is written then.
    """
    opened = model if isinstance(model, LocalizationModel) else resolve(model)
    explainer = Explainer(opened, methods=methods, threshold=threshold, device=device)
    explanation = explainer(picture, label=label)
    inputs = [Path(picture)] if isinstance(picture, str | Path) else []
    inputs += [opened.path] if isinstance(opened, ModelSource) else []
    folder = claim_output(Path(out), overwrite=overwrite, inputs=inputs)
    for page in explanation.pages():
        _write(folder / f"{page}.png", explanation.draw(page, side=_SIDE))
    return folder


def _write(path: Path, page: Image.Image) -> None:
    try:
        page.save(path, dpi=(_DPI, _DPI))
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written ({one_line(fault)}); free space there") from fault
