"""Memory while annotations are written does not grow with the data set: 50 MB at most for 100,000 pictures."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tscam.errors import DataError
from tscam.formats import formats, read_annotations, write_annotations
from tscam.localization import Localization, LocalizationFile, LocalizedObject

PICTURES = 4000
AT_MOST = 50 * 2**20 * PICTURES // 100_000  # A hundred thousand take no more a picture.


def localization(number: int) -> Localization:
    folder = ("train", "test", "val")[number % 3]
    objects = tuple(
        LocalizedObject(label=f"class {n}", class_id=n, score=0.5, box=(1.5, 2.0 + n, 30.25, 40.0)) for n in range(2)
    )
    return Localization(
        image=f"/data/own pictures/{folder}/IMG_{number // 3:08d}.jpg", width=310, height=200, status="ok", reason="",
        objects=objects[: number % 3],
    )  # fmt: skip


@dataclass(frozen=True)
class Many:
    """Localizations that are made anew in each pass."""

    count: int

    def __iter__(self) -> Iterator[Localization]:
        return map(localization, range(self.count))


MEASURED = """
import sys, tracemalloc
from tscam.formats import write_annotations
from test_many_pictures import Many

write_annotations(Many(10), sys.argv[1] + "/warm-up", to=sys.argv[2])
tracemalloc.start()
write_annotations(Many(int(sys.argv[3])), sys.argv[1] + "/out", to=sys.argv[2])
print(tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.parametrize("name", sorted(formats))
def test_memory_stays_under_its_limit_in_every_format(name: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", MEASURED, str(tmp_path), name, str(PICTURES)]  # Types are not checked there.
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    answer = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    peak = int(answer.stdout)
    assert peak < AT_MOST, f"{peak / PICTURES:.0f} bytes a picture"


@pytest.mark.parametrize("name", sorted(formats))
def test_several_passes_and_one_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    with (tmp_path / "lines.jsonl").open("w") as file:
        file.writelines(f"{localization(number).to_json()}\n" for number in range(50))
    sources: dict[str, Iterable[Localization]] = {
        "list": list(Many(50)), "passes": Many(50), "iterator": iter(Many(50)),
        "file": LocalizationFile(tmp_path / "lines.jsonl"),
    }  # fmt: skip
    for folder, localizations in sources.items():
        write_annotations(localizations, tmp_path / folder, to=name)
    files = {folder: {path.relative_to(tmp_path / folder): path.read_bytes() for path in
                      sorted((tmp_path / folder).rglob("*")) if path.is_file()} for folder in sources}  # fmt: skip
    assert files["list"]
    assert all(content == files["list"] for content in files.values())


@pytest.mark.parametrize("name", sorted(formats))
def test_a_picture_that_is_localized_twice_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"IMG_00000001\.jpg: localized twice; keep one line a picture"):
        write_annotations([*Many(9), localization(3)], tmp_path / "out", to=name)
    assert not (tmp_path / "out").exists()


def test_voc_names_files_as_before(tmp_path: Path) -> None:
    names = ["a/1.jpg", "b/1.jpg", "b/2.jpg", "c/3.jpg", "c/3.png", "d/3.png", "deep/x/A.jpg", "deep/a.jpg"]
    localizations = [
        Localization(image=f"/r/{name}", width=9, height=8, status="ok", reason="", objects=()) for name in names
    ]
    paths = write_annotations(localizations, tmp_path, to="voc")
    assert [path.relative_to(tmp_path / "Annotations").as_posix() for path in paths] == [
        "a/1.xml", "b/1.xml", "2.xml", "c/3.jpg.xml", "c/3.png.xml", "d/3.xml", "deep/x/A.xml", "deep/a.xml",
    ]  # fmt: skip
    assert len(read_annotations(tmp_path).pictures) == len(names)


def test_voc_files_that_would_be_one_are_refused(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/1.png", "a/1.jpg.png", "b/1.gif"]
    localizations = [
        Localization(image=f"/r/{name}", width=9, height=8, status="ok", reason="", objects=()) for name in names
    ]
    refusal = r"^a/1\.jpg and a/1\.jpg\.png: both are annotated in Annotations/a/1\.jpg\.xml; rename one of them$"
    names_collide = [
        *localizations,
        Localization(image="/r/c/1.jpg.gif", width=9, height=8, status="ok", reason="", objects=()),
    ]
    with pytest.raises(DataError, match=refusal):
        write_annotations(names_collide, tmp_path / "out", to="voc")
    assert not (tmp_path / "out").exists()
