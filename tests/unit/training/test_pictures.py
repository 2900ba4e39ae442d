"""A training view is a crop of the resized picture, flipped or not, by seed, epoch and index alone."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import RandAugment

from data_sets import write_folder
from tscam.datasets import Dataset, read_dataset
from tscam.errors import ImageError
from tscam.image import InputFormat, normalize, read_image
from tscam.training.augmentation import resized, training_view
from tscam.training.pictures import Batch, PictureSettings, TrainingPictures, normalized, read_batches

# A view of 20 rows and 36 columns, cut from a square of 48, or from a picture of the view's proportions.
VIEW_HW = (20, 36)
SIDE = 48
RESIZED_HW = (27, 48)


def view_of(square: np.ndarray, *, seed: int, rand_augment: int | None = None) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return training_view(square, size_hw=VIEW_HW, random=generator, rand_augment=rand_augment)


def picture_of_coordinates() -> np.ndarray:
    """A picture of 48 × 48 whose red encodes the column and green the row, five levels apart."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    return np.stack([5 * columns, 5 * rows, np.full_like(rows, 77)], axis=2).astype(np.uint8)


def drawn_view(seed: int) -> tuple[int, int, bool]:
    """Left and top edge of a crop, and whether it is flipped; asserts that it is a piece of the picture."""
    view = view_of(picture_of_coordinates(), seed=seed)
    assert view.shape == (20, 36, 3)
    columns, rows = view[..., 0] // 5, view[..., 1] // 5
    flipped = bool(columns[0, 0] > columns[0, 1])
    if flipped:
        columns = columns[:, ::-1]
    left, top = int(columns[0, 0]), int(rows[0, 0])
    assert np.array_equal(columns, np.tile(np.arange(left, left + 36), (20, 1)))
    assert np.array_equal(rows, np.tile(np.arange(top, top + 20)[:, None], (1, 36)))
    assert (view[..., 2] == 77).all()
    return left, top, flipped


def test_crops_cover_every_position_evenly_and_half_of_them_are_flipped() -> None:
    drawn = [drawn_view(seed) for seed in range(600)]
    assert {left for left, _, _ in drawn} == set(range(SIDE - 36 + 1))
    assert {top for _, top, _ in drawn} == set(range(SIDE - 20 + 1))
    assert 260 <= sum(flipped for _, _, flipped in drawn) <= 340  # 300 ± 3.3 standard deviations
    # Left edge, top edge and flip are independent.
    lefts, tops, flips = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    assert np.abs(np.corrcoef([lefts, tops, flips])[np.triu_indices(3, k=1)]).max() < 0.15


