"""The card of a model folder, its `README.md`: a head of YAML that the hub reads, and a page for people.

Names of classes and of start weights come from data sets and files of anyone. None reaches the head but a well-formed
repository name, and none the page but inside a block of code.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tscam.errors import ConfigError

# In the commands of a card; the name of the model takes its place when it is published.
THIS_MODEL = "THIS_MODEL"

_SCORES = {"top1_cls": "Top-1 Cls", "top1_loc": "Top-1 Loc", "gt_known_loc": "GT-known Loc"}
# Data sets by their reader, as the hub calls them or, where it has no such one, as everyone does.
_DATASETS = {"cub": "CUB-200-2011", "imagenet": "ILSVRC/imagenet-1k"}
_HEAD = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)
_LABELS, _LABEL_LENGTH = 20, 60


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card says.

    Attributes:
        method, backbone: by name.
        label_names: of the classes.
        image_hw: height and width of the view, in pixels.
        threshold: fraction of a map's maximum above which is object.
        metrics: what the model reached: percentages, and how they were measured.
        base_model: repository of the start weights, such as `timm/deit_small_patch16_224.fb_in1k`, or empty.
    """

    method: str
    backbone: str
    label_names: Sequence[str]
    image_hw: tuple[int, int]
    threshold: float
    metrics: Mapping[str, object]
    base_model: str = ""

    def text(self) -> str:
        """The whole card."""
        height, width = self.image_hw
        return (
            f"---\n{_yaml(self._head())}---\n\n"
            f"# {_word(self.method)} on {_word(self.backbone)}\n\n"
            f"Finds objects of {len(self.label_names)} classes: a class, a box and a localization map for each. "
            f"Trained from image-level labels alone. View {height}×{width} pixels, threshold {self.threshold:g}.\n\n"
            f"{self._table()}"
            f"```bash\ntscam localize PICTURES --model {THIS_MODEL} --out DIR --draw\n```\n\n"
            "```python\nimport tscam\n\n"
            f'localizer = tscam.load("{THIS_MODEL}")\n'
            'found = localizer(["picture.jpg"])[0].objects[0]\n'
            "print(found.label, found.score, found.box)  # the box is x0, y0, x1, y1 in pixels of the picture\n```\n\n"
            f"Classes (all stand in `config.json`):\n\n```text\n{self._classes()}\n```\n\n"
            "Files: `model.safetensors` (tensors alone), `config.json`. Its license is that of the weights it started "
            "from and of the pictures it was trained on, unless the head of this card says another.\n"
        )

    def _head(self) -> dict[str, Any]:
        head: dict[str, Any] = {
            "library_name": "tscam",
            "pipeline_tag": "object-detection",
            "license": "other",
            "tags": ["weakly-supervised-object-localization", _word(self.method)],
        }
        if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", self.base_model, re.ASCII):
            head["base_model"] = self.base_model
        data = _DATASETS.get(str(self.metrics.get("dataset")))
        if data:
            head["datasets"] = [data]
        if self._scores():
            head["metrics"] = list(self._scores())
            result = {
                "task": {"type": "object-detection", "name": "Weakly supervised object localization"},
                "dataset": {
                    "type": data or "own",
                    "name": data or "pictures of one's own",
                    "split": _word(self.metrics.get("split")),
                },
                "metrics": [
                    {"type": name, "name": f"{_SCORES[name]} ({self._protocol()})", "value": value}
                    for name, value in self._scores().items()
                ],
            }
            head["model-index"] = [{"name": f"{_word(self.method)} on {_word(self.backbone)}", "results": [result]}]
        return head

    def _scores(self) -> dict[str, float]:
        held = {name: self.metrics.get(name) for name in _SCORES}
        return {name: round(float(value), 2) for name, value in held.items() if isinstance(value, int | float)}

    def _protocol(self) -> str:
        threshold = self.metrics.get("threshold")
        at = f", threshold {threshold:g}" if isinstance(threshold, int | float) else ""
        return f"protocol {_word(self.metrics.get('protocol'))}{at}"

    def _table(self) -> str:
        if not self._scores():
            return ""
        rows = "".join(f"| {_SCORES[name]} | {value:.1f} |\n" for name, value in self._scores().items())
        return (
            f"| % on split `{_word(self.metrics.get('split'))}` | {self._protocol()} |\n|---|---:|\n{rows}\n"
            f"Epoch chosen: `{_phrase(self.metrics.get('selection'))}`.\n\n"
        )

    def _classes(self) -> str:
        # A name as JSON is one line that begins with a quotation mark: it cannot end the block.
        shown = [json.dumps(name[:_LABEL_LENGTH], ensure_ascii=not name.isprintable()) for name in self.label_names]
        more = [f"… and {len(shown) - _LABELS} more"] if len(shown) > _LABELS else []
        return "\n".join([*shown[:_LABELS], *more])


def published_card(text: str, *, name: str, license: str | None = None) -> str:
    """A card with the model's name in its commands, and with a license where one is given; the rest stays as it is.

    Args:
        text: of the card, which may have been edited.
        name: what `tscam.load` takes.
        license: an identifier of the hub, such as `apache-2.0`.

    Raises:
        ConfigError: not an identifier, or the card has no head to put it into.
    """
    import yaml

    if license is not None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
            raise ConfigError(f"license {license!r}; expected an identifier such as apache-2.0, cc-by-nc-4.0 or other")
        found = _HEAD.match(text)
        try:
            head = yaml.safe_load(found[1]) if found else None
        except yaml.YAMLError:
            head = None
        if found is None or not isinstance(head, dict):
            raise ConfigError("README.md: no head of YAML between two lines `---`, so no license can be put into it")
        text = f"---\n{_yaml(head | {'license': license})}---\n{text[found.end() :]}"
    return text.replace(THIS_MODEL, name)


def _yaml(head: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True, width=1000)


def _word(value: object) -> str:
    """A name of ours; of what is none, the characters that cannot mean anything elsewhere."""
    return re.sub(r"[^\w.-]+", "-", str(value), flags=re.ASCII) if value else "unknown"


def _phrase(value: object) -> str:
    return re.sub(r"[^\w.,() '%=-]+", "-", str(value), flags=re.ASCII) if value else "unknown"
