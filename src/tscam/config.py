"""Settings of the verbs: one frozen dataclass a verb, the only source of its flags, its recipes and a run's settings.

The descriptions of the attributes are the help of the flags.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tscam.bounds import require_architecture, require_at_most, require_options, require_short, view_hw
from tscam.decoding import MAX_PIXELS
from tscam.errors import ConfigError, quoted
from tscam.registry import MethodArgs
from tscam.system.resources import Precision

Selection = Literal["val", "last", "oracle"]

# Settings of training that do not change the result: paths, and the speed of the computation.
CHANGEABLE_ON_RESUME = frozenset(
    {
        "data", "out", "overwrite", "device", "devices", "processes", "workers", "cache", "accumulate", "auto_batch",
        "save_minutes", "samples_every", "tracker", "max_pixels",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of `tscam train`. The defaults are those of the original's CUB run; a recipe sets its own.

    Attributes:
        data: folder of the dataset.
        out: folder of the run; it must be new or empty.
        dataset: name of the dataset reader; detected from the folder by default.
        backbone: name of the backbone; `tscam list backbones` shows them.
        backbone_args: changes to the backbone's architecture, as JSON: '{"depth": 6}'.
        method: name of the method; `tscam list methods` shows them.
        method_args: options of the method, as JSON: '{"layers": [8, 9, 10, 11]}'.
        weights: initial weights: `pretrained` (from timm's hub), `none` (random), or a file.
        freeze_backbone: train only the method's own weights.
        freeze_blocks: first blocks to freeze, together with the embedding; 0 trains all.
        image_size: side of the view, in pixels; or its height and width, such as 48x96.
        resize_size: side of the square that training crops are taken from, in pixels; with a view that is not square,
            the longer side, and the pictures have the view's proportions.
        rand_augment: magnitude of RandAugment, 1 to 30. Off by default.
        label_smoothing: share of the target that is spread over all classes.
        epochs: passes over the training pictures.
        batch_size: pictures a step, over all processes.
        accumulate: parts that each process computes its share of a step in, to save memory.
        auto_batch: compute each step in more parts when memory runs out.
        learning_rate: learning rate of AdamW.
        head_learning_rate: learning rate of the method's own weights; the backbone's by default.
        schedule: schedule of the learning rate: `steps`, or `cosine` down to zero.
        learning_rate_steps: for `steps`: divide the rate by ten at every epoch that is a multiple of one of these.
        warmup_epochs: epochs in which the learning rate rises from zero.
        layer_decay: ratio of each block's learning rate to that of the next block.
        weight_decay: weight decay of all weights except biases, norms, class token and position embeddings.
        clip_norm: largest norm of the gradient. Off by default.
        drop_path: rate of stochastic depth.
        ema: decay of an exponential moving average of the weights; the averaged weights are evaluated and saved. Off by
            default.
        select: choice of the best epoch: best on a held-out part of the training split (`val`), `last`, or best on the
            test split (`oracle`).
        val_fraction: fraction of each class's training pictures that is held out for `val`, if the dataset has no such
            split.
        seed: seed of weights, order and augmentation.
        precision: precision of the matrix products.
        compile: compile the network; slow to start.
        device: device by PyTorch's name; a GPU by default, if there is one.
        devices: GPUs to train on, one process each: 0,1.
        processes: processes to train with; they take the GPUs in turn, or the CPU.
        workers: processes that read pictures, for each training process.
        max_pixels: pixels of the largest picture that is read.
        cache: `ram` keeps the resized training pictures in memory.
        fast_decode: decode JPEGs at a smaller size if it suffices; pixels differ slightly from the exact ones.
        save_minutes: minutes between saved states, beside the state of every epoch.
        samples_every: epochs between sheets of sample pictures; 0 draws none.
        tracker: tracker of the metrics: tensorboard, wandb, trackio or mlflow. Off by default.
        overwrite: replace the content of `out`.
    """

    data: Path
    out: Path
    dataset: str | None = None
    backbone: str = "deit_small_patch16_224"
    # The command line takes the first type that fits, and would cut 0.01 to a whole number.
    backbone_args: Mapping[str, float | int | bool | str] = field(default_factory=dict)
    method: str = "ts-cam"
    method_args: MethodArgs = field(default_factory=dict)
    weights: str = "pretrained"
    freeze_backbone: bool = False
    freeze_blocks: int = 0
    image_size: int | str = 224
    resize_size: int = 256
    rand_augment: int | None = None
    label_smoothing: float = 0.0
    epochs: int = 60
    batch_size: int = 128
    accumulate: int = 1
    auto_batch: bool = False
    learning_rate: float = 5e-5
    head_learning_rate: float | None = None
    schedule: Literal["steps", "cosine"] = "steps"
    learning_rate_steps: tuple[int, ...] = (30,)
    warmup_epochs: int = 0
    layer_decay: float = 1.0
    weight_decay: float = 0.05
    clip_norm: float | None = None
    drop_path: float = 0.1
    ema: float | None = None
    select: Selection = "val"
    val_fraction: float = 0.1
    seed: int = 26
    precision: Precision = "fp32"
    compile: bool = False
    device: str | None = None
    devices: str | None = None
    processes: int = 1
    workers: int = 2
    max_pixels: int = MAX_PIXELS
    cache: Literal["none", "ram"] = "none"
    fast_decode: bool = False
    save_minutes: float = 10.0
    samples_every: int = 5
    tracker: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        require_short(self)
        require_options(self.method_args)
        integers = {key: int(value) for key, value in self.backbone_args.items() if _is_integer(value)}
        object.__setattr__(self, "backbone_args", {**self.backbone_args, **integers})
        require_architecture(self.backbone_args)
        height, width = self.image_hw
        object.__setattr__(self, "image_size", height if height == width else f"{height}x{width}")
        self._require_bounds()
        self._require_consistency()

    def _require_bounds(self) -> None:
        for name in (
            "epochs", "batch_size", "accumulate", "learning_rate", "processes", "save_minutes", "max_pixels",
        ):  # fmt: skip
            _require(0 < getattr(self, name) < math.inf, f"{name} {getattr(self, name)}; expected more than 0")
        for name in ("head_learning_rate", "clip_norm"):
            value = getattr(self, name)
            _require(value is None or 0 < value < math.inf, f"{name} {value}; expected more than 0")
        for name in ("weight_decay", "workers", "freeze_blocks", "warmup_epochs", "samples_every"):
            _require(getattr(self, name) >= 0, f"{name} {getattr(self, name)}; expected 0 or more")
        for name in ("drop_path", "label_smoothing"):
            _require(0 <= getattr(self, name) < 1, f"{name} {getattr(self, name)}; expected from 0 to below 1")
        _require(0 < self.val_fraction < 1, f"val_fraction {self.val_fraction}; expected between 0 and 1")
        _require(0 < self.layer_decay <= 1, f"layer_decay {self.layer_decay}; expected above 0, and 1 at most")
        _require(self.ema is None or 0 < self.ema < 1, f"ema {self.ema}; expected between 0 and 1")
        magnitude = self.rand_augment
        _require(magnitude is None or 1 <= magnitude <= 30, f"rand_augment {magnitude}; expected 1 to 30")
        require_at_most(self)
        _require(0 <= self.seed < 2**32, f"seed {self.seed}; expected 0 to {2**32 - 1}")

    def _require_consistency(self) -> None:
        _require(
            self.resize_size >= max(self.image_hw),
            f"resize_size {self.resize_size} is below image_size {self.image_size}; crops are taken from the former",
        )
        _require(
            all(step > 0 for step in self.learning_rate_steps),
            f"learning_rate_steps {quoted(list(self.learning_rate_steps))}; expected epochs from 1",
        )
        _require(
            self.warmup_epochs < self.epochs,
            f"warmup_epochs {self.warmup_epochs}; expected fewer than epochs, {self.epochs}",
        )
        numbers = [] if self.devices is None else self.devices.split(",")
        _require(
            all(number.isascii() and number.isdigit() for number in numbers) and len({*numbers}) == len(numbers),
            f"devices {quoted(self.devices)}; expected different GPUs by number, such as 0,1",
        )
        _require(
            not numbers or (self.device is None and self.processes in (1, len(numbers))),
            f"devices {self.devices} beside device {self.device} and processes {self.processes}; give one of them",
        )

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of the view, in pixels."""
        return view_hw(self.image_size, name="image_size")

    @property
    def gpus(self) -> tuple[int, ...]:
        """Numbers of the GPUs to train on; empty if they are not chosen."""
        return () if self.devices is None else tuple(int(number) for number in self.devices.split(","))

    @property
    def process_count(self) -> int:
        """Number of processes to train with."""
        return len(self.gpus) or self.processes


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Settings of `tscam evaluate`.

    Attributes:
        data: folder of the dataset.
        out: folder of the result; it must be new or empty.
        dataset: name of the dataset reader; detected from the folder by default.
        split: part of the dataset to score; the test split by default.
        method: method to read the maps by, if not the model's own: `cam`, `attention`, …
        method_args: options of the method, as JSON: '{"relu": true}'.
        maps: folder of saved localization maps (.npy) to score in place of a model's.
        protocol: protocols to score under, all in one pass: ts-cam, max-box-acc, max-box-acc-v2, pxap, realistic.
        threshold: fraction of the map's maximum above which is object, or how it is chosen: `model` (its own), `val` or
            `pseudo` (best on held-out pictures, with true or pseudo boxes), `otsu` or `percentile:80` (of each map),
            `oracle` (best on the scored pictures); each protocol's own choice by default.
        allow_missing: count pictures without a map or mask, and those that cannot be read, as wrong; by default they
            are refused.
        save_maps: write the maps and the metadata that wsolevaluation reads.
        batch_size: pictures that are computed together.
        precision: precision of the matrix products.
        device: device by PyTorch's name; a GPU by default, if there is one.
        workers: threads that read pictures, and processes that judge many of them.
        max_pixels: pixels of the largest picture that is read.
        overwrite: replace the content of `out`.
        resume: go on with an interrupted run in `out`, given the same data, model and settings.
    """

    data: Path
    out: Path
    dataset: str | None = None
    split: str | None = None
    method: str | None = None
    method_args: MethodArgs = field(default_factory=dict)
    maps: Path | None = None
    protocol: tuple[str, ...] = ("ts-cam",)
    threshold: float | str | None = None
    allow_missing: bool = False
    save_maps: bool = False
    batch_size: int = 32
    precision: Precision = "fp32"
    device: str | None = None
    workers: int = 2
    max_pixels: int = MAX_PIXELS
    overwrite: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        require_short(self)
        require_options(self.method_args)
        _require_one_start(resume=self.resume, overwrite=self.overwrite)
        if isinstance(self.threshold, float):
            _require_threshold(self.threshold)
        _require(len(self.protocol) > 0, "protocol: none; expected one or more, such as ts-cam max-box-acc-v2")
        _require(self.batch_size > 0, f"batch_size {self.batch_size}; expected more than 0")
        _require(self.workers >= 0, f"workers {self.workers}; expected 0 or more")
        _require(self.max_pixels > 0, f"max_pixels {self.max_pixels}; expected more than 0")
        require_at_most(self)


