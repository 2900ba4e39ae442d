"""Pascal VOC's XML: written to the element, read back by supervision, which has the same convention of pixels."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from supervision.dataset.formats.pascal_voc import load_pascal_voc_annotations

from data_sets import write_xml
from tscam.errors import DataError
from tscam.formats import AnnotatedObject, read_annotations, write_annotations
from tscam.localization import Localization, LocalizedObject

Box = tuple[float, float, float, float]
WIDTH, HEIGHT = 310, 200


def localized(image: str, *boxes: Box, label: str = "fox") -> Localization:
    objects = tuple(LocalizedObject(label=label, class_id=2, score=0.5, box=box) for box in boxes)
    return Localization(image=image, width=WIDTH, height=HEIGHT, status="ok", reason="", objects=objects)


def written(tmp_path: Path, *images: str, label: str = "fox") -> list[str]:
    paths = write_annotations(
        [localized(image, (1.0, 2.0, 3.0, 4.0), label=label) for image in images], tmp_path / "out", to="voc"
    )
    return [path.relative_to(tmp_path / "out").as_posix() for path in paths]


def test_the_file_is_what_the_format_says_to_the_element(tmp_path: Path) -> None:
    pictures = [localized("set/a/one.jpg", (1.4, 2.6, 4.4, 7.6), (-5.0, 190.0, 999.0, 220.0)), localized("set/two.png")]
    one, two = write_annotations(pictures, tmp_path, to="voc")
    assert one == tmp_path / "Annotations" / "one.xml"
    assert one.read_text() == (
        "<annotation>\n"
        "  <folder>a</folder>\n"
        "  <filename>one.jpg</filename>\n"
        "  <size><width>310</width><height>200</height><depth>3</depth></size>\n"
        "  <segmented>0</segmented>\n"
        "  <object><name>fox</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        "<bndbox><xmin>2</xmin><ymin>4</ymin><xmax>4</xmax><ymax>8</ymax></bndbox></object>\n"
        "  <object><name>fox</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        "<bndbox><xmin>1</xmin><ymin>191</ymin><xmax>310</xmax><ymax>200</ymax></bndbox></object>\n"
        "</annotation>\n"
    )
    assert ET.fromstring(two.read_text()).findall("object") == []


edge_pairs = [
    st.tuples(st.floats(0, length - 1), st.floats(1, length)).map(lambda pair: (pair[0], max(pair[1], pair[0] + 1)))
    for length in (WIDTH, HEIGHT)
]
boxes = st.tuples(*edge_pairs).map(lambda pairs: (pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]))


@settings(max_examples=50, deadline=None)
@given(drawn=st.lists(boxes, min_size=1, max_size=5))
def test_supervision_reads_the_boxes_to_half_a_pixel(
    drawn: list[Box], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("voc")
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "a.jpg")
    write_annotations([localized(str(folder / "a.jpg"), *drawn)], folder, to="voc")
    classes, _, annotations = load_pascal_voc_annotations(str(folder), str(folder / "Annotations"))
    (detections,) = annotations.values()
    assert classes == ["fox"]
    assert np.abs(detections.xyxy - np.array(drawn)).max() <= 0.5
    (picture,) = read_annotations(folder).pictures
    assert detections.xyxy.tolist() == [list(annotated.box) for annotated in picture.objects]


def test_the_first_pixel_is_one_and_the_last_is_inside(tmp_path: Path) -> None:
    write_xml(tmp_path / "a.xml", [("cat", (1, 1, 1, 1)), ("", (5, 3, 20, 9))])
    annotations = read_annotations(tmp_path / "a.xml")
    assert annotations.pictures[0].objects == (
        AnnotatedObject(box=(0.0, 0.0, 1.0, 1.0), category="cat"),
        AnnotatedObject(box=(4.0, 2.0, 20.0, 9.0)),
    )
    assert annotations.categories == ("cat",)


def test_size_and_difficult_are_kept(tmp_path: Path) -> None:
    bndbox = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
    objects = "".join(f"<object><name>cat</name>{flag}{bndbox}</object>" for flag in (
        "<difficult>1</difficult>", "<difficult> 0 </difficult>", "<difficult/>", "")
    )  # fmt: skip
    (tmp_path / "a.xml").write_text(
        f"<annotation><size><width>31</width><height>20</height></size>{objects}</annotation>"
    )
    (picture,) = read_annotations(tmp_path).pictures
    assert picture.size_wh == (31, 20)
    assert [annotated.difficult for annotated in picture.objects] == [True, False, False, False]


@pytest.mark.parametrize(
    ("file_name", "name"),
    [("one.jpg", "a/one.jpg"), ("set/one.PNG", "a/one.PNG"), ("", "a/one"), ("other.jpg", "a/one"), ("one", "a/one"),
     ("one.txt", "a/one"), ("../one.jpg", "a/one.jpg")],
)  # fmt: skip
def test_a_picture_is_named_by_its_xml_file_and_by_a_file_name_of_the_same_stem(
    file_name: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "Annotations" / "a").mkdir(parents=True)
    (tmp_path / "Annotations" / "a" / "one.xml").write_text(
        f"<annotation><filename>{file_name}</filename></annotation>"
    )
    (picture,) = read_annotations(tmp_path).pictures
    assert (picture.name, picture.size_wh, picture.objects) == (name, None, ())


def test_pictures_that_share_a_stem_are_written_by_their_path(tmp_path: Path) -> None:
    assert written(tmp_path, "set/a/1.jpg", "set/b/1.png", "set/a/2.jpg", "set/b/c/3.JPG", "set/B/3.jpg") == [
        "Annotations/a/1.xml", "Annotations/b/1.xml", "Annotations/2.xml", "Annotations/b/c/3.xml",
        "Annotations/B/3.xml",
    ]  # fmt: skip


def test_pictures_that_share_path_and_stem_are_written_by_their_whole_name(tmp_path: Path) -> None:
    assert written(tmp_path, "set/a/1.jpg", "set/a/1.png", "set/b/1.jpg") == [
        "Annotations/a/1.jpg.xml", "Annotations/a/1.png.xml", "Annotations/b/1.xml",
    ]  # fmt: skip
    names = [picture.name for picture in read_annotations(tmp_path / "out").pictures]
    assert names == ["a/1.jpg", "a/1.png", "b/1.jpg"]


def test_two_pictures_of_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"^1\.jpg and 1\.jpg\.png: both are annotated in Annotations/1\.jpg\.xml; renam"
    ):
        written(tmp_path, "set/1.jpg", "set/1.png", "set/1.jpg.png")
    assert not (tmp_path / "out").exists()


def test_what_xml_cannot_express_becomes_an_escape(tmp_path: Path) -> None:
    written(tmp_path, "a.jpg", label="a\0\x1b\ufffe\udcff\r<b>")
    (picture,) = read_annotations(tmp_path / "out").pictures
    assert picture.objects[0].category == "a\\x00\\x1b\\ufffe\\udcff\r<b>"


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ('<!DOCTYPE a [<!ENTITY a "a">]><a>&a;</a>', r"a\.xml: contains a document type; expected plain XML"),
        ("<a><object/></a>", r"a\.xml: object 1: '' is not a finite number"),
        ("<a><object><difficult>yes</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
         "</object></a>", r"a\.xml: object 1: difficult: 'yes'; expected 0 or 1"),
        ("<a><object><bndbox><xmin>3</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object></a>",
         r"a\.xml: object 1: box \(3, 1, 2, 2\) runs backwards"),
    ],
)  # fmt: skip
def test_broken_xml_is_refused_by_object(content: str, refusal: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(DataError, match=refusal):
        read_annotations(tmp_path)
