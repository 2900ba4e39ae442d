"""Score maps have a path by their id, are read exactly as written, and are refused where they are no map."""

import io
import time
from pathlib import Path

import numpy as np
import pytest

from tscam.errors import DataError, OutputError
from tscam.evaluation.score_maps import map_path, read_map, write_map

MAP = np.random.default_rng(0).random((4, 7))


def saved(path: Path, array: np.ndarray, **options: bool) -> Path:
    np.save(path, array, **options)
    return path


def test_a_map_is_named_by_the_whole_id() -> None:
    assert map_path(Path("maps"), "val2/0/a.jpeg") == Path("maps/val2/0/a.jpeg.npy")


@pytest.mark.parametrize(
    "image_id", ["../a.jpg", "/a.jpg", "b/../../a.jpg", r"b\..\..\a.jpg", "C:a.jpg", "", "a\0.jpg"]
)
def test_no_id_leads_out_of_the_folder(image_id: str) -> None:
    with pytest.raises(DataError, match=r"leads out of maps; expected a path below the folder of maps$"):
        map_path(Path("maps"), image_id)


def test_a_map_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = map_path(tmp_path, "val2/0/a.jpeg")
    write_map(path, MAP)
    map_ = read_map(path, size_hw=(4, 7))
    assert map_.dtype == np.float32
    np.testing.assert_array_equal(map_, MAP.astype(np.float32))
    assert [file.name for file in path.parent.iterdir()] == ["a.jpeg.npy"]
    np.testing.assert_array_equal(np.load(path), MAP.astype(np.float32))


def test_a_map_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OutputError, match=r"b\.npy: cannot be written"):
        write_map(tmp_path / "a" / "b.npy", MAP)


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [("f2", "f4"), ("f4", "f4"), (">f4", "f4"), ("f8", "f8"), (">f8", "f8"), ("u1", "f8"), ("i8", "f8")],
)
def test_numbers_keep_the_precision_of_the_file(tmp_path: Path, stored: str, dtype: str) -> None:
    array = (255 * MAP).astype(stored)
    map_ = read_map(saved(tmp_path / "x.npy", array))
    assert map_.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(map_, array)


def test_float64_matters_for_the_level_of_a_value(tmp_path: Path) -> None:
    levels = np.arange(1, 256) / 255 - 1e-9
    map_ = read_map(saved(tmp_path / "x.npy", levels[None]))
    assert (255 * map_).astype(np.uint8).tolist() == [list(range(255))]
    assert (255 * map_.astype(np.float32)).astype(np.uint8).tolist() != [list(range(255))]


def test_arrays_in_column_order_are_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_map(saved(tmp_path / "x.npy", np.asfortranarray(MAP))), MAP)


def test_version_2_of_the_header_is_read(tmp_path: Path) -> None:
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array(file, MAP, version=(2, 0))
    np.testing.assert_array_equal(read_map(tmp_path / "x.npy"), MAP)


@pytest.mark.parametrize(
    ("array", "refusal"),
    [
        (MAP[0], r"1 dimensions and type float64; expected a 2-d map of numbers"),
        (MAP[None], r"3 dimensions"),
        (MAP > 0.5, r"2 dimensions and type bool"),
        (MAP * 1j, r"type complex128"),
        (MAP.astype(str), r"type <U"),
        (np.zeros((2, 3), dtype=[("x", "f4")]), r"expected a 2-d map of numbers"),
        (np.where(MAP.max() == MAP, np.nan, MAP), r"NaN or infinity in the map; expected finite numbers"),
        (np.where(MAP.max() == MAP, -np.inf, MAP), r"NaN or infinity in the map"),
        (np.zeros((0, 7)), r"a map of 0×7; expected 1 to 179000000 values"),
    ],
)
def test_an_array_that_is_no_map_of_finite_numbers_is_refused(tmp_path: Path, array: np.ndarray, refusal: str) -> None:
    with pytest.raises(DataError, match=rf"x\.npy: .*{refusal}"):
        read_map(saved(tmp_path / "x.npy", array))


def test_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.npy: a map of 4×7; expected 7×4 \(height × width\)$"):
        read_map(saved(tmp_path / "x.npy", MAP), size_hw=(7, 4))


def test_objects_of_python_are_never_unpickled(tmp_path: Path) -> None:
    saved(tmp_path / "x.npy", np.array([[1, "a"], [None, {}]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"x\.npy: an array of 2 dimensions and type object; expected"):
        read_map(tmp_path / "x.npy")


def bomb(shape: str) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


@pytest.mark.parametrize(
    ("shape", "refusal"),
    [
        ("(1000000, 1000000)", r"a map of 1000000×1000000; expected 1 to 179000000 values"),
        ("(10000, 10000)", r"ends before its 10000×10000 values"),
        ("(-2, -2)", r"ends before|expected|not a readable"),
        (f"({'9' * 60}, 2)", r"expected 1 to 179000000 values"),
    ],
)
def test_a_header_that_claims_more_than_the_file_holds_is_refused_at_once(
    tmp_path: Path, shape: str, refusal: str
) -> None:
    (tmp_path / "x.npy").write_bytes(bomb(shape))
    before = time.perf_counter()
    with pytest.raises(DataError, match=rf"x\.npy: .*({refusal})"):
        read_map(tmp_path / "x.npy")
    assert time.perf_counter() - before < 1


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04" + bytes(40), b"\x93NUMPY", b"\x93NUMPY\x09\x00\x02\x00{}"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npy: not a readable \.npy file \(\w+.*\); write the map again$"):
        read_map(tmp_path / "x.npy")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.npy: not a readable \.npy file \(FileNotFoundError"):
        read_map(tmp_path / "nowhere.npy")
    with pytest.raises(DataError, match=r": not a file; expected a score map$"):
        read_map(tmp_path)


def test_corrupt_files_are_read_or_refused_without_another_error(tmp_path: Path) -> None:
    random = np.random.default_rng(8)
    file = io.BytesIO()
    np.save(file, MAP)
    whole = file.getvalue()
    refusals: list[str] = []
    for _ in range(600):
        content = bytearray(whole)
        for position in random.integers(0, 128, size=random.integers(1, 6)):
            content[position] = random.choice(list(b"0199(),'{}: <>|fiubOSUVcm=LTrue\0\n\xff"))
        (tmp_path / "x.npy").write_bytes(content[: random.integers(len(content) // 2, 2 * len(content))])
        try:
            assert read_map(tmp_path / "x.npy").dtype in (np.float32, np.float64)
        except DataError as refusal:
            refusals.append(str(refusal))
    assert 300 < len(refusals) < 600
    assert not any("\n" in refusal for refusal in refusals)
