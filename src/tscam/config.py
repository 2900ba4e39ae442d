"""Settings of the verbs: one frozen dataclass a verb, the one source of its flags, its recipe and what a run keeps.

A recipe is a YAML file of `TrainConfig` fields; those the package brings are found by name. Imports no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tscam.errors import ConfigError, did_you_mean, one_line

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of `tscam train`. The values here are those of the original's CUB run; a recipe gives its own.

    Attributes:
        data: folder of the data set.
        out: folder of the run, new.
        dataset: reader of the data set; looked at when not given.
        backbone: as `tscam list backbones` shows.
        backbone_args: changes to the backbone's architecture, as JSON: '{"depth": 6}'.
        method: as `tscam list methods` shows.
        weights: start weights: `pretrained` (timm's hub), `none`, or a file.
        image_size: side of the view, in pixels.
        resize_size: side of the square that training crops are taken from, in pixels.
        epochs: passes over the training pictures.
        batch_size: pictures a step.
        learning_rate: of AdamW.
        head_learning_rate: of the method's own weights, where it differs.
        learning_rate_steps: the rate falls to a tenth at the start of every epoch that is a multiple of one of these.
        weight_decay: of all weights but biases, norms, class token and position embeddings.
        drop_path: rate of stochastic depth.
        seed: of weights, order and augmentation.
        precision: of the matrix products.
        device: as PyTorch names it; the GPU where there is one.
        workers: processes that read pictures.
        overwrite: replace what is in `out`.
    """

    data: Path
    out: Path
    dataset: str | None = None
    backbone: str = "deit_small_patch16_224"
    # The command line takes the first type that fits, and would cut 0.01 to a whole number.
    backbone_args: Mapping[str, float | int | bool | str] = field(default_factory=dict)
    method: str = "ts-cam"
    weights: str = "pretrained"
    image_size: int = 224
    resize_size: int = 256
    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 5e-5
    head_learning_rate: float | None = None
    learning_rate_steps: tuple[int, ...] = (30,)
    weight_decay: float = 0.05
    drop_path: float = 0.1
    seed: int = 26
    precision: Precision = "fp32"
    device: str | None = None
    workers: int = 2
    overwrite: bool = False

    def __post_init__(self) -> None:
        whole = {key: int(value) for key, value in self.backbone_args.items() if _is_whole(value)}
        object.__setattr__(self, "backbone_args", {**self.backbone_args, **whole})
        for name in ("image_size", "epochs", "batch_size", "learning_rate"):
            _require(0 < getattr(self, name) < math.inf, f"{name} {getattr(self, name)}; expected more than 0")
        _require(
            self.resize_size >= self.image_size,
            f"resize_size {self.resize_size} is below image_size {self.image_size}; crops are taken from the former",
        )
        _require(
            all(step > 0 for step in self.learning_rate_steps),
            f"learning_rate_steps {self.learning_rate_steps}; expected epochs from 1",
        )
        _require(0 <= self.drop_path < 1, f"drop_path {self.drop_path}; expected from 0 to below 1")
        _require(self.weight_decay >= 0, f"weight_decay {self.weight_decay}; expected 0 or more")
        _require(self.workers >= 0, f"workers {self.workers}; expected 0 or more")
        head = self.head_learning_rate
        _require(head is None or 0 < head < math.inf, f"head_learning_rate {head}; expected more than 0")
        _require(0 <= self.seed < 2**32, f"seed {self.seed}; expected 0 to {2**32 - 1}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Settings of `tscam evaluate`.

    Attributes:
        data: folder of the data set.
        out: folder of the result, new.
        dataset: reader of the data set; looked at when not given.
        split: part of the data set; its test split when not given.
        method: reads the maps by another method than the model's own: `cam`, `attention`, …
        threshold: fraction of the map's maximum above which is object; the data set's published one when not given.
        batch_size: pictures at once.
        precision: of the matrix products.
        device: as PyTorch names it; the GPU where there is one.
        workers: threads that read pictures.
        overwrite: replace what is in `out`.
    """

    data: Path
    out: Path
    dataset: str | None = None
    split: str | None = None
    method: str | None = None
    threshold: float | None = None
    batch_size: int = 32
    precision: Precision = "fp32"
    device: str | None = None
    workers: int = 2
    overwrite: bool = False

    def __post_init__(self) -> None:
        require_threshold(self.threshold)
        _require(self.batch_size > 0, f"batch_size {self.batch_size}; expected more than 0")
        _require(self.workers >= 0, f"workers {self.workers}; expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class LocalizeConfig:
    """Settings of `tscam localize`.

    Attributes:
        out: folder of the result, new.
        top_k: objects a picture: its most likely classes.
        threshold: fraction of the map's maximum above which is object; the model's own when not given.
        method: reads the maps by another method than the model's own.
        to: annotation formats to write beside `localizations.jsonl`.
        draw: also draw every picture with its maps and boxes.
        batch_size: pictures at once.
        precision: of the matrix products.
        device: as PyTorch names it; the GPU where there is one.
        workers: threads that read pictures.
        overwrite: replace what is in `out`.
    """

    out: Path
    top_k: int = 1
    threshold: float | None = None
    method: str | None = None
    to: tuple[str, ...] = ()
    draw: bool = False
    batch_size: int = 16
    precision: Precision = "fp32"
    device: str | None = None
    workers: int = 2
    overwrite: bool = False

    def __post_init__(self) -> None:
        require_threshold(self.threshold)
        _require(self.top_k > 0, f"top_k {self.top_k}; expected 1 or more")
        _require(self.batch_size > 0, f"batch_size {self.batch_size}; expected more than 0")
        _require(self.workers >= 0, f"workers {self.workers}; expected 0 or more")


def require_threshold(threshold: float | None) -> None:
    """Refuses a threshold that is not a fraction.

    Raises:
        ConfigError: outside (0, 1).
    """
    if threshold is not None and not 0 < threshold < 1:
        raise ConfigError(f"threshold {threshold:g}; expected a fraction of the map's maximum, between 0 and 1")


@cache
def list_recipes() -> tuple[str, ...]:
    """The names of the recipes that the package brings, such as `cub/deit-small`."""
    folder = files("tscam") / "recipes"
    return tuple(
        sorted(f"{group.name}/{file.name.removesuffix('.yaml')}" for group in folder.iterdir() if group.is_dir()
               for file in group.iterdir() if file.name.endswith(".yaml"))
    )  # fmt: skip


def read_recipe(recipe: str) -> dict[str, object]:
    """The settings of a recipe: one of the package's, by name, or a YAML file of one's own.

    Raises:
        ConfigError: no such recipe, not YAML, or a key or value that `TrainConfig` does not know.
    """
    if recipe in list_recipes():
        text = (files("tscam") / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8")
    elif Path(recipe).is_file():
        text = Path(recipe).read_text(encoding="utf-8", errors="replace")
    else:
        hint = did_you_mean(recipe, list_recipes()) or ";"
        raise ConfigError(f"no recipe {recipe!r}{hint} give a YAML file or one of {', '.join(list_recipes())}")
    import yaml  # here, so that `--help` does not wait for it

    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise ConfigError(f"{recipe}: not YAML ({one_line(fault)})") from fault
    if not isinstance(settings, dict):
        raise ConfigError(f"{recipe}: not a recipe; expected lines of the form `epochs: 60`")
    return {str(key): _setting(str(key), value, source=recipe) for key, value in settings.items()}


def train_config(recipe: str, **changes: object) -> TrainConfig:
    """The settings of a recipe with the given changes; `data` and `out` among them unless the recipe has them.

    Raises:
        ConfigError: as `read_recipe`; a setting that neither gives, or one with a value that is not allowed.
    """
    settings = read_recipe(recipe) | {key: _setting(key, value, source="train") for key, value in changes.items()}
    lacking = {"data", "out"} - settings.keys()
    if lacking:
        raise ConfigError(f"{recipe}: lacks {', '.join(sorted(lacking))}; give them in the recipe or beside it")
    return TrainConfig(**settings)  # type: ignore[arg-type]  # each was converted to its field's type


def to_yaml(config: TrainConfig) -> str:
    """All settings as a recipe that gives the same run again."""
    import yaml

    plain = {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
    }
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def _setting(key: str, value: object, *, source: str) -> object:
    kinds = get_type_hints(TrainConfig)
    if key not in kinds:
        hint = did_you_mean(key, kinds) or ";"
        raise ConfigError(f"{source}: no setting {key!r}{hint} there are {', '.join(kinds)}")
    try:
        return _converted(value, kinds[key])
    except (TypeError, ValueError):
        raise ConfigError(f"{source}: {key} is {value!r}; expected {_kind_name(kinds[key])}") from None


def _kind_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _converted(value: object, kind: Any) -> object:
    """A YAML value as the type of its field; ValueError or TypeError where it is of another."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Union or origin is UnionType:
        return None if value is None else _converted(value, next(part for part in parts if part is not NoneType))
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_converted(item, parts[0]) for item in value)
    if origin is Mapping and isinstance(value, Mapping):
        return dict(value)
    if origin is Literal and value in parts:
        return value
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        return float(value)  # YAML reads 5e-5, which has no point, as text
    if type(value) is kind:
        return value
    raise TypeError


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConfigError(otherwise)
