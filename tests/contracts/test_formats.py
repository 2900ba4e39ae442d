"""Contract of every annotation format; a format is covered once it is registered."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from tscam.errors import ConfigError, DataError, OutputError
from tscam.formats import AnnotatedPicture, formats, read_annotations, write_annotations
from tscam.localization import Localization, LocalizedObject

# Markup, formulas, ways out of the folder, line breaks, other scripts, and bytes that are not UTF-8.
LABELS = ("red fox", "=1+1", "<script>&amp;", "../up", "a\nb\0c", "лиса 🦊", os.fsdecode(b"\xff"))

# Any format can express these; "\r\n" and "'=" are what a careless reader changes.
READABLE_LABELS = ("red fox", "=1+1", "'=1+1", "-", "@a,b", "<b>&amp;", '"quoted"', "a\nb\r\nc", "../up", "лиса 🦊", "")
READABLE_NAMES = ("a/fox.jpg", "b/fox.jpg", "b/лиса 🦊.jpg", "=1/@<&>,.jpg", "c d/e.f.png", "empty.jpg")

WIDTH, HEIGHT = 31, 20

# Pixels that an edge may move by: Pascal VOC rounds to whole ones.
TOLERANCES = {"voc": 0.5}
FORMATS_WITHOUT_SCORE = {"voc"}


def localized(image: Path, *objects: LocalizedObject) -> Localization:
    return Localization(image=str(image), width=WIDTH, height=HEIGHT, status="ok", reason="", objects=objects)


def localizations(pictures: Path) -> Iterator[Localization]:
    """Two pictures with objects of every label, one without objects, one that could not be read."""
    objects = tuple(
        LocalizedObject(
            label=label,
            class_id=class_id,
            score=0.9 - class_id / 10,
            box=(0.5 + class_id, 1.0, 20.25, 9.125 + class_id),
        )
        for class_id, label in enumerate(LABELS)
    )
    yield localized(pictures / "a/fox.jpg", *objects)
    yield localized(pictures / "a/../b/лиса 🦊.jpg", *objects[::-1])
    yield localized(pictures / "empty.jpg")
    yield Localization(
        image=str(pictures / "unread.jpg"), width=0, height=0, status="bad_image", reason="an empty file", objects=()
    )


def random_localizations(pictures: Path, *, seed: int) -> list[Localization]:
    """Pictures with objects of any label and any box of at least a pixel; the last picture has none."""
    random = np.random.default_rng(seed)

    def localized_object() -> LocalizedObject:
        class_id = int(random.integers(len(READABLE_LABELS)))
        x0, y0 = random.uniform(0, WIDTH - 1), random.uniform(0, HEIGHT - 1)
        return LocalizedObject(
            label=READABLE_LABELS[class_id],
            class_id=class_id,
            score=float(random.uniform()),
            box=(float(x0), float(y0), float(random.uniform(x0 + 1, WIDTH)), float(random.uniform(y0 + 1, HEIGHT))),
        )

    counts = [*random.integers(1, 4, size=len(READABLE_NAMES) - 1), 0]
    return [
        localized(pictures / name, *(localized_object() for _ in range(count)))
        for name, count in zip(READABLE_NAMES, counts, strict=True)
    ]


def picture_named(pictures: Sequence[AnnotatedPicture], name: str) -> AnnotatedPicture:
    """Return the picture of a path; a format may name a picture by its file name if it is unique."""
    same_path = [picture for picture in pictures if picture.name == name]
    same_file_name = [picture for picture in pictures if picture.name == PurePosixPath(name).name]
    (picture,) = same_path or same_file_name
    return picture


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=sorted(formats))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for file in ("a/fox.jpg", "b/лиса 🦊.jpg", "empty.jpg"):
        path = tmp_path / "pictures" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    (tmp_path / "pictures" / "unread.jpg").touch()
    return tmp_path / "pictures"


def test_a_format_writes_only_in_its_folder_and_returns_all_written_paths(
    name: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = tree(tmp_path)
    paths = write_annotations(localizations(pictures), tmp_path / "out", to=name, class_names=LABELS)
    after = tree(tmp_path)
    assert {path: after[path] for path in before} == before
    assert paths
    assert len(paths) == len(set(paths))
    assert set(after) - set(before) == {str(path.relative_to(tmp_path)) for path in paths}
    assert all(path.is_relative_to(tmp_path / "out") for path in paths)


@pytest.mark.parametrize("class_names", [None, LABELS])
def test_equal_localizations_give_equal_bytes(
    name: str, class_names: tuple[str, ...] | None, pictures: Path, tmp_path: Path
) -> None:
    for out in ("one", "two", "two"):  # The last one replaces the files of the second.
        write_annotations(localizations(pictures), tmp_path / out, to=name, class_names=class_names)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert tree(tmp_path / "one")


def test_a_bad_picture_is_nowhere_in_the_files(name: str, pictures: Path, tmp_path: Path) -> None:
    write_annotations(localizations(pictures), tmp_path / "out", to=name)
    files = tree(tmp_path / "out")
    assert not any("unread" in path or b"unread" in content for path, content in files.items())


def test_no_localizations_are_written_without_an_error(name: str, tmp_path: Path) -> None:
    write_annotations([], tmp_path / "out", to=name, class_names=LABELS)


def test_a_folder_that_cannot_be_created_is_one_line(name: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        write_annotations(localizations(pictures), tmp_path / "file" / "out", to=name)
    assert "\n" not in str(caught.value)


def test_a_picture_in_memory_has_no_path_and_is_refused(name: str, tmp_path: Path) -> None:
    in_memory = Localization(image="", width=WIDTH, height=HEIGHT, status="ok", reason="", objects=())
    with pytest.raises(DataError, match=r"^localization 2: its picture was in memory and has no path; annotation file"):
        write_annotations([localized(tmp_path / "a.jpg"), in_memory], tmp_path / "out", to=name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", range(20))
def test_written_annotations_are_read_back(name: str, seed: int, tmp_path: Path) -> None:
    written = random_localizations(tmp_path / "pictures", seed=seed)
    write_annotations(written, tmp_path / "out", to=name, class_names=READABLE_LABELS)
    annotations = read_annotations(tmp_path / "out")
    assert annotations.format == name
    assert len(annotations.pictures) == len(written)
    for localization in written:
        image_name = Path(localization.image).relative_to(tmp_path / "pictures").as_posix()
        picture = picture_named(annotations.pictures, image_name)
        assert picture.size_wh == (WIDTH, HEIGHT)
        assert len(picture.objects) == len(localization.objects)
        for annotated, original in zip(picture.objects, localization.objects, strict=True):
            assert np.abs(np.subtract(annotated.box, original.box)).max() <= TOLERANCES.get(name, 1e-4)
            assert (annotated.category or "") == original.label
            assert annotated.score == (None if name in FORMATS_WITHOUT_SCORE else original.score)
            assert (annotated.iscrowd, annotated.ignore, annotated.difficult) == (False, False, False)


def test_a_box_smaller_than_a_pixel_stays_in_the_picture(name: str, tmp_path: Path) -> None:
    boxes = [(0.0, 0.0, 0.0, 0.0), (30.6, 19.7, 31.0, 20.0), (4.5, 7.5, 4.5, 7.9), (-3.0, 2.0, 99.0, 99.0)]
    objects = [LocalizedObject(label="fox", class_id=0, score=0.5, box=box) for box in boxes]
    write_annotations([localized(tmp_path / "a.jpg", *objects)], tmp_path / "out", to=name)
    (picture,) = read_annotations(tmp_path / "out").pictures
    for annotated, box in zip(picture.objects, np.clip(boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]), strict=True):
        x0, y0, x1, y1 = annotated.box
        assert 0 <= x0 <= x1 <= WIDTH
        assert 0 <= y0 <= y1 <= HEIGHT
        assert np.abs(np.subtract(annotated.box, box)).max() <= (1.0 if name in TOLERANCES else 1e-4)


def test_a_file_and_a_folder_with_or_without_the_formats_name_give_equal_annotations(name: str, tmp_path: Path) -> None:
    written = random_localizations(tmp_path / "pictures", seed=1)[:1]
    (file,) = write_annotations(written, tmp_path / "out", to=name)
    annotations = read_annotations(tmp_path / "out")
    assert read_annotations(file) == annotations
    assert read_annotations(str(tmp_path / "out"), format=name) == annotations
    assert annotations.pictures[0].source.startswith(str(file))


def corrupted(content: bytes, random: np.random.Generator) -> bytes:
    """Replace characters by others that occur in annotation files, and sometimes remove a piece."""
    changed = bytearray(content)
    for position in random.integers(0, len(changed), size=random.integers(1, 4)):
        changed[position] = random.choice(list(b'0199-./ \t\n,"<>{}[]e\0\xff'))
    if random.random() < 0.3:
        start = int(random.integers(0, len(changed)))
        del changed[start : start + int(random.integers(1, 40))]
    return bytes(changed)


def test_a_corrupt_file_is_read_or_refused_in_one_line_without_another_error(name: str, tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    refusals: list[str] = []
    for path in write_annotations(random_localizations(tmp_path, seed=3), tmp_path / "out", to=name):
        original = path.read_bytes()
        for _ in range(100):
            path.write_bytes(corrupted(original, random))
            try:
                read_annotations(path)
            except DataError as refusal:
                refusals.append(str(refusal))
        path.write_bytes(original)
    assert refusals
    assert not any("\n" in refusal for refusal in refusals)


def test_annotations_of_several_formats_in_a_folder_are_refused_unless_one_is_chosen(tmp_path: Path) -> None:
    written = random_localizations(tmp_path / "pictures", seed=2)
    for name in formats:
        write_annotations(written, tmp_path / "out", to=name)
    with pytest.raises(DataError, match=r"out: contains annotations of coco and csv and voc; name the format or the"):
        read_annotations(tmp_path / "out")
    for name in formats:
        assert read_annotations(tmp_path / "out", format=name).format == name


def test_paths_without_annotations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such file or folder; expected annotation files"):
        read_annotations(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r": no annotations recognized; expected a file or folder of coco, csv, voc$"):
        read_annotations(tmp_path)
    (tmp_path / "labels.txt").touch()
    with pytest.raises(DataError, match=r"labels\.txt: no annotations recognized; expected a file or folder of coco$"):
        read_annotations(tmp_path / "labels.txt", format="coco")
    with pytest.raises(ConfigError, match=r"no format named 'vok'; did you mean 'voc'\?"):
        read_annotations(tmp_path, format="vok")
