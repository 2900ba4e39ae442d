"""COCO files, written and read: pycocotools and globox, which others evaluate with, read the same boxes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from globox import AnnotationSet
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from tscam.errors import ConfigError, DataError, OutputError
from tscam.formats import AnnotatedObject, Annotations, read_annotations, write_annotations
from tscam.localization import Localization, LocalizedObject

Box = tuple[float, float, float, float]
WIDTH, HEIGHT = 310, 200


def localized_object(
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
    lambda class_id, score, box: localized_object(label=f"class {class_id}", class_id=class_id, score=score, box=box),
    st.integers(0, 6), st.floats(0.0, 1.0), boxes,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(pictures=st.lists(st.none() | st.lists(objects, max_size=4), max_size=5))
def test_pycocotools_reads_back_the_boxes_clipped_and_every_good_picture(
    pictures: list[list[LocalizedObject] | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    localizations = [
        bad(f"a/{number}.jpg") if localized_objects is None else localized(f"a/{number}.jpg", *localized_objects)
        for number, localized_objects in enumerate(pictures)
    ]
    coco = COCO(str(write(localizations, tmp_path_factory.mktemp("out"))))
    readable = [localization for localization in localizations if localization.status == "ok"]
    assert [image["file_name"] for image in coco.dataset["images"]] == [Path(ok.image).name for ok in readable]
    for image_id, localization in enumerate(readable, start=1):
        rows = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        assert len(rows) == len(localization.objects)
        for row, original in zip(rows, localization.objects, strict=True):
            x, y, width, height = row["bbox"]
            clipped = np.clip(original.box, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
            assert np.allclose([x, y, x + width, y + height], clipped, rtol=0, atol=1e-4)
            assert row["area"] == pytest.approx(width * height)
            assert row["score"] == original.score
            assert coco.loadCats(row["category_id"])[0]["name"] == original.label


def test_the_file_is_what_the_format_says_to_the_field(tmp_path: Path) -> None:
    fox, cat = (
        localized_object(score=0.75, box=(1.0, 2.0, 4.0, 7.5)),
        localized_object(label="cat", class_id=0, box=(-5.0, 190.0, 999.0, 220.0)),
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
                "segmentation": [[1, 2, 4, 2, 4, 7.5, 1, 7.5]],
            },
            {
                "id": 2,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "score": 0.5,
                "bbox": [0, 190, 310, 10],
                "area": 3100,
                "segmentation": [[0, 190, 310, 190, 310, 200, 0, 200]],
            },
            {
                "id": 3,
                "image_id": 3,
                "category_id": 3,
                "iscrowd": 0,
                "score": 0.75,
                "bbox": [1, 2, 3, 5.5],
                "area": 16.5,
                "segmentation": [[1, 2, 4, 2, 4, 7.5, 1, 7.5]],
            },
        ],
    }


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_the_polygon_of_a_box_fills_the_box(tmp_path: Path) -> None:
    coco = COCO(str(write([localized("a.jpg", localized_object(box=(10.0, 20.0, 40.0, 75.0)))], tmp_path)))
    ((row,),) = [coco.loadAnns(coco.getAnnIds())]
    mask = coco.annToMask(row)
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    expected[20:75, 10:40] = 1
    assert (mask & expected).sum() / (mask | expected).sum() >= 0.95  # pycocotools rounds the edges of polygons.


def test_all_class_names_are_listed_with_ids_from_one(tmp_path: Path) -> None:
    class_names = ["cat", "dog", "fox", "owl"]
    coco = COCO(str(write([localized("a.jpg", localized_object())], tmp_path, class_names=class_names)))
    assert {category["id"]: category["name"] for category in coco.cats.values()} == {
        1: "cat", 2: "dog", 3: "fox", 4: "owl",
    }  # fmt: skip
    assert [row["category_id"] for row in coco.anns.values()] == [3]


def test_no_pictures_at_all_still_give_a_complete_file(tmp_path: Path) -> None:
    written = content([bad("a.jpg")], tmp_path)
    assert [written[key] for key in ("licenses", "categories", "images", "annotations")] == [[], [], [], []]


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
    written = content([localized(image.format(tmp_path)) for image in images], tmp_path / "out")
    assert [image["file_name"] for image in written["images"]] == names
    assert written["info"]["image_folder"] == (tmp_path / folder).as_posix()


def test_a_picture_localized_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a/\.\./one\.jpg: localized twice"):
        write([localized("one.jpg"), localized("a/../one.jpg")], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_labels_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    two_models = [localized("a.jpg", localized_object()), localized("b.jpg", localized_object(label="owl"))]
    with pytest.raises(DataError, match=r"class 2: both 'fox' and 'owl'"):
        write(two_models, tmp_path)
    with pytest.raises(DataError, match=r"class 2: both 'dog' and 'fox'"):
        write(two_models[:1], tmp_path, class_names=["cat", "owl", "dog"])
    with pytest.raises(DataError, match=r"class id 2 of 'fox': class_names has 2"):
        write(two_models[:1], tmp_path, class_names=["cat", "owl"])
    with pytest.raises(DataError, match=r"class id -1 of 'fox'"):
        write([localized("a.jpg", localized_object(class_id=-1))], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_become_plain_ones(tmp_path: Path) -> None:
    x0, y0, x1, y1 = np.array([1.5, 2.5, 3.5, 9.0])
    (row,) = content([localized("a.jpg", localized_object(score=np.float64(0.5), box=(x0, y0, x1, y1)))], tmp_path)[
        "annotations"
    ]
    assert (row["bbox"], row["score"]) == ([1.5, 2.5, 2.0, 6.5], 0.5)


def test_an_unknown_format_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no format named 'cocoo'; did you mean 'coco'\? Registered: .*coco"):
        write_annotations([], tmp_path, to="cocoo")


def test_a_file_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "annotations").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write([], tmp_path)


def test_globox_reads_the_boxes_and_the_names(tmp_path: Path) -> None:
    fox, cat = localized_object(box=(1.5, 2.25, 4.0, 7.5)), localized_object(label="cat", class_id=0, score=0.25)
    annotations = AnnotationSet.from_coco(write([localized("set/a/one.jpg", fox, cat)], tmp_path))
    (annotation,) = annotations
    assert (annotation.image_id, annotation.image_size) == ("one.jpg", (WIDTH, HEIGHT))
    boxes = [(box.label, box.confidence, box.xmin, box.ymin, box.xmax, box.ymax) for box in annotation.boxes]
    assert boxes == [("fox", 0.5, 1.5, 2.25, 4.0, 7.5), ("cat", 0.25, 1.0, 2.0, 4.0, 7.5)]


def read(tmp_path: Path, **lists: object) -> Annotations:
    (tmp_path / "annotations.json").write_text(json.dumps(lists))
    return read_annotations(tmp_path)


IMAGE: dict[str, object] = {"id": 7, "file_name": "a/one.jpg", "width": 310, "height": 200}
BOX: dict[str, object] = {"image_id": 7, "bbox": [1, 2, 3.5, 4]}


def test_categories_flags_scores_and_sizes_are_kept(tmp_path: Path) -> None:
    flags: list[dict[str, object]] = [
        {"iscrowd": 1},
        {"ignore": 1},
        {"iscrowd": 0, "ignore": False},
        {"score": 0.25},
    ]
    annotations = read(
        tmp_path,
        categories=[{"id": 4, "name": "owl"}, {"id": 2, "name": "fox"}],
        images=[IMAGE, {"id": "b", "file_name": "two.jpg"}],
        annotations=[BOX | {"category_id": 2} | extra for extra in flags],
    )
    assert (annotations.format, annotations.categories) == ("coco", ("owl", "fox"))
    one, two = annotations.pictures
    assert (one.name, one.size_wh, two.name, two.size_wh, two.objects) == ("a/one.jpg", (310, 200), "two.jpg", None, ())
    box = (1.0, 2.0, 4.5, 6.0)
    assert one.objects == (
        AnnotatedObject(box=box, category="fox", iscrowd=True),
        AnnotatedObject(box=box, category="fox", ignore=True),
        AnnotatedObject(box=box, category="fox"),
        AnnotatedObject(box=box, category="fox", score=0.25),
    )
    assert one.source == f"{tmp_path / 'annotations.json'}: images[0]"


def test_categories_may_be_missing(tmp_path: Path) -> None:
    annotations = read(tmp_path, images=[IMAGE], annotations=[BOX | {"category_id": 1}])
    assert annotations.categories == ()
    assert annotations.pictures[0].objects == (AnnotatedObject(box=(1.0, 2.0, 4.5, 6.0)),)


@pytest.mark.parametrize(
    ("size", "size_wh"),
    [({"width": 31, "height": 20.0}, (31, 20)), ({"width": 31}, None), ({"width": 31, "height": 0}, None),
     ({"width": "wide", "height": 20}, None), ({"width": 31, "height": 20.5}, None),
     ({"width": [], "height": 9}, None)],
)  # fmt: skip
def test_a_size_is_two_whole_numbers_or_none(
    size: dict[str, object], size_wh: tuple[int, int] | None, tmp_path: Path
) -> None:
    annotations = read(tmp_path, images=[{"id": 7, "file_name": "a.jpg"} | size], annotations=[])
    assert annotations.pictures[0].size_wh == size_wh


@pytest.mark.parametrize(
    ("lists", "refusal"),
    [
        ({"categories": [{"id": 1}]}, r"categories\[0\]: no 'id' or no 'name'; expected both"),
        ({"categories": [{"id": 1, "name": "fox"}] * 2}, r"categories\[1\]: category 1 is listed twice"),
        ({"categories": 3}, r"no list 'categories'"),
        ({"annotations": [BOX | {"iscrowd": "yes"}]}, r"annotations\[0\]: iscrowd: 'yes'; expected 0 or 1"),
        ({"annotations": [BOX | {"score": "high"}]}, r"annotations\[0\]: 'high' is not a finite number"),
    ],
)  # fmt: skip
def test_a_broken_entry_is_refused_by_index(lists: dict[str, object], refusal: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=refusal):
        read(tmp_path, **({"images": [IMAGE], "annotations": []} | lists))


def test_several_files_in_a_folder_are_refused(tmp_path: Path) -> None:
    write([localized("a.jpg")], tmp_path)
    (tmp_path / "annotations" / "captions_train.json").touch()
    assert len(read_annotations(tmp_path).pictures) == 1
    (tmp_path / "annotations.json").touch()
    with pytest.raises(DataError, match=r": both annotations\.json and instances_localized\.json; name one of the"):
        read_annotations(tmp_path)