def noise_picture() -> Image.Image:
    noise = np.random.default_rng(3).integers(0, 256, size=(200, 310, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def reseed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@pytest.mark.parametrize("rand_augment", [None, 9])
def test_a_view_depends_on_its_generator_alone(rand_augment: int | None) -> None:
    square = resized(noise_picture(), size_hw=(SIDE, SIDE))
    views = []
    for seed in range(6):
        reseed_everything(seed)
        views.append(view_of(square, seed=7, rand_augment=rand_augment))
    assert all(np.array_equal(views[0], view) for view in views[1:])
    assert not np.array_equal(views[0], view_of(square, seed=8, rand_augment=rand_augment))


def test_the_whole_picture_is_resized_to_a_square_before_it_is_cropped() -> None:
    picture = noise_picture()
    view = view_of(resized(picture, size_hw=(SIDE, SIDE)), seed=5)
    square = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    crops = [square[top : top + 20, left : left + 36] for left in range(SIDE - 36 + 1) for top in range(SIDE - 20 + 1)]
    assert sum(np.array_equal(view, turned) for crop in crops for turned in (crop, crop[:, ::-1])) == 1


def test_a_crop_of_the_whole_square_is_the_square_flipped_or_not() -> None:
    square = resized(noise_picture(), size_hw=(SIDE, SIDE))
    views = [training_view(square, size_hw=(SIDE, SIDE), random=np.random.default_rng(seed)) for seed in range(12)]
    unflipped = [np.array_equal(view, square) for view in views]
    mirrored = [np.array_equal(view, square[:, ::-1]) for view in views]
    assert any(unflipped)
    assert any(mirrored)
    assert all(one != other for one, other in zip(unflipped, mirrored, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_training_normalizes_pixels_to_the_bits_of_localization(seed: int) -> None:
    random = np.random.default_rng(seed)
    mean, std = (tuple(random.uniform(0.1, 0.9, 3).tolist()) for _ in range(2))
    to = InputFormat(size_hw=(7, 256)) if seed == 0 else InputFormat(size_hw=(7, 256), mean=mean, std=std)
    pixels = random.integers(0, 256, size=(2, 7, 256, 3), dtype=np.uint8)
    pixels[0, 0] = np.arange(256)[:, None]  # Every level of every channel.
    batch = normalized(torch.from_numpy(pixels), to=to)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    for ours, picture in zip(batch.numpy(), pixels, strict=True):
        assert np.array_equal(ours, normalize(Image.fromarray(picture), to=to))


# RandAugment


@pytest.mark.parametrize("magnitude", [1, 9, 30])
def test_rand_augment_applies_torchvisions_operations_to_the_plain_crop(magnitude: int) -> None:
    square = resized(noise_picture(), size_hw=(SIDE, SIDE))
    for seed in range(10):
        generator = np.random.default_rng(seed)
        plain = training_view(square, size_hw=VIEW_HW, random=generator)
        with torch.random.fork_rng():
            torch.manual_seed(int(generator.integers(2**63)))
            expected = np.asarray(RandAugment(num_ops=2, magnitude=magnitude)(Image.fromarray(plain)))
        assert np.array_equal(view_of(square, seed=seed, rand_augment=magnitude), expected)


def test_a_higher_magnitude_changes_a_view_more() -> None:
    square = resized(noise_picture(), size_hw=(SIDE, SIDE))

    def change(magnitude: int) -> float:
        views = [(view_of(square, seed=n), view_of(square, seed=n, rand_augment=magnitude)) for n in range(40)]
        return float(np.mean([np.abs(one.astype(float) - other) for one, other in views]))

    assert change(1) < change(9) < change(25)


def test_rand_augment_leaves_every_generator_unchanged() -> None:
    square = resized(noise_picture(), size_hw=(SIDE, SIDE))
    reseed_everything(11)
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index]
    for seed in range(20):
        view_of(square, seed=seed, rand_augment=20)
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index]


# Batches


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    write_folder(tmp_path / "data", boxes=None)
    return read_dataset(tmp_path / "data")


def pictures_of(dataset: Dataset, *, seed: int = 5, rand_augment: int | None = None) -> TrainingPictures:
    settings = PictureSettings(batch_size=4, resize_size=SIDE, seed=seed, rand_augment=rand_augment)
    return TrainingPictures(dataset, settings, size_hw=VIEW_HW, branches=4)


def batch_of(pictures: TrainingPictures, epoch: int, *indices: int) -> Batch:
    batch = pictures[epoch, list(indices)]
    assert isinstance(batch, Batch)
    return batch


@pytest.mark.parametrize("rand_augment", [None, 9])
def test_a_training_picture_depends_on_seed_epoch_and_index_alone(dataset: Dataset, rand_augment: int | None) -> None:
    pictures = pictures_of(dataset, rand_augment=rand_augment)
    together = {epoch: batch_of(pictures, epoch, 4, 0, 5, 1, 2, 3) for epoch in (1, 2)}
    for epoch, batch in together.items():
        assert batch.indices.tolist() == [4, 0, 5, 1, 2, 3]
        assert batch.labels.tolist() == dataset.labels[[4, 0, 5, 1, 2, 3]].tolist()
        for row, index in enumerate(batch.indices.tolist()):
            reseed_everything(row)
            alone = batch_of(pictures_of(dataset, rand_augment=rand_augment), epoch, index)
            for one, batched in zip(alone, batch, strict=True):
                assert torch.equal(one[0], batched[row])
    other = batch_of(pictures_of(dataset, seed=6, rand_augment=rand_augment), 1, 4)
    for this, another in ((together[1], together[2]), (together[1], other)):
        assert not torch.equal(this.pixels[0], another.pixels[0])
        assert not torch.equal(this.draws[0], another.draws[0])


def test_a_training_picture_is_a_view_of_its_file(dataset: Dataset) -> None:
    batch = batch_of(pictures_of(dataset), 2, 3)
    generator = np.random.default_rng([5, 2, 3])
    whole = resized(read_image(dataset.path(3)), size_hw=RESIZED_HW)
    assert np.array_equal(batch.pixels[0].numpy(), training_view(whole, size_hw=VIEW_HW, random=generator))
    assert np.array_equal(batch.draws[0].numpy(), generator.random(4, dtype=np.float32))


def test_a_process_without_pictures_has_an_empty_batch(dataset: Dataset) -> None:
    batch = batch_of(pictures_of(dataset), 1)
    assert [tuple(tensor.shape) for tensor in batch] == [(0,), (0, 20, 36, 3), (0,), (0, 4)]


def test_the_error_of_an_unreadable_picture_takes_the_place_of_the_batch(dataset: Dataset) -> None:
    dataset.path(2).write_bytes(b"\x89PNG")
    fault = pictures_of(dataset)[1, [0, 2, 3]]
    assert isinstance(fault, ImageError)
    assert str(dataset.path(2)) in str(fault)
    with pytest.raises(ImageError, match=r"not a readable picture .*, then `tscam resume`$"):
        list(read_batches(iter([fault])))


@pytest.mark.parametrize(
    ("size_hw", "resize_size", "resize_hw"),
    [((224, 224), 256, (256, 256)), ((48, 96), 110, (55, 110)), ((96, 48), 110, (110, 55)), ((20, 36), 36, (20, 36))],
)
def test_pictures_are_resized_to_the_proportions_of_the_view(
    size_hw: tuple[int, int], resize_size: int, resize_hw: tuple[int, int], dataset: Dataset
) -> None:
    settings = PictureSettings(batch_size=4, resize_size=resize_size, seed=5)
    pictures = TrainingPictures(dataset, settings, size_hw=size_hw, branches=4)
    assert pictures.resize_hw == resize_hw
    assert batch_of(pictures, 1, 0).pixels.shape == (1, *size_hw, 3)
