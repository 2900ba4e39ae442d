"""Cost of training beside plain classification, and of waiting for pictures; all in one run, as ratios.

    uv run python benchmarks/training.py [--device cuda] [--batch-size 128] [--precision bf16] [--compile]

Steps: (a) the unchanged timm model, with AdamW; (b) TS-CAM as `tscam train` runs it; (c) TS-CAM as its authors compute
it, with a dense convolution as the head and all attention matrices kept. They take turns, so that other load on the
machine slows all of them; the ratio is the median over the turns. Pictures: generated JPEGs of 500×375 pixels.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from cyclopts import App
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from tscam.config import TrainConfig
from tscam.datasets import read_dataset
from tscam.model import LocalizationModel, create_model
from tscam.predictors.pytorch import autocast
from tscam.system.processes import ALONE, find_device
from tscam.system.resources import Precision
from tscam.training.learner import Learner
from tscam.training.pictures import (
    Batch,
    EpochOrder,
    PictureSettings,
    TrainingBatches,
    TrainingPictures,
    normalized,
    open_batches,
)
from tscam.training.run.progress import Pace
from tscam.verbs.train import learner_settings

# Operations a second in bfloat16, dense, as NVIDIA states them; a multiply-add is two operations.
_PEAK_BF16 = {"H100 80GB HBM3": 989e12, "H200": 989e12, "A100": 312e12}

app = App(help=__doc__)


@app.default
def main(
    *,
    backbone: str = "deit_small_patch16_224",
    image_size: int = 224,
    batch_size: int = 16,
    classes: tuple[int, ...] = (200, 1000),
    precision: Precision = "fp32",
    device: str | None = None,
    compile: bool = False,
    turns: int = 7,
    pictures: int = 400,
    workers: int = 2,
) -> None:
    """Print the tables."""
    target = find_device(device)
    name = torch.cuda.get_device_name(target) if target.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{backbone}, {image_size} px, batch {batch_size}, {precision}, {target} ({name}), torch {torch.__version__}")
    config = TrainConfig(
        data=Path(), out=Path(), backbone=backbone, image_size=image_size, resize_size=image_size * 8 // 7,
        batch_size=batch_size, precision=precision, compile=compile, workers=workers,
    )  # fmt: skip
    for count in classes:
        _compare_steps(config, count, target, turns=turns)
    _measure_loading(config, target, pictures=pictures)


def _compare_steps(config: TrainConfig, classes: int, device: torch.device, *, turns: int) -> None:
    batch = _random_batch(config, classes)
    learner = _learner(config, classes, device)
    steps: dict[str, Callable[[], object]] = {
        "(a) timm classifier": _plain_step(config, classes, device, batch),
        "(b) TS-CAM": lambda: learner.step(batch, step_number=1, pictures=len(batch.labels), rate_factor=1.0),
        "(c) the authors' way": _dense_step(config, classes, device, batch),
    }
    learner.begin_training()
    memory = {name: _memory(step, device) for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            seconds[name].append(_seconds(step, device))
    base = seconds["(a) timm classifier"]
    flops = _flops(steps["(a) timm classifier"])
    print(f"\n{classes} classes: a training step, median of {turns} turns")
    for name, times in seconds.items():
        ratios = sorted(duration / plain for duration, plain in zip(times, base, strict=True))
        median_s = statistics.median(times)
        rate = f"{1000 * median_s:9.1f} ms {config.batch_size / median_s:9.1f} images/s"
        ratio = f"× (a) {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(f"  {name:24}{rate}   {ratio}   {memory[name]}{_mfu(flops, median_s, device)}")


def _measure_loading(config: TrainConfig, device: torch.device, *, pictures: int) -> None:
    """Print the speed of the loader alone, and how long training steps wait for it."""
    with tempfile.TemporaryDirectory() as folder:
        _draw_jpegs(Path(folder), pictures)
        dataset = read_dataset(Path(folder), split="all")
        learner = _learner(config, len(dataset.class_names), device)
        learner.begin_training()
        print(f"\nLoading {pictures} JPEGs of 500×375, {config.workers} workers")
        for name in ("exact", "fast_decode", "cache ram"):
            settings = PictureSettings(
                batch_size=config.batch_size, resize_size=config.resize_size, seed=0, fast_decode=name == "fast_decode"
            )
            loaded = TrainingPictures(
                dataset, settings, size_hw=config.image_hw, branches=len(learner.model.backbone.drop_rates)
            )
            if name == "cache ram":
                loaded.keep_in_memory(workers=config.workers)
            order = EpochOrder(len(dataset), batch_size=config.batch_size, seed=0)
            with open_batches(loaded, order, workers=config.workers) as batches:
                alone = _epoch(batches, lambda _: None)
                trained = _epoch(batches, lambda batch: learner.step(
                    batch, step_number=1, pictures=len(batch.labels), rate_factor=1.0))  # fmt: skip
            print(
                f"  {name:12} alone {alone.images_per_second:9.1f} images/s   in training "
                f"{trained.images_per_second:9.1f} images/s, waiting {100 * trained.waiting:.1f} % of the time"
            )


def _epoch(batches: TrainingBatches, use: Callable[[Batch], object]) -> Pace:
    """Measure the second of two epochs: workers have started, and files are in the system's cache."""
    for epoch in (1, 2):
        pace = Pace()
        for batch in batches.of_epoch(epoch):
            pace.batch_arrived()
            use(batch)
            pace.count(len(batch.labels))
    return pace


