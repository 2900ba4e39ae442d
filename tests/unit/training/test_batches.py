"""The order of an epoch, batches from any number of workers, JPEGs at a smaller size, and pictures in memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_sets import write_folder
from tiny_runs import rows, same_bits, settings
from tscam.datasets import Dataset, read_dataset
from tscam.errors import ConfigError, ImageError, TrainingError
from tscam.image import read_image
from tscam.training.augmentation import resized, training_view
from tscam.training.pictures import Batch, EpochOrder, PictureSettings, TrainingPictures, open_batches, read_batches
from tscam.verbs.train import train

VIEW_HW, SIDE, RESIZED_HW = (20, 36), 48, (27, 48)

# The order


def indices_of(order: EpochOrder, epoch: int) -> list[list[int]]:
    order.epoch = epoch
    keys = list(order)
    assert all(key_epoch == epoch for key_epoch, _ in keys)
    return [indices for _, indices in keys]


def test_each_epoch_has_every_picture_once_in_an_order_of_its_own() -> None:
    order = EpochOrder(23, batch_size=5, seed=5)
    assert (len(order), order.steps) == (5, 5)
    assert [order.pictures_in(step) for step in range(5)] == [5, 5, 5, 5, 3]
    first, second = indices_of(order, 1), indices_of(order, 2)
    for epoch in (first, second):
        # The last, smaller batch is trained on as well.
        assert [len(batch) for batch in epoch] == [5, 5, 5, 5, 3]
        assert sorted(index for batch in epoch for index in batch) == list(range(23))
    assert first != second
    assert [index for batch in first for index in batch] != list(range(23))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    order, later = EpochOrder(23, batch_size=5, seed=5), EpochOrder(23, batch_size=5, seed=5)
    assert order.epoch == 1
    first = indices_of(order, 1)
    third = indices_of(order, 3)
    torch.manual_seed(99)
    assert indices_of(later, 3) == third
    assert indices_of(order, 1) == first
    assert indices_of(EpochOrder(23, batch_size=5, seed=6), 1) != first


def test_an_epoch_that_starts_at_a_later_step_has_the_remaining_steps() -> None:
    order = EpochOrder(23, batch_size=5, seed=5)
    whole = indices_of(order, 2)
    order.first_step = 3
    assert indices_of(order, 2) == whole[3:]
    assert (len(order), order.steps) == (2, 5)


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_processes_share_each_batch_of_a_single_process(processes: int) -> None:
    whole = indices_of(EpochOrder(23, batch_size=5, seed=5), 4)
    shares = [
        indices_of(EpochOrder(23, batch_size=5, seed=5, rank=rank, processes=processes), 4) for rank in range(processes)
    ]
    for step, batch in enumerate(whole):
        assert [index for share in shares for index in share[step]] == batch
        sizes = [len(share[step]) for share in shares]
        assert max(sizes) - min(sizes) <= 1


# Batches


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    write_folder(tmp_path / "data", boxes=None)
    return read_dataset(tmp_path / "data")


def pictures_of(dataset: Dataset, *, fast_decode: bool = False, side: int = SIDE) -> TrainingPictures:
    picture_settings = PictureSettings(batch_size=4, resize_size=side, seed=5, fast_decode=fast_decode)
    return TrainingPictures(dataset, picture_settings, size_hw=VIEW_HW, branches=4)


def batches_of(pictures: TrainingPictures, *, workers: int) -> list[Batch]:
    """The batches of three epochs."""
    order = EpochOrder(len(pictures.dataset), batch_size=4, seed=5)
    with open_batches(pictures, order, workers=workers) as batches:
        return [batch for epoch in (1, 2, 3) for batch in batches.of_epoch(epoch)]


def assert_same(batches: list[Batch], others: list[Batch]) -> None:
    for batch, other in zip(batches, others, strict=True):
        assert all(torch.equal(one, another) for one, another in zip(batch, other, strict=True))


def test_workers_change_no_bit_of_any_batch(dataset: Dataset) -> None:
    alone, together = (batches_of(pictures_of(dataset), workers=workers) for workers in (0, 2))
    # Six pictures in batches of four: the last, smaller batch is there too.
    assert [len(batch.labels) for batch in alone] == [4, 2] * 3
    assert_same(alone, together)
    assert not torch.equal(alone[0].pixels, alone[2].pixels)
    assert sorted(torch.cat([batch.labels for batch in alone[:2]]).tolist()) == sorted(dataset.labels.tolist())


def test_reading_batches_leaves_pytorchs_generator_unchanged(dataset: Dataset) -> None:
    for workers in (0, 2):
        torch.manual_seed(8)
        state = torch.get_rng_state()
        batches_of(pictures_of(dataset), workers=workers)
        assert torch.equal(torch.get_rng_state(), state)


def test_the_death_of_a_worker_is_one_line_with_a_way_out(dataset: Dataset) -> None:
    def dying() -> Iterator[Batch | ImageError]:
        yield pictures_of(dataset)[1, [0]]
        raise RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. \nmore")

    batches = read_batches(dying())
    assert len(next(batches).labels) == 1
    with pytest.raises(TrainingError, match=r"has died .*Killed.*; continue with `tscam resume`") as caught:
        next(batches)
    assert "\n" not in str(caught.value)


# JPEGs at a smaller size


@pytest.mark.parametrize(
    ("size_wh", "decoded_wh"),
    [
        ((400, 300), (100, 75)), ((384, 384), (48, 48)), ((383, 384), (96, 96)), ((97, 500), (49, 250)),
        ((95, 500), (95, 500)), ((40, 30), (40, 30)),
    ],
)  # fmt: skip
def test_a_jpeg_is_decoded_at_the_smallest_size_that_no_side_falls_below(
    tmp_path: Path, size_wh: tuple[int, int], decoded_wh: tuple[int, int]
) -> None:
    picture = Image.radial_gradient("L").resize(size_wh).convert("RGB")
    picture.save(tmp_path / "a.jpg")
    picture.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.jpg", least_side=48).size == decoded_wh
    assert read_image(tmp_path / "a.jpg").size == size_wh
    assert read_image(tmp_path / "a.png", least_side=48).size == size_wh


def test_exif_turns_a_jpeg_at_a_smaller_size_as_well(tmp_path: Path) -> None:
    turned = Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # Displayed after a quarter turn.
    turned.save(tmp_path / "a.jpg", exif=exif)
    small, whole = read_image(tmp_path / "a.jpg", least_side=48), read_image(tmp_path / "a.jpg")
    assert (small.size, whole.size) == ((75, 100), (300, 400))
    assert np.abs(resized(small, size_hw=(48, 48)).astype(int) - resized(whole, size_hw=(48, 48))).max() <= 8


@pytest.fixture
def photographs(tmp_path: Path) -> Dataset:
    """Smooth JPEGs of 400×300 pixels, which decoding at a smaller size changes only a little."""
    random = np.random.default_rng(2)
    for name in ("cat", "dog"):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for number in range(2):
            coarse = random.integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
            whole = Image.fromarray(coarse).resize((400, 300), Image.Resampling.BICUBIC)
            whole.save(tmp_path / "photographs" / name / f"{number}.jpg", quality=95)
    return read_dataset(tmp_path / "photographs")


def test_fast_decoding_changes_pixels_only_a_little(photographs: Dataset) -> None:
    keys = [0, 1, 2, 3]
    fast, exact = (pictures_of(photographs, fast_decode=fast)[1, keys] for fast in (True, False))
    assert isinstance(fast, Batch)
    assert isinstance(exact, Batch)
    for index, pixels in enumerate(exact.pixels.numpy()):
        square = resized(read_image(photographs.path(index)), size_hw=RESIZED_HW)
        view = training_view(square, size_hw=VIEW_HW, random=np.random.default_rng([5, 1, index]))
        assert np.array_equal(pixels, view)
    difference = (fast.pixels.int() - exact.pixels.int()).abs()
    assert 0 < difference.float().mean() < 2
    assert difference.max() <= 20
    assert torch.equal(fast.draws, exact.draws)


# Pictures kept in memory


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_from_memory_have_the_bits_of_the_files(dataset: Dataset, workers: int) -> None:
    expected = batches_of(pictures_of(dataset), workers=0)
    cached = pictures_of(dataset)
    cached.keep_in_memory(workers=3)
    for index in range(len(dataset)):
        dataset.path(index).unlink()  # They are not read again.
    assert_same(batches_of(cached, workers=workers), expected)


def test_a_run_from_memory_has_the_bits_of_a_run_from_files(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", boxes=None)
    config = settings(tmp_path / "data", tmp_path / "run", rand_augment=9)
    run = train(config)
    cached = train(replace(config, cache="ram", out=tmp_path / "cached"))
    assert same_bits(run, cached)
    assert rows(run) == rows(cached)


def test_pictures_that_do_not_fit_into_memory_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", boxes=None)
    first = tmp_path / "data" / "cat" / "cat_0_0.png"
    for number in range(2**11):  # links: 1.6 terabytes of pictures at the largest size
        (first.parent / f"again_{number}.png").hardlink_to(first)
    message = r"cache ram needs \d+\.\d GB for 2054 pictures of 16384×16384 pixels, \d+\.\d GB are free; train with"
    with pytest.raises(ConfigError, match=message) as refused:
        train(settings(tmp_path / "data", tmp_path / "run", cache="ram", resize_size=2**14, select="last"))
    assert str(refused.value).endswith("train with --cache none")
    assert not (tmp_path / "run").exists()


def test_a_broken_picture_is_refused_when_pictures_are_read_into_memory(dataset: Dataset) -> None:
    dataset.path(4).write_bytes(b"\x89PNG")
    with pytest.raises(ImageError, match="not a readable picture"):
        pictures_of(dataset).keep_in_memory(workers=2)
