"""What every annotation format keeps to; a format registered later is covered by being registered."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tscam.errors import OutputError
from tscam.formats import formats, write_annotations
from tscam.localization import Localization, LocalizedObject

# Markup, formulas, ways out of the folder, line breaks, other scripts, and bytes that are not UTF-8.
LABELS = ("red fox", "=1+1", "<script>&amp;", "../up", "a\nb\0c", "лиса 🦊", os.fsdecode(b"\xff"))


def localizations(pictures: Path) -> Iterator[Localization]:
    """Two pictures with objects of every label, one without objects, one that was never read."""
    objects = tuple(
        LocalizedObject(
            label=label,
            class_id=class_id,
            score=0.9 - class_id / 10,
            box=(0.5 + class_id, 1.0, 20.25, 9.125 + class_id),
        )
        for class_id, label in enumerate(LABELS)
    )
    for name, held in (("a/fox.jpg", objects), ("a/../b/лиса 🦊.jpg", objects[::-1]), ("empty.jpg", ())):
        yield Localization(image=str(pictures / name), width=31, height=20, status="ok", reason="", objects=held)
    yield Localization(
        image=str(pictures / "unread.jpg"), width=0, height=0, status="bad_image", reason="an empty file", objects=()
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=sorted(formats))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    from PIL import Image

    for file in ("a/fox.jpg", "b/лиса 🦊.jpg", "empty.jpg"):
        path = tmp_path / "pictures" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (31, 20)).save(path)
    (tmp_path / "pictures" / "unread.jpg").touch()
    return tmp_path / "pictures"


def test_a_format_writes_inside_its_folder_alone_and_names_what_it_wrote(
    name: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = tree(tmp_path)
    paths = write_annotations(localizations(pictures), tmp_path / "out", to=name, class_names=LABELS)
    after = tree(tmp_path)
    assert {path: after[path] for path in before} == before
    assert paths
    assert set(after) - set(before) == {str(path.relative_to(tmp_path)) for path in paths}
    assert all(path.is_relative_to(tmp_path / "out") for path in paths)


@pytest.mark.parametrize("class_names", [None, LABELS])
def test_the_same_localizations_give_the_same_bytes(
    name: str, class_names: tuple[str, ...] | None, pictures: Path, tmp_path: Path
) -> None:
    for out in ("one", "two", "two"):  # The last over what is there.
        write_annotations(localizations(pictures), tmp_path / out, to=name, class_names=class_names)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert tree(tmp_path / "one")


def test_a_bad_picture_is_nowhere_in_the_files(name: str, pictures: Path, tmp_path: Path) -> None:
    write_annotations(localizations(pictures), tmp_path / "out", to=name)
    files = tree(tmp_path / "out")
    assert not any("unread" in path or b"unread" in content for path, content in files.items())


def test_nothing_localized_is_written_without_a_fault(name: str, tmp_path: Path) -> None:
    write_annotations([], tmp_path / "out", to=name, class_names=LABELS)


def test_a_folder_that_cannot_be_made_is_one_line(name: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        write_annotations(localizations(pictures), tmp_path / "file" / "out", to=name)
    assert "\n" not in str(caught.value)
