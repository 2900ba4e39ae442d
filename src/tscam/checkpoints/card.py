"""The card of a model folder, its `README.md`: a head of YAML that the hub reads, and a page for people.

Class names and the names of start weights come from datasets and files of anyone. None reaches the head but a
well-formed repository name, and none the page but inside a block of code.
"""

import json
import re
from collections.abc import Mapping, Sequence

from tscam.errors import ConfigError

# In the commands of a card; the name of the model takes its place when it is published.
THIS_MODEL = "THIS_MODEL"

_SCORES = {"top1_cls": "Top-1 Cls", "top1_loc": "Top-1 Loc", "gt_known_loc": "GT-known Loc"}
# Datasets by their reader, named as on the hub, or by their common name where the hub has none.
_DATASETS = {"cub": "CUB-200-2011", "imagenet": "ILSVRC/imagenet-1k"}
_HEAD = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)
_SHOWN_CLASSES, _SHOWN_LENGTH = 20, 60


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
    height, width = image_hw
    return (
        f"---\n{_head(_word(method), _word(backbone), metrics, base_model)}\n---\n\n"
        f"# {_word(method)} on {_word(backbone)}\n\n"
        f"Finds objects of {len(label_names)} classes: a class, a box and a localization map for each. "
        f"Trained from image-level labels alone. View {height}×{width} pixels, threshold {threshold:g}.\n\n"
        f"{_table(metrics)}"
        f"```bash\ntscam localize PICTURES --model {THIS_MODEL} --out DIR --draw\n```\n\n"
        "```python\nimport tscam\n\n"
        f'localizer = tscam.load("{THIS_MODEL}")\n'
        'found = localizer(["picture.jpg"])[0].objects[0]\n'
        "print(found.label, found.score, found.box)  # the box is x0, y0, x1, y1 in pixels of the picture\n```\n\n"
        f"Classes (`config.json` lists all of them):\n\n```text\n{_classes(label_names)}\n```\n\n"
        "Files: `model.safetensors` (tensors alone), `config.json`. The license is the one of the start weights and "
        "of the training pictures, unless the head of this card states another.\n"
    )


def published_card(text: str, *, name: str, license: str | None = None) -> str:
    """Return a card with the model's name in its commands and, if given, a license; all else is left as it is.

    Args:
        text: the card, which may have been edited.
        name: what `tscam.load` takes.
        license: an identifier of the hub, such as `apache-2.0`.

    Raises:
        ConfigError: not an identifier, or the card has no head to put it into.
    """
    if license is not None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
            raise ConfigError(f"license {license!r}; expected an identifier such as apache-2.0, cc-by-nc-4.0 or other")
        text = _with_license(text, license)
    return text.replace(THIS_MODEL, name)


def _head(method: str, backbone: str, metrics: Mapping[str, object], base_model: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # here: a model that is only read need not wait for it

    dataset = _DATASETS.get(str(metrics.get("dataset")))
    results = [
        EvalResult(
            task_type="object-detection",
            task_name="Weakly supervised object localization",
            dataset_type=dataset or "own",
            dataset_name=dataset or "the publisher's own pictures",
            dataset_split=_word(metrics.get("split")),
            metric_type=name,
            metric_name=f"{_SCORES[name]} ({_protocol(metrics)})",
            metric_value=score,
        )
        for name, score in _scores(metrics).items()
    ]
    head = ModelCardData(
        library_name="tscam",
        pipeline_tag="object-detection",
        license="other",
        tags=["weakly-supervised-object-localization", method],
        base_model=base_model if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base_model, re.ASCII) else None,
        datasets=[dataset] if dataset else None,
        metrics=[result.metric_type for result in results] or None,
        model_name=f"{method} on {backbone}" if results else None,
        eval_results=results or None,
    )
    return head.to_yaml()


def _with_license(text: str, license: str) -> str:
    import yaml

    found = _HEAD.match(text)
    try:
        head = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        head = None
    if found is None or not isinstance(head, dict):
        raise ConfigError("README.md: no head of YAML between two lines `---`, so no license can be put into it")
    changed = yaml.safe_dump(head | {"license": license}, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{changed}---\n{text[found.end() :]}"


def _scores(metrics: Mapping[str, object]) -> dict[str, float]:
    stated = {name: metrics.get(name) for name in _SCORES}
    return {name: round(float(score), 2) for name, score in stated.items() if isinstance(score, int | float)}


def _protocol(metrics: Mapping[str, object]) -> str:
    threshold = metrics.get("threshold")
    suffix = f", threshold {threshold:g}" if isinstance(threshold, int | float) else ""
    return f"protocol {_word(metrics.get('protocol'))}{suffix}"


def _table(metrics: Mapping[str, object]) -> str:
    rows = "".join(f"| {_SCORES[name]} | {score:.1f} |\n" for name, score in _scores(metrics).items())
    if not rows:
        return ""
    return (
        f"| % on split `{_word(metrics.get('split'))}` | {_protocol(metrics)} |\n|---|---:|\n{rows}\n"
        f"Epoch chosen: `{_phrase(metrics.get('selection'))}`.\n\n"
    )


def _classes(names: Sequence[str]) -> str:
    # A name as JSON is one line that begins with a quotation mark: it cannot end the block.
    shown = [json.dumps(name[:_SHOWN_LENGTH], ensure_ascii=not name.isprintable()) for name in names[:_SHOWN_CLASSES]]
    more = [f"… and {len(names) - _SHOWN_CLASSES} more"] if len(names) > _SHOWN_CLASSES else []
    return "\n".join(shown + more)


def _word(value: object) -> str:
    """Return a name of this package as it is, and any other text without characters that have a meaning elsewhere."""
    return re.sub(r"[^\w.-]+", "-", str(value), flags=re.ASCII) if value else "unknown"


def _phrase(value: object) -> str:
    return re.sub(r"[^\w.,() '%=-]+", "-", str(value), flags=re.ASCII) if value else "unknown"
