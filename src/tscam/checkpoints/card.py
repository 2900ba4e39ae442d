"""The card of a model folder, its `README.md`: a head of YAML that the hub reads, and a page for people.

Class names and the names of start weights come from datasets and files of anyone. None reaches the head but a
well-formed repository name, and none the page but inside a block of code.
"""

import json
import re
from collections.abc import Mapping, Sequence

from tscam.errors import ConfigError, quoted

# Stands in the commands of a card until the model is published under a name.
THIS_MODEL = "THIS_MODEL"

_SCORES = {"top1_cls": "Top-1 Cls", "top1_loc": "Top-1 Loc", "gt_known_loc": "GT-known Loc"}
# Datasets by their reader, named as on the hub, or by their common name where the hub has none.
_DATASETS = {"cub": "CUB-200-2011", "imagenet": "ILSVRC/imagenet-1k"}


def model_card(
    *,
    method: str,
    backbone: str,
    label_names: Sequence[str],
    image_hw: tuple[int, int],
    threshold: float,
    metrics: Mapping[str, object],
    base_model: str = "",
) -> str:
    """Return the text of a card.

    Args:
        method, backbone: names in their registries.
        label_names: names of the classes.
        image_hw: height and width of the view, in pixels.
        threshold: fraction of a map's maximum above which is object.
        metrics: scores in percent, and how they were measured.
        base_model: repository of the start weights, such as `timm/deit_small_patch16_224.fb_in1k`, or empty.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # here: reading a model need not wait for it

    stated = {name: metrics.get(name) for name in _SCORES}
    scores = {name: round(float(score), 2) for name, score in stated.items() if isinstance(score, int | float)}
    measured_at = metrics.get("threshold")
    suffix = f", threshold {measured_at:g}" if isinstance(measured_at, int | float) else ""
    title, split = f"{_plain(method)} on {_plain(backbone)}", _plain(metrics.get("split"))
    protocol = f"protocol {_plain(metrics.get('protocol'))}{suffix}"
    templates = Environment(
        loader=PackageLoader("tscam.checkpoints"), undefined=StrictUndefined, keep_trailing_newline=True,
        trim_blocks=True, autoescape=False,  # Markdown: every text is plain or quoted.
    )  # fmt: skip
    return templates.get_template("card.md").render(
        head=_head(
            title, scores, method=_plain(method), base_model=base_model, split=split, protocol=protocol,
            dataset=_DATASETS.get(str(metrics.get("dataset"))),
        ),
        title=title, label_names=label_names, height=image_hw[0], width=image_hw[1], threshold=f"{threshold:g}",
        scores={_SCORES[name]: score for name, score in scores.items()}, split=split, protocol=protocol,
        selection=_plain(metrics.get("selection"), also=",() '%="), model=THIS_MODEL, quote=_quoted,
    )  # fmt: skip


def published_card(text: str, *, name: str, license: str | None = None) -> str:
    """Return a card with the model's name in its commands and, if given, a license; all else is left as it is.

    Args:
        text: the card, which may have been edited.
        name: what `tscam.load` takes.
        license: an identifier of the hub, such as `apache-2.0`.

    Raises:
        ConfigError: not an identifier, or the card has no head to put it into.
    """
    import yaml

    if license is not None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
            raise ConfigError(
                f"license {quoted(license)}; expected an identifier such as apache-2.0, cc-by-nc-4.0 or other"
            )
        match = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
        try:
            stated = yaml.safe_load(match[1]) if match else None
        except yaml.YAMLError:
            stated = None
        if match is None or not isinstance(stated, dict):
            raise ConfigError("README.md: no head of YAML between two lines `---`, so no license can be put into it")
        changed = yaml.safe_dump(stated | {"license": license}, sort_keys=False, allow_unicode=True, width=1000)
        text = f"---\n{changed}---\n{text[match.end() :]}"
    return text.replace(THIS_MODEL, name)


def _head(
    title: str,
    scores: Mapping[str, float],
    *,
    method: str,
    base_model: str,
    split: str,
    protocol: str,
    dataset: str | None,
) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # here: it takes a third of a second

    results = [
        EvalResult(
            task_type="object-detection", task_name="Weakly supervised object localization",
            dataset_type=dataset or "own", dataset_name=dataset or "the publisher's own pictures", dataset_split=split,
            metric_type=name, metric_name=f"{_SCORES[name]} ({protocol})", metric_value=score,
        )
        for name, score in scores.items()
    ]  # fmt: skip
    return ModelCardData(
        library_name="tscam",
        pipeline_tag="object-detection",
        license="other",
        tags=["weakly-supervised-object-localization", method],
        base_model=base_model if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base_model, re.ASCII) else None,
        datasets=[dataset] if dataset else None,
        metrics=list(scores) or None,
        model_name=title if results else None,
        eval_results=results or None,
    ).to_yaml()


def _plain(value: object, *, also: str = "") -> str:
    """Return a text without characters that have a meaning in YAML or Markdown; a name of this package is unchanged."""
    return re.sub(rf"[^\w.{re.escape(also)}-]+", "-", str(value), flags=re.ASCII) if value else "unknown"


def _quoted(name: str) -> str:
    """Return a name as JSON: one line that begins with a quotation mark, so it cannot end a block of code."""
    return json.dumps(name[:60], ensure_ascii=not name.isprintable())
