"""How fast a model localizes beside its bare classifier, in one run: times, their ratio, and peak memory."""

import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from jaxtyping import Float

from tscam.backbones import list_backbones
from tscam.boxes import find_boxes
from tscam.checkpoints.hub import is_on_hub
from tscam.checkpoints.loader import load_model
from tscam.errors import ConfigError
from tscam.geometry import View
from tscam.model import LocalizationModel, create_model
from tscam.system.processes import find_device
from tscam.system.resources import Precision

# Of (a) and (b) in turn. The fastest counts, as in Python's timeit: what else the machine does can only add time.
_ROUNDS = 15
_TOP_K = 5
_MAPS = _TOP_K + 1  # of an evaluated picture: the five most likely classes and the label


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds for a batch (the fastest round), and the most memory in use, MiB (None where it cannot be told)."""

    seconds: float
    peak_mib: float | None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What was measured.

    Attributes:
        subject: model, view, classes, batch, precision and device.
        batch_size: pictures a batch.
        classifier: (a) the timm model as it is.
        localization: (b) logits and the maps of the five most likely classes.
        ratio: (b) / (a), of the fastest rounds.
        boxes_ms: (c) milliseconds an image from six maps to boxes in picture pixels, on one thread (fastest of 200).
    """

    subject: str
    batch_size: int
    classifier: Timing
    localization: Timing
    ratio: float
    boxes_ms: float

    def describe(self) -> str:
        """A table for people."""
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
    image_size: int = 224,
    num_classes: int = 1000,
    device: str | None = None,
    precision: Precision = "fp32",
    threads: int | None = None,
) -> Benchmark:
    """Measures a backbone (random weights) or a stored model.

    Args:
        model: name of a backbone, or path of a model.
        batch_size: pictures at once.
        image_size, num_classes: for a backbone; a stored model has its own.
        device: as PyTorch names it; None takes the GPU where there is one.
        precision: of the matrix products.
        threads: of the processor; None leaves PyTorch's number.

    Raises:
        ConfigError: no such backbone or device, or a number below one.
        WeightsError: the model cannot be read.
    """
    if min(batch_size, image_size, num_classes, 1 if threads is None else threads) < 1:
        raise ConfigError("batch size, image size, classes and threads; expected 1 or more of each")
    where = find_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    if model.split(".")[0] in list_backbones() or not (is_on_hub(model) or Path(model).exists()):
        ours = create_model(model, label_names=num_classes, image_size=image_size)
    else:
        ours = load_model(model)
    spec = ours.spec
    classes, (height, width) = len(spec.label_names), spec.image_hw
    settings: dict[str, Any] = {"img_size": spec.image_hw, **spec.backbone_args}
    bare = timm.create_model(spec.backbone, num_classes=classes, **settings)
    bare, ours = bare.to(where).eval(), ours.to(where).eval()
    pixels = torch.randn(batch_size, 3, height, width, device=where)

    def classify() -> None:
        bare(pixels)

    def localize() -> None:
        ours.localize(pixels, top_k=_TOP_K)[2].cpu()

    amp = torch.autocast(where.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    with torch.inference_mode(), amp:
        peaks = [peak_mib(run, where) for run in (classify, localize)]
        pairs = [(_seconds(classify, where), _seconds(localize, where)) for _ in range(_ROUNDS)]
    seconds_a, seconds_b = map(min, zip(*pairs, strict=True))
    on = f"{torch.get_num_threads()} threads" if where.type == "cpu" else torch.cuda.get_device_name(where)
    view = f"{height}×{width}, {classes} classes, batch {batch_size}"
    return Benchmark(
        subject=f"{spec.backbone}, {view}, {precision}, {where} ({on})",
        batch_size=batch_size,
        classifier=Timing(seconds=seconds_a, peak_mib=peaks[0]),
        localization=Timing(seconds=seconds_b, peak_mib=peaks[1]),
        ratio=seconds_b / seconds_a,
        boxes_ms=_boxes_ms(_example_maps(ours), size_wh=(width, height), threshold=spec.threshold),
    )


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
    """The most memory in use while `run` runs the second time: of the GPU's allocator, or of the whole process."""
    run()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        _wait(device)
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark begins anew
        run()
        high = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(high[1]) / 1024 if high else None


def _example_maps(model: LocalizationModel) -> Float[np.ndarray, "k h w"]:
    """Maps as a trained model gives them: a few smooth hills on the model's grid."""
    patch_h, patch_w = model.backbone.patch_hw
    grid_h, grid_w = model.spec.image_hw[0] // patch_h, model.spec.image_hw[1] // patch_w
    random = np.random.default_rng(0)
    noise = random.standard_normal((_MAPS, grid_h, grid_w)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(map_, (5, 5), 1.2) for map_ in noise])


def _boxes_ms(maps: Float[np.ndarray, "k h w"], *, size_wh: tuple[int, int], threshold: float) -> float:
    view, threads = View(picture_wh=size_wh, view_wh=size_wh), cv2.getNumThreads()
    cv2.setNumThreads(1)
    times = []
    for _ in range(200):
        started = time.perf_counter()
        for raw in maps:
            find_boxes(raw, view, threshold=threshold)
        times.append(time.perf_counter() - started)
    cv2.setNumThreads(threads)
    return 1000 * min(times)
