"""COCO files say what was found: read back with pycocotools, the reader that evaluations use."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from tscam.errors import ConfigError, DataError, OutputError
from tscam.formats import write_annotations
from tscam.localization import Localization, LocalizedObject

Box = tuple[float, float, float, float]
WIDTH, HEIGHT = 310, 200


def found(
    *, label: str = "fox", class_id: int = 2, score: float = 0.5, box: Box = (1.0, 2.0, 4.0, 7.5)
) -> LocalizedObject:
    return LocalizedObject(label=label, class_id=class_id, score=score, box=box)


def localized(image: str, *objects: LocalizedObject) -> Localization:
    return Localization(image=image, width=WIDTH, height=HEIGHT, status="ok", reason="", objects=objects)


def bad(image: str) -> Localization:
    return Localization(image=image, width=0, height=0, status="bad_image", reason="an empty file", objects=())


def write(localizations: Sequence[Localization], out: Path, *, class_names: Sequence[str] | None = None) -> Path:
    (path,) = write_annotations(iter(localizations), out, to="coco", class_names=class_names)
    return path


def content(localizations: Sequence[Localization], out: Path, *, class_names: Sequence[str] | None = None) -> Any:
    return json.loads(write(localizations, out, class_names=class_names).read_bytes())


edges = st.floats(-10.0, 320.0)
boxes = st.tuples(edges, edges, edges, edges).map(
    lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]), max(e[1], e[3]))
)
objects = st.builds(
    lambda class_id, score, box: found(label=f"class {class_id}", class_id=class_id, score=score, box=box),
    st.integers(0, 6), st.floats(0.0, 1.0), boxes,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(pictures=st.lists(st.none() | st.lists(objects, max_size=4), max_size=5))
def test_pycocotools_reads_back_the_boxes_clipped_and_every_good_picture(
    pictures: list[list[LocalizedObject] | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    localizations = [
        bad(f"a/{number}.jpg") if held is None else localized(f"a/{number}.jpg", *held)
        for number, held in enumerate(pictures)
    ]
    read = COCO(str(write(localizations, tmp_path_factory.mktemp("out"))))
    good = [localization for localization in localizations if localization.status == "ok"]
    assert [image["file_name"] for image in read.dataset["images"]] == [Path(g.image).name for g in good]
    for image_id, localization in enumerate(good, start=1):
        rows = read.loadAnns(read.getAnnIds(imgIds=[image_id]))
        assert len(rows) == len(localization.objects)
        for row, held in zip(rows, localization.objects, strict=True):
            x, y, width, height = row["bbox"]
            clipped = np.clip(held.box, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
            assert np.allclose([x, y, x + width, y + height], clipped, rtol=0, atol=1e-4)
            assert row["area"] == pytest.approx(width * height)
            assert row["score"] == held.score
            assert read.loadCats(row["category_id"])[0]["name"] == held.label


def test_the_file_is_what_the_format_says_to_the_field(tmp_path: Path) -> None:
    fox, cat = (
        found(score=0.75, box=(1.0, 2.0, 4.0, 7.5)),
        found(label="cat", class_id=0, box=(-5.0, 190.0, 999.0, 220.0)),
    )
    pictures = [localized("set/a/one.jpg", fox, cat), bad("set/broken.jpg"), localized("set/b/two.jpg")]
    assert content([*pictures, localized("set/a/three.jpg", fox)], tmp_path) == {
        "info": {"description": "Objects localized by tscam", "image_folder": (Path.cwd() / "set").as_posix()},
        "licenses": [],
        "categories": [{"id": 1, "name": "cat", "supercategory": ""}, {"id": 3, "name": "fox", "supercategory": ""}],
        "images": [
            {"id": 1, "file_name": "a/one.jpg", "width": 310, "height": 200},
            {"id": 2, "file_name": "b/two.jpg", "width": 310, "height": 200},
            {"id": 3, "file_name": "a/three.jpg", "width": 310, "height": 200},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 3,
                "iscrowd": 0,
                "score": 0.75,
                "bbox": [1, 2, 3, 5.5],
                "area": 16.5,
            },
            {
                "id": 2,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "score": 0.5,
                "bbox": [0, 190, 310, 10],
                "area": 3100,
            },
            {
                "id": 3,
                "image_id": 3,
                "category_id": 3,
                "iscrowd": 0,
                "score": 0.75,
                "bbox": [1, 2, 3, 5.5],
                "area": 16.5,
            },
        ],
    }


def test_all_class_names_are_listed_when_given_with_ids_from_one(tmp_path: Path) -> None:
    read = COCO(str(write([localized("a.jpg", found())], tmp_path, class_names=["cat", "dog", "fox", "owl"])))
    assert {category["id"]: category["name"] for category in read.cats.values()} == {
        1: "cat", 2: "dog", 3: "fox", 4: "owl",
    }  # fmt: skip
    assert [row["category_id"] for row in read.anns.values()] == [3]


def test_no_pictures_at_all_still_give_a_whole_file(tmp_path: Path) -> None:
    read = content([bad("a.jpg")], tmp_path)
    assert [read[key] for key in ("licenses", "categories", "images", "annotations")] == [[], [], [], []]


@pytest.mark.parametrize(
    ("images", "names", "folder"),
    [
        (["one.jpg"], ["one.jpg"], "here"),
        (["a/one.jpg", "a/two.jpg"], ["one.jpg", "two.jpg"], "here/a"),
        (["a/one.jpg", "ab/one.jpg"], ["a/one.jpg", "ab/one.jpg"], "here"),
        (["a/../b/one.jpg", "./b/c/one.jpg"], ["one.jpg", "c/one.jpg"], "here/b"),
        (["../one.jpg", "two.jpg"], ["one.jpg", "here/two.jpg"], ""),
        (["{}/one.jpg", "two.jpg"], ["one.jpg", "here/two.jpg"], ""),
        (["a\\b.jpg", "🦊\n.jpg"], ["a\\b.jpg", "🦊\n.jpg"], "here"),
    ],
)
def test_file_names_are_relative_to_the_common_folder_and_never_leave_it(
    images: list[str], names: list[str], folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    read = content([localized(image.format(tmp_path)) for image in images], tmp_path / "out")
    assert [image["file_name"] for image in read["images"]] == names
    assert read["info"]["image_folder"] == (tmp_path / folder).as_posix()


def test_a_picture_localized_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a/\.\./one\.jpg: localized twice"):
        write([localized("one.jpg"), localized("a/../one.jpg")], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_labels_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    two_models = [localized("a.jpg", found()), localized("b.jpg", found(label="owl"))]
    with pytest.raises(DataError, match=r"class 2: both 'fox' and 'owl'"):
        write(two_models, tmp_path)
    with pytest.raises(DataError, match=r"class 2: both 'dog' and 'fox'"):
        write(two_models[:1], tmp_path, class_names=["cat", "owl", "dog"])
    with pytest.raises(DataError, match=r"class id 2 of 'fox': class_names has 2"):
        write(two_models[:1], tmp_path, class_names=["cat", "owl"])
    with pytest.raises(DataError, match=r"class id -1 of 'fox'"):
        write([localized("a.jpg", found(class_id=-1))], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_become_plain_ones(tmp_path: Path) -> None:
    x0, y0, x1, y1 = np.array([1.5, 2.5, 3.5, 9.0])
    (row,) = content([localized("a.jpg", found(score=np.float64(0.5), box=(x0, y0, x1, y1)))], tmp_path)["annotations"]
    assert (row["bbox"], row["score"]) == ([1.5, 2.5, 2.0, 6.5], 0.5)


def test_an_unknown_format_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no format named 'cocoo'; did you mean 'coco'\? Registered: .*coco"):
        write_annotations([], tmp_path, to="cocoo")


def test_a_file_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "annotations").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write([], tmp_path)