def _learner(config: TrainConfig, classes: int, device: torch.device) -> Learner:
    torch.manual_seed(0)
    model = create_model(config.backbone, label_names=classes, image_size=config.image_hw, drop_path=config.drop_path)
    return Learner(model, learner_settings(config), device=device, processes=ALONE)


def _plain_step(config: TrainConfig, classes: int, device: torch.device, batch: Batch) -> Callable[[], object]:
    model: Any = timm.create_model(
        config.backbone, num_classes=classes, img_size=config.image_hw, drop_path_rate=config.drop_path
    )
    model = model.to(device).train()
    return _step_of(model, torch.compile(model) if config.compile else model, config, device, batch)


def _dense_step(config: TrainConfig, classes: int, device: torch.device, batch: Batch) -> Callable[[], object]:
    """Return a step that keeps every layer's softmax matrix and scores every cell of the grid for every class."""
    model: Any = timm.create_model(
        config.backbone, num_classes=0, img_size=config.image_hw, drop_path_rate=config.drop_path
    )
    model.head = nn.Conv2d(model.num_features, classes, kernel_size=3, padding=1)
    kept: list[Tensor] = []
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _module, _inputs, matrix: kept.append(matrix))
    model = model.to(device).train()

    def forward(pixels: Tensor) -> Tensor:
        kept.clear()
        tokens = model.forward_features(pixels)[:, model.num_prefix_tokens :]
        side = int(tokens.shape[1] ** 0.5)
        scores: Tensor = model.head(tokens.transpose(1, 2).unflatten(2, (side, side)))
        return scores.mean(dim=(2, 3))

    return _step_of(model, forward, config, device, batch)


def _step_of(
    model: nn.Module, forward: Callable[[Tensor], Tensor], config: TrainConfig, device: torch.device, batch: Batch
) -> Callable[[], object]:
    """Return a plain step on the same batch and with the same optimizer as ours."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05)
    input_format = _input_format(config)

    def step() -> float:
        pixels, labels = batch.pixels.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True)
        with autocast(device, config.precision):
            logits = forward(normalized(pixels, to=input_format))
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        value = loss.item()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return value

    return step


def _input_format(config: TrainConfig) -> Any:
    tiny: LocalizationModel = create_model(config.backbone, label_names=2, image_size=config.image_hw)
    return tiny.input_format


def _random_batch(config: TrainConfig, classes: int) -> Batch:
    random = torch.Generator().manual_seed(0)
    count, side = config.batch_size, config.image_hw[0]
    branches = len(create_model(config.backbone, label_names=2, image_size=side).backbone.drop_rates)
    return Batch(
        indices=torch.arange(count),
        pixels=torch.randint(0, 256, (count, side, side, 3), generator=random, dtype=torch.uint8),
        labels=torch.randint(0, classes, (count,), generator=random),
        draws=torch.rand(count, branches, generator=random),
    )


def _draw_jpegs(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for number, name in zip(range(count), cycle(("left", "right")), strict=False):
        (folder / name).mkdir(exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (25, 33, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / name / f"{number}.jpg", quality=90)


def _seconds(step: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(step: Callable[[], object], device: torch.device) -> str:
    """Return the memory that a step allocates: its peak on a GPU, else the tensors kept for the gradient."""
    step()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        _wait(device)
        return f"peak {(torch.cuda.max_memory_allocated(device) - before) / 2**20:.0f} MiB"
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return f"kept for the gradient {sum(kept.values()) / 2**20:.0f} MiB"


def _flops(step: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def _mfu(flops: float, seconds: float, device: torch.device) -> str:
    """Return the share of the device's bfloat16 peak, by the operations of the plain classifier's step."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    peak = next((peak for part, peak in _PEAK_BF16.items() if part in name), None)
    return "" if peak is None else f"   {100 * flops / seconds / peak:.1f} % of the bf16 peak"


if __name__ == "__main__":
    app()
