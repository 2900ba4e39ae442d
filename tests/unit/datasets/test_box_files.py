"""Files of boxes as people have them: spelling of paths, separators, beside the pictures, COCO by Roboflow, YOLO."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image

from data_sets import Box, coco_content, draw_picture, write_folder, write_xml
from tscam.datasets import check_dataset, read_dataset
from tscam.errors import DataError


def boxes_by_id(root: Path, split: str | None = None) -> dict[str, list[list[float]]]:
    dataset = read_dataset(root, split=split)
    assert dataset.boxes is not None
    return {image_id: boxes.tolist() for image_id, boxes in zip(dataset.image_ids, dataset.boxes, strict=True)}


def assert_boxes(root: Path, drawn: Mapping[str, Box], *, split: str | None = None, within: float = 0) -> None:
    """The boxes are those drawn, and every file was read."""
    boxes = boxes_by_id(root, split)
    assert set(boxes) == set(drawn)
    for image_id, box in drawn.items():
        assert boxes[image_id] == [pytest.approx(box, abs=within)], image_id
    assert not [note for note in read_dataset(root, split=split).notes if "boxes" not in note]


def csv_rows(names: Mapping[str, str], drawn: Mapping[str, Box], *, separator: str = ",") -> str:
    rows = [["image", "x0", "y0", "x1", "y1"], *([names[image_id], *map(str, box)] for image_id, box in drawn.items())]
    return "\n".join(separator.join(row) for row in rows)


def drawn_in(drawn: Mapping[str, Box], split: str) -> dict[str, Box]:
    return {image_id: box for image_id, box in drawn.items() if image_id.startswith(f"{split}/")}


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda image_id: image_id,
    "backslashes": lambda image_id: image_id.replace("/", "\\"),
    "bare": lambda image_id: image_id.rpartition("/")[2],
    "with a dot": lambda image_id: f"./{image_id}",
    "backslashes and a dot": lambda image_id: ".\\" + image_id.replace("/", "\\"),
}
spellings = pytest.mark.parametrize("spelling", SPELLINGS)


@spellings
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_names_pictures_in_any_spelling_and_separates_by_any_usual_character(
    tmp_path: Path, spelling: str, separator: str
) -> None:
    drawn = write_folder(tmp_path, splits={"train": 2, "test": 1}, boxes=None)
    names = {image_id: SPELLINGS[spelling](image_id) for image_id in drawn}
    (tmp_path / "boxes.csv").write_text(csv_rows(names, drawn, separator=separator))
    for split in ("train", "test"):
        assert_boxes(tmp_path, drawn_in(drawn, split), split=split)


@spellings
@pytest.mark.parametrize("place", ["", "test/"])
@pytest.mark.parametrize("name", ["annotations.json", "_annotations.coco.json"])
def test_coco_names_pictures_in_any_spelling_in_the_root_or_in_the_split(
    tmp_path: Path, spelling: str, place: str, name: str
) -> None:
    drawn = write_folder(tmp_path, splits={"test": 2}, boxes=None)
    content = coco_content({SPELLINGS[spelling](image_id.removeprefix(place)): box for image_id, box in drawn.items()})
    (tmp_path / place / name).write_text(json.dumps(content))
    assert_boxes(tmp_path, drawn)


def test_a_file_in_the_split_may_name_pictures_from_the_root(tmp_path: Path) -> None:
    drawn = write_folder(tmp_path, splits={"test": 2}, boxes=None)
    (tmp_path / "test" / "_annotations.coco.json").write_text(json.dumps(coco_content(drawn)))
    assert_boxes(tmp_path, drawn)


@pytest.mark.parametrize("name", ["instances_{}.json", "instances_{}2017.json"])
def test_coco_files_of_each_split_are_read_for_their_split(tmp_path: Path, name: str) -> None:
    drawn = write_folder(tmp_path, splits={"train": 2, "valid": 1}, boxes=None)
    (tmp_path / "annotations").mkdir()
    for split, folder in (("train", "train"), ("val", "valid")):
        content = coco_content(drawn_in(drawn, folder))
        (tmp_path / "annotations" / name.format(split)).write_text(json.dumps(content))
    assert_boxes(tmp_path, drawn_in(drawn, "train"), split="train")
    assert_boxes(tmp_path, drawn_in(drawn, "valid"), split="val")


def test_one_coco_file_of_all_pictures_is_read_for_every_split(tmp_path: Path) -> None:
    drawn = write_folder(tmp_path, splits={"train": 2, "test": 1}, boxes=None)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_default.json").write_text(json.dumps(coco_content(drawn)))
    assert_boxes(tmp_path, drawn_in(drawn, "test"), split="test")


@spellings
def test_a_bare_name_of_several_pictures_is_refused(tmp_path: Path, spelling: str) -> None:
    for folder in ("cat", "dog"):
        draw_picture(tmp_path / folder / "1.png")
    (tmp_path / "boxes.csv").write_text(f"image,x0,y0,x1,y1\n{SPELLINGS[spelling]('cat/1.png')},1,2,3,4\n")
    if spelling == "bare":
        with pytest.raises(DataError, match=r"boxes\.csv:2: '1\.png' names several pictures of"):
            read_dataset(tmp_path)
    else:
        assert boxes_by_id(tmp_path) == {"cat/1.png": [[1, 2, 3, 4]], "dog/1.png": []}


def test_a_bare_name_is_unique_in_the_folder_of_the_file(tmp_path: Path) -> None:
    drawn = write_folder(tmp_path, splits={"train": 1, "test": 1}, boxes=None)
    for image_id in list(drawn):
        (tmp_path / image_id).rename(tmp_path / image_id.replace("_0_0", "").replace("_1_0", ""))
    test = {image_id.replace("_1_0", ""): box for image_id, box in drawn_in(drawn, "test").items()}
    (tmp_path / "test" / "boxes.csv").write_text(csv_rows({name: name.rpartition("/")[2] for name in test}, test))
    assert_boxes(tmp_path, test)


def test_a_name_with_another_folder_is_not_taken_by_its_last_part(tmp_path: Path) -> None:
    draw_picture(tmp_path / "cat" / "1.png")
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\nowl\\1.png,1,2,3,4\n")
    with pytest.raises(DataError, match=r"'owl\\\\1\.png' names no picture of"):
        read_dataset(tmp_path)


def test_a_name_with_backslashes_that_a_picture_has_is_this_picture(tmp_path: Path) -> None:
    draw_picture(tmp_path / "cat" / "a\\b.png")
    draw_picture(tmp_path / "cat" / "a" / "b.png")
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\ncat/a\\b.png,1,2,3,4\n")
    assert boxes_by_id(tmp_path) == {"cat/a/b.png": [], "cat/a\\b.png": [[1, 2, 3, 4]]}


# Pascal VOC beside the pictures


@pytest.mark.parametrize("splits", [None, {"train": 2, "test": 1}])
def test_xml_beside_its_picture_is_read(tmp_path: Path, splits: dict[str, int] | None) -> None:
    drawn = write_folder(tmp_path, splits=splits, boxes=None)
    for image_id, (x0, y0, x1, y1) in drawn.items():
        write_xml((tmp_path / image_id).with_suffix(".xml"), [("object", (x0 + 1, y0 + 1, x1, y1))])
    assert_boxes(tmp_path, drawn_in(drawn, "test") if splits else drawn)
    assert check_dataset(tmp_path).splits[-1].with_boxes == 3 * (1 if splits else 2)


def test_pictures_of_one_name_have_xml_beside_each(tmp_path: Path) -> None:
    drawn: dict[str, Box] = {}
    for name in ("cat/1.png", "dog/1.png", "dog/deep/1.png"):
        x0, y0, x1, y1 = drawn[name] = draw_picture(tmp_path / name, seed=len(drawn))
        write_xml((tmp_path / name).with_suffix(".xml"), [(name.split("/")[0], (x0 + 1, y0 + 1, x1, y1))])
    assert_boxes(tmp_path, drawn)


def test_xml_beside_no_picture_is_named(tmp_path: Path) -> None:
    drawn = write_folder(tmp_path, class_names=("cat",), boxes=None)
    x0, y0, x1, y1 = drawn["cat/cat_0_0.png"]
    write_xml(tmp_path / "cat" / "cat_0_0.xml", [("cat", (x0 + 1, y0 + 1, x1, y1))])
    write_xml(tmp_path / "cat" / "gone.xml", [("cat", (1, 1, 5, 6))])
    assert read_dataset(tmp_path).notes == ("split 'all': looks like annotations, not read: 1 (cat/gone.xml)",)


def test_boxes_of_two_kinds_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("cat",), boxes="csv")
    write_xml(tmp_path / "cat" / "cat_0_0.xml", [("cat", (1, 1, 5, 6))])
    with pytest.raises(
        DataError, match=r"boxes\.csv and .*\.xml files beside the pictures both contain boxes; keep one"
    ):
        read_dataset(tmp_path)


# YOLO


def yolo_row(image: Path, box: Box, *, class_id: int, is_polygon: bool = False) -> str:
    with Image.open(image) as picture:
        width, height = picture.size
    x0, y0, x1, y1 = box[0] / width, box[1] / height, box[2] / width, box[3] / height
    if is_polygon:
        return f"{class_id} {x0:.6f} {(y0 + y1) / 2:.6f} {x1:.6f} {y0:.6f} {(x0 + x1) / 2:.6f} {y1:.6f}"
    return f"{class_id} {(x0 + x1) / 2:.6f} {(y0 + y1) / 2:.6f} {x1 - x0:.6f} {y1 - y0:.6f}"


def label_path(image_id: str, place: str) -> str:
    """The path of a picture's labels: beside it, or in a folder `labels` of the root or of the split."""
    stem = image_id.rpartition(".")[0]
    head, _, rest = stem.partition("/")
    name = rest.rpartition("/")[2]
    return {
        "beside": f"{stem}.txt", "root": f"labels/{stem}.txt", "split": f"{head}/labels/{rest}.txt",
        "split, bare": f"{head}/labels/{name}.txt", "root, bare": f"labels/{name}.txt",
    }[place]  # fmt: skip