@dataclass(frozen=True, kw_only=True)
class LocalizeConfig:
    """Settings of `tscam localize`.

    Attributes:
        out: folder of the result; it must be new or empty.
        top_k: classes a picture whose objects are localized, the most likely ones.
        threshold: fraction of the map's maximum above which is object; the model's own by default.
        objects: objects a class: the largest region (`one`), or all large ones (`parts`); objects that touch stay one.
        min_objectness: pictures whose objectness is lower have no object; only for models that tell objectness.
        method: method to read the maps by, if not the model's own.
        method_args: options of the method, as JSON: '{"relu": true}'.
        to: annotation formats to write beside `localizations.jsonl`.
        draw: draw every picture with its maps and boxes.
        batch_size: pictures that are computed together.
        precision: precision of the matrix products.
        device: device by PyTorch's name; a GPU by default, if there is one.
        workers: threads that read pictures.
        max_pixels: pixels of the largest picture that is read.
        overwrite: replace the content of `out`.
        resume: go on with an interrupted run in `out`, given the same pictures, model and settings.
    """

    out: Path
    top_k: int = 1
    threshold: float | None = None
    objects: Literal["one", "parts"] = "one"
    min_objectness: float | None = None
    method: str | None = None
    method_args: MethodArgs = field(default_factory=dict)
    to: tuple[str, ...] = ()
    draw: bool = False
    batch_size: int = 16
    precision: Precision = "fp32"
    device: str | None = None
    workers: int = 2
    max_pixels: int = MAX_PIXELS
    overwrite: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        require_short(self)
        require_options(self.method_args)
        _require_one_start(resume=self.resume, overwrite=self.overwrite)
        _require_threshold(self.threshold)
        _require(
            self.min_objectness is None or 0 < self.min_objectness < 1,
            f"min_objectness {self.min_objectness}; expected a probability between 0 and 1",
        )
        _require(self.top_k > 0, f"top_k {self.top_k}; expected 1 or more")
        _require(self.batch_size > 0, f"batch_size {self.batch_size}; expected more than 0")
        _require(self.workers >= 0, f"workers {self.workers}; expected 0 or more")
        _require(self.max_pixels > 0, f"max_pixels {self.max_pixels}; expected more than 0")
        require_at_most(self)


@dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """Settings of `tscam explain`.

    Attributes:
        out: folder of the result; it must be new or empty.
        label: name of the class to explain; the most likely one by default.
        methods: names of the methods to compare; by default all that can read the model.
        threshold: fraction of the map's maximum above which is object; the model's own by default.
        device: device by PyTorch's name; a GPU by default, if there is one.
        max_pixels: pixels of the largest picture that is read.
        overwrite: replace the content of `out`.
    """

    out: Path
    label: str | None = None
    methods: tuple[str, ...] = ()
    threshold: float | None = None
    device: str | None = None
    max_pixels: int = MAX_PIXELS
    overwrite: bool = False

    def __post_init__(self) -> None:
        require_short(self)
        _require_threshold(self.threshold)
        _require(self.max_pixels > 0, f"max_pixels {self.max_pixels}; expected more than 0")
        require_at_most(self)


def _require_one_start(*, resume: bool, overwrite: bool) -> None:
    _require(not (resume and overwrite), "--resume beside --overwrite: one continues a run, the other removes it")


def _require_threshold(threshold: float | None) -> None:
    if threshold is not None:
        from tscam.boxes import require_threshold  # Here, so that `--help` does not wait for NumPy and OpenCV.

        require_threshold(threshold)


def _is_integer(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


def _require(is_allowed: bool, message: str) -> None:
    if not is_allowed:
        raise ConfigError(message)
