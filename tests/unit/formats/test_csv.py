"""The CSV table of boxes: written to the cell, read with all columns or with boxes alone."""

from pathlib import Path

import pytest

from tscam.errors import DataError
from tscam.formats import AnnotatedObject, AnnotatedPicture, Annotations, read_annotations, write_annotations
from tscam.localization import Localization, LocalizedObject


def localized_object(*, label: str, score: float, box: tuple[float, float, float, float]) -> LocalizedObject:
    return LocalizedObject(label=label, class_id=len(label), score=score, box=box)


def read(tmp_path: Path, content: str) -> Annotations:
    (tmp_path / "boxes.csv").write_text(content, encoding="utf-8", newline="")
    return read_annotations(tmp_path / "boxes.csv")


def test_a_row_is_an_object_and_a_picture_without_objects_has_a_row(tmp_path: Path) -> None:
    objects = (
        localized_object(label="red fox", score=0.75, box=(1.5, 2.0, 300.0, 999.0)),
        localized_object(label="=cat", score=0.125, box=(0.0, 0.0, 7.0, 8.25)),
    )
    flat = "the maps are flat: nothing stands out"
    pictures = [
        Localization(image="set/a/one.jpg", width=310, height=200, status="ok", reason="", objects=objects),
        Localization(image="set/-b,c.jpg", width=31, height=20, status="ok", reason=flat, objects=()),
    ]
    (path,) = write_annotations(pictures, tmp_path / "out", to="csv")
    assert path == tmp_path / "out" / "boxes.csv"
    assert path.read_text() == (
        "image,width,height,class,class_score,box,x0,y0,x1,y1,status,reason\n"
        "a/one.jpg,310,200,red fox,0.75,0,1.5,2.0,300.0,200.0,ok,\n"
        "a/one.jpg,310,200,'=cat,0.125,1,0.0,0.0,7.0,8.25,ok,\n"
        f'"\'-b,c.jpg",31,20,,,,,,,,ok,{flat}\n'
    )
    assert read_annotations(path).pictures == (
        AnnotatedPicture(
            name="a/one.jpg",
            size_wh=(310, 200),
            objects=(
                AnnotatedObject(box=(1.5, 2.0, 300.0, 200.0), category="red fox", score=0.75),
                AnnotatedObject(box=(0.0, 0.0, 7.0, 8.25), category="=cat", score=0.125),
            ),
            source=f"{path}:2",
        ),
        AnnotatedPicture(name="-b,c.jpg", size_wh=(31, 20), objects=(), source=f"{path}:4"),
    )
    assert read_annotations(path).categories == ("=cat", "red fox")


def test_boxes_alone_are_read(tmp_path: Path) -> None:
    annotations = read(
        tmp_path, "\ufeffimage,x0,y0,x1,y1\r\na.jpg,1,2,3.5,4\r\n\r\nb/c.jpg,0,0,9,8\r\n./a.jpg,5,5,6,6\r\n"
    )
    assert [(picture.name, picture.size_wh) for picture in annotations.pictures] == [("a.jpg", None), ("b/c.jpg", None)]
    first, second = annotations.pictures
    assert first.objects == (AnnotatedObject(box=(1.0, 2.0, 3.5, 4.0)), AnnotatedObject(box=(5.0, 5.0, 6.0, 6.0)))
    assert second.objects == (AnnotatedObject(box=(0.0, 0.0, 9.0, 8.0)),)
    assert annotations.categories == ()


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    (picture,) = read(tmp_path, "class,y1,x1,y0,x0,image\nfox,4,3,2,1,a.jpg\n").pictures
    assert picture.objects == (AnnotatedObject(box=(1.0, 2.0, 3.0, 4.0), category="fox"),)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ("image,x,y,w,h\n", r"boxes\.csv:1: header 'image,x,y,w,h'; expected image,x0,y0,x1,y1 and any of width,hei"),
        ("", r"boxes\.csv:1: header ''; expected image"),
        ("image,x0,y0,x1,y1,colour\n", r"boxes\.csv:1: header 'image,x0,y0,x1,y1,colour'; expected"),
        ("image,x0,y0,x1,y1,x0\n", r"boxes\.csv:1: header 'image,x0,y0,x1,y1,x0'; expected"),
        ("image,x0,y0,x1,y1\na.jpg,,,,\n", r"boxes\.csv:2: '' is not a finite number"),
        ("image,box,x0,y0,x1,y1\na.jpg,0,,,,\n", r"boxes\.csv:2: '' is not a finite number"),
        ("image,box,x0,y0,x1,y1\na.jpg,,1,2,3,\n", r"boxes\.csv:2: '' is not a finite number"),
        ("image,class_score,x0,y0,x1,y1\na.jpg,high,1,2,3,4\n", r"boxes\.csv:2: 'high' is not a finite number"),
        ("image,status,x0,y0,x1,y1\na.jpg,bad_image,1,2,3,4\n", r"boxes\.csv:2: status 'bad_image'; expected ok"),
        ("image,x0,y0,x1,y1\n../a.jpg,1,2,3,4\n", r"boxes\.csv:2: '\.\./a\.jpg' leads out of the data set"),
        ("image,x0,y0,x1,y1\n'=/../a.jpg,1,2,3,4\n", r"boxes\.csv:2: '=/\.\./a\.jpg' leads out of the data set"),
    ],
)  # fmt: skip
def test_a_broken_table_is_refused_by_line(content: str, refusal: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=refusal):
        read(tmp_path, content)