NAMES = {
    "data.yaml": "path: ../x\nnames:\n  0: emu\n  1: cat\n  2: dog\n  3: person\n",
    "data.yml": "names: [emu, cat, dog, person]\nnc: 4\n",
    "classes.txt": "emu\ncat\n\ndog\nperson\n".replace("\n\n", "\n"),
    "obj.names": "emu\ncat\ndog\nperson",
}


@pytest.mark.parametrize("is_polygon", [False, True])
@pytest.mark.parametrize("place", ["beside", "root", "split", "split, bare", "root, bare"])
@pytest.mark.parametrize("names", NAMES)
def test_yolo_labels_are_read(tmp_path: Path, names: str, place: str, *, is_polygon: bool) -> None:
    drawn = write_folder(tmp_path, splits={"train": 1, "test": 1}, boxes=None)
    class_ids = {"emu": 0, "cat": 1, "dog": 2}
    (tmp_path / names).write_text(NAMES[names])
    for image_id, box in drawn.items():
        path = tmp_path / label_path(image_id, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        row = yolo_row(tmp_path / image_id, box, class_id=class_ids[image_id.split("/")[1]], is_polygon=is_polygon)
        path.write_text(f"{row}\n3 0.5 0.5 0.9 0.9\n")
    for split in ("train", "test"):
        assert_boxes(tmp_path, drawn_in(drawn, split), split=split, within=1e-3)
        assert "3 of another category ('person' 3)" in read_dataset(tmp_path, split=split).notes[0]


def test_labels_are_relative_to_the_picture_as_displayed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (80, 40)).save(tmp_path / "cat" / "a.jpg", exif=exif)
    (tmp_path / "cat" / "a.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "cat" / "classes.txt").write_text("cat")
    assert boxes_by_id(tmp_path) == {"cat/a.jpg": [[10, 20, 30, 60]]}


def test_an_empty_file_of_labels_is_a_picture_without_object(tmp_path: Path) -> None:
    drawn = write_folder(tmp_path, class_names=("cat",), boxes=None)
    (tmp_path / "classes.txt").write_text("cat")
    (tmp_path / "cat" / "cat_0_0.txt").write_text(
        yolo_row(tmp_path / "cat/cat_0_0.png", drawn["cat/cat_0_0.png"], class_id=0)
    )
    (tmp_path / "cat" / "cat_0_1.txt").touch()
    dataset = read_dataset(tmp_path)
    assert dataset.describe_gaps()[0].startswith("split 'all': 1 of 2 pictures have an object")


def test_text_without_names_of_classes_is_named_and_not_read(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("cat",), boxes=None)
    (tmp_path / "cat" / "cat_0_0.txt").write_text("0 0.5 0.5 0.5 0.5")
    dataset = read_dataset(tmp_path)
    assert dataset.boxes is None
    assert dataset.notes == ("split 'all': looks like annotations, not read: 1 (cat/cat_0_0.txt)",)


def test_labels_of_a_vanished_picture_are_refused_by_name(tmp_path: Path) -> None:
    write_folder(tmp_path, class_names=("cat",), boxes=None)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "gone.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_text("names: [cat]")
    with pytest.raises(DataError, match=r"labels/gone\.txt: 'gone' names no picture of"):
        read_dataset(tmp_path)
