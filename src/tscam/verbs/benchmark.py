"""The verb `benchmark`: speed and peak memory of localization beside plain classification, in one run."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from jaxtyping import Float
from torch import nn

from tscam.backbones import list_backbones
from tscam.bounds import view_hw
from tscam.boxes import find_boxes
from tscam.checkpoints.hub import is_on_hub
from tscam.checkpoints.loader import load_model
from tscam.errors import ConfigError
from tscam.geometry import View
from tscam.model import LocalizationModel, ModelSpec, create_model
from tscam.predictors.pytorch import autocast
from tscam.system.processes import find_device
from tscam.system.resources import Precision

# Rounds of (a) and (b) in turn. The fastest one counts, as in Python's timeit: other programs can only add time.
_ROUNDS = 15
_BOX_ROUNDS = 200
_MOST = 1_000_000  # pictures, classes or threads
_TOP_K = 5
_MAPS = _TOP_K + 1  # maps of an evaluated picture: of the five most likely classes and of the label


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds a batch in the fastest round, and peak memory in MiB, None if the system does not tell."""

    seconds: float
    peak_mib: float | None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The result of a benchmark.

    Attributes:
        subject: model, view, classes, batch, precision and device.
        batch_size: pictures a batch.
        classifier: (a) the timm model alone.
        localization: (b) logits and the maps of the five most likely classes.
        ratio: (b) / (a), of the fastest rounds.
        boxes_ms: (c) milliseconds an image from six maps to boxes in picture pixels, on one thread (fastest round).
    """

    subject: str
    batch_size: int
    classifier: Timing
    localization: Timing
    ratio: float
    boxes_ms: float

    def describe(self) -> str:
        """The result as a table for people."""
        rows = [("(a) timm classifier", self.classifier), (f"(b) logits + {_TOP_K} maps", self.localization)]
        lines = [self.subject]
        for name, timing in rows:
            peak = "unknown" if timing.peak_mib is None else f"{timing.peak_mib:.0f} MiB"
            rate = self.batch_size / timing.seconds
            lines.append(f"{name:28}{rate:10.1f} images/s {1000 * timing.seconds:10.1f} ms a batch   peak {peak}")
        lines.append(f"{'(b) / (a)':28}{self.ratio:10.3f} (fastest of {_ROUNDS} rounds each, in turn)")
        lines.append(f"{f'(c) {_MAPS} maps → boxes':28}{self.boxes_ms:10.3f} ms an image, one thread")
        return "\n".join(lines)


def benchmark(
    model: str,
    *,
    batch_size: int = 8,
    image_size: int | str = 224,
    num_classes: int = 1000,
    device: str | None = None,
    precision: Precision = "fp32",
    threads: int | None = None,
) -> Benchmark:
    """Measure a backbone with random weights, or a stored model.

    Args:
        model: name of a backbone, or path or hub name of a model.
        batch_size: pictures that are computed together.
        image_size: side of a backbone's view in pixels, or its height and width, such as `48x96`; a stored model
            has its own.
        num_classes: classes of a backbone; a stored model has its own.
        device: device by PyTorch's name; None takes the GPU if there is one.
        precision: precision of the matrix products.
        threads: CPU threads; None keeps PyTorch's number.

    Raises:
        ConfigError: no such backbone or device, or a number outside its bounds.
        WeightsError: the model cannot be read.
    """
    counts = (batch_size, num_classes, 1 if threads is None else threads)
    if min(counts) < 1 or max(counts) > _MOST:
        raise ConfigError(f"batch size, classes and threads; expected 1 to {_MOST:,} of each")
    image_hw = view_hw(image_size, name="image size")
    torch_device = find_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    localizing = _open(model, image_hw=image_hw, num_classes=num_classes).to(torch_device).eval()
    spec = localizing.spec
    classifying = _timm_model(spec).to(torch_device).eval()
    classes, (height, width) = len(spec.label_names), spec.image_hw
    pixels = torch.randn(batch_size, 3, height, width, device=torch_device)

    def classify() -> None:
        classifying(pixels)

    def localize() -> None:
        localizing.localize(pixels, top_k=_TOP_K)[2].cpu()

    with torch.inference_mode(), autocast(torch_device, precision):
        peaks = [peak_mib(run, torch_device) for run in (classify, localize)]
        pairs = [(_seconds(classify, torch_device), _seconds(localize, torch_device)) for _ in range(_ROUNDS)]
    seconds_a, seconds_b = map(min, zip(*pairs, strict=True))
    is_cpu = torch_device.type == "cpu"
    hardware = f"{torch.get_num_threads()} threads" if is_cpu else torch.cuda.get_device_name(torch_device)
    view = f"{height}×{width}, {classes} classes, batch {batch_size}"
    return Benchmark(
        subject=f"{spec.backbone}, {view}, {precision}, {torch_device} ({hardware})",
        batch_size=batch_size,
        classifier=Timing(seconds=seconds_a, peak_mib=peaks[0]),
        localization=Timing(seconds=seconds_b, peak_mib=peaks[1]),
        ratio=seconds_b / seconds_a,
        boxes_ms=_boxes_ms(_example_maps(localizing), size_wh=(width, height), threshold=spec.threshold),
    )


def _open(model: str, *, image_hw: tuple[int, int], num_classes: int) -> LocalizationModel:
    """The stored model, or a new one on the backbone of that name."""
    is_backbone = model.split(".")[0] in list_backbones()
    if is_backbone or not (is_on_hub(model) or Path(model).exists()):
        return create_model(model, label_names=num_classes, image_size=image_hw)
    return load_model(model)


def _timm_model(spec: ModelSpec) -> nn.Module:
    """The classifier of timm on the same backbone."""
    arguments: dict[str, Any] = {"img_size": spec.image_hw, **spec.backbone_args}
    model: nn.Module = timm.create_model(spec.backbone, num_classes=len(spec.label_names), **arguments)
    return model


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_mib(run: Callable[[], None], device: torch.device) -> float | None:
    """Peak memory of the second run, of the GPU's allocator or the whole process; None if the system does not tell."""
    run()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        _wait(device)
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: resets the high-water mark
        run()
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(peak[1]) / 1024 if peak else None


def _example_maps(model: LocalizationModel) -> Float[np.ndarray, "k h w"]:
    """Maps like those of a trained model: a few smooth hills on the model's grid."""
    patch_h, patch_w = model.backbone.patch_hw
    grid_h, grid_w = model.spec.image_hw[0] // patch_h, model.spec.image_hw[1] // patch_w
    random = np.random.default_rng(0)
    noise = random.standard_normal((_MAPS, grid_h, grid_w)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(map_, (5, 5), 1.2) for map_ in noise])


def _boxes_ms(maps: Float[np.ndarray, "k h w"], *, size_wh: tuple[int, int], threshold: float) -> float:
    view, threads = View(picture_wh=size_wh, view_wh=size_wh), cv2.getNumThreads()
    cv2.setNumThreads(1)
    times = []
    for _ in range(_BOX_ROUNDS):
        started = time.perf_counter()
        for raw in maps:
            find_boxes(raw, view, threshold=threshold)
        times.append(time.perf_counter() - started)
    cv2.setNumThreads(threads)
    return 1000 * min(times)
