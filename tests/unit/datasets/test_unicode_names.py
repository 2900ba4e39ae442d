"""Names that a Mac has decomposed (NFD) are the composed ones (NFC): folders, lists, annotations, labels and models."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_sets import coco_content, draw_picture, write_xml
from tiny_models import tiny_model
from tiny_runs import splits_of
from tscam.config import EvaluateConfig, TrainConfig
from tscam.datasets import check_dataset, read_dataset
from tscam.errors import ConfigError
from tscam.evaluation.comparison import compare_evaluations
from tscam.evaluation.score_maps import map_path, write_map
from tscam.localizer import find_class, find_pictures
from tscam.names import OnDisk
from tscam.verbs.evaluate import evaluate

FORMS = ("NFC", "NFD")
mixed = pytest.mark.parametrize(("disk", "listed"), [(one, other) for one in FORMS for other in FORMS])


def spelled(text: str, form: str) -> str:
    return unicodedata.normalize(form, text)  # type: ignore[arg-type]


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def test_a_class_whose_folders_are_spelled_differently_is_one_class(tmp_path: Path) -> None:
    draw_picture(tmp_path / "train" / spelled("bär", "NFC") / "a.png")
    draw_picture(tmp_path / "test" / spelled("bär", "NFD") / "b.png")
    draw_picture(tmp_path / "train" / "cat" / "c.png", class_id=1)
    dataset = read_dataset(tmp_path, split="test")
    assert dataset.class_names == ("bär", "cat")
    assert dataset.labels.tolist() == [0]
    assert dataset.path(0).is_file()
    assert not check_dataset(tmp_path).untrained_classes


def test_classes_and_pictures_have_the_same_order_however_they_are_spelled(tmp_path: Path) -> None:
    orders = []
    for form in FORMS:
        for name in ("zebra", "äffin", "affe", "ülmer"):
            for picture in ("ä1.png", "az.png"):
                draw_picture(tmp_path / form / spelled(name, form) / spelled(picture, form))
        dataset = read_dataset(tmp_path / form)
        assert dataset.class_names == ("affe", "zebra", "äffin", "ülmer")
        orders.append([composed(image_id) for image_id in dataset.image_ids])
        assert [composed(path.name) for path in find_pictures(tmp_path / form)] == ["az.png", "ä1.png"] * 4
    assert orders[0] == orders[1]


@mixed
@pytest.mark.parametrize("kind", ["csv", "coco", "voc"])
def test_boxes_find_their_pictures_and_classes(tmp_path: Path, disk: str, listed: str, kind: str) -> None:
    box = draw_picture(tmp_path / spelled("bär", disk) / spelled("größe é.png", disk))
    name, category = spelled("bär/größe é.png", listed), spelled("bär", listed)
    if kind == "csv":
        edges = ",".join(map(str, box))
        (tmp_path / "boxes.csv").write_text(f"image,class,x0,y0,x1,y1\n{name},{category},{edges}\n", encoding="utf-8")
    elif kind == "coco":
        content = coco_content({name: box})
        content["categories"] = [{"id": 1, "name": category}, {"id": 2, "name": "person"}]
        (tmp_path / "annotations.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    else:
        x0, y0, x1, y1 = box
        write_xml(tmp_path / "Annotations" / f"{Path(name).stem}.xml", [(category, (x0 + 1, y0 + 1, x1, y1))])
    dataset = read_dataset(tmp_path)
    assert dataset.boxes is not None
    assert [boxes.tolist() for boxes in dataset.boxes] == [[list(box)]]
    assert not dataset.notes


@mixed
def test_lists_of_cub_find_pictures_and_masks(tmp_path: Path, disk: str, listed: str) -> None:
    draw_picture(tmp_path / "images" / spelled("001.Bär/é.jpg", disk))
    draw_picture(tmp_path / "segmentations" / spelled("001.Bär/é.png", disk))
    rows = {"images": spelled("1 001.Bär/é.jpg", listed), "classes": spelled("1 001.Bär", listed)}
    rows |= {"image_class_labels": "1 1", "train_test_split": "1 1", "bounding_boxes": "1 1 2 3 4"}
    for name, row in rows.items():
        (tmp_path / f"{name}.txt").write_text(row, encoding="utf-8")
    dataset = read_dataset(tmp_path, split="train")
    assert dataset.class_names == ("001.Bär",)
    assert dataset.path(0).is_file()
    assert dataset.masks is not None
    assert dataset.masks[0].objects[0].is_file()


@mixed
def test_lists_of_wsolevaluation_find_pictures_and_masks_and_one_another(
    tmp_path: Path, disk: str, listed: str
) -> None:
    for name in ("é.jpg", "é_mask.png"):
        draw_picture(tmp_path / "dataset" / "OWN" / spelled(f"bär/{name}", disk))
    folder = tmp_path / "metadata" / "OWN" / "test"
    folder.mkdir(parents=True)
    image = spelled("bär/é.jpg", listed)
    (folder / "image_ids.txt").write_text(image, encoding="utf-8")
    (folder / "class_labels.txt").write_text(spelled(image, disk) + ",0", encoding="utf-8")
    (folder / "localization.txt").write_text(f"{image},{spelled('bär/é_mask.png', listed)},", encoding="utf-8")
    dataset = read_dataset(tmp_path)
    assert dataset.class_names == ("bär",)
    assert dataset.path(0).is_file()
    assert dataset.masks is not None
    assert dataset.masks[0].objects[0].is_file()


@mixed
def test_lists_and_annotations_of_imagenet_find_pictures(tmp_path: Path, disk: str, listed: str) -> None:
    for split in ("train", "val"):
        draw_picture(tmp_path / split / "n01440764" / spelled("é.JPEG", disk))
    (tmp_path / "ILSVRC2012_list").mkdir()
    rows = spelled("n01440764/é.JPEG 0", listed)
    (tmp_path / "ILSVRC2012_list" / "train.txt").write_text(rows, encoding="utf-8")
    write_xml(tmp_path / "Annotations" / "val" / f"{spelled('é', listed)}.xml", [("n01440764", (1, 2, 30, 20))])
    assert read_dataset(tmp_path, split="train").path(0).is_file()
    boxes = read_dataset(tmp_path, split="val").boxes
    assert boxes is not None
    assert [len(each) for each in boxes] == [1]


@mixed
def test_labels_are_found(disk: str, listed: str) -> None:
    names = ("cat", spelled("bär", disk))
    assert find_class(spelled("bär", listed), names) == 1
    with pytest.raises(ConfigError, match="2 classes are named"):
        find_class(spelled("bär", listed), (*names, spelled("bär", listed)))


@mixed
def test_a_model_knows_its_classes_in_data_from_a_mac(tmp_path: Path, disk: str, listed: str) -> None:
    for name in ("bär", "cat"):
        box = draw_picture(tmp_path / "data" / "test" / spelled(name, disk) / "a.png")
    rows = [f"test/{spelled(name, listed)}/a.png,{','.join(map(str, box))}" for name in ("bär", "cat")]
    (tmp_path / "data" / "boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *rows]), encoding="utf-8")
    model = tiny_model(tmp_path / "model", label_names=[spelled("bär", listed), "cat"])
    evaluate(model, EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", device="cpu"))


@mixed
def test_maps_are_found_and_evaluations_compared(tmp_path: Path, disk: str, listed: str) -> None:
    for folder, form in (("one", disk), ("two", listed)):
        image_id = f"test/{spelled('bär', form)}/é.png"
        box = draw_picture(tmp_path / folder / "data" / image_id)
        rows = f"image,x0,y0,x1,y1\n{image_id},{','.join(map(str, box))}\n"
        (tmp_path / folder / "data" / "boxes.csv").write_text(rows, encoding="utf-8")
        map_ = np.random.default_rng(0).random((224, 224)).astype(np.float32)
        write_map(map_path(tmp_path / folder / "maps", f"test/{spelled('bär', listed)}/é.png"), map_)
        evaluate(
            None,
            EvaluateConfig(
                data=tmp_path / folder / "data", maps=tmp_path / folder / "maps", out=tmp_path / folder / "out"
            ),
        )
    assert compare_evaluations(tmp_path / "one" / "out", tmp_path / "two" / "out").pictures == 1


def test_a_run_goes_on_when_its_data_were_copied_through_a_mac(tmp_path: Path) -> None:
    hashes = []
    for form in FORMS:
        for class_id, name in enumerate(("bär", "cat")):
            for number in range(6):
                path = tmp_path / form / spelled(name, form) / f"é{number}.png".replace("é", spelled("é", form))
                draw_picture(path, class_id=class_id, seed=number)
        config = TrainConfig(data=tmp_path / form, out=tmp_path / "run")
        hashes.append(splits_of(config).data_hash())
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("listed", FORMS)
def test_of_two_pictures_whose_names_differ_in_the_form_the_one_of_the_same_spelling_is_meant(
    tmp_path: Path, listed: str
) -> None:
    for form in FORMS:
        draw_picture(tmp_path / "cat" / spelled("é.png", form))
    row = spelled("cat/é.png,1,2,3,4", listed)
    (tmp_path / "boxes.csv").write_text(f"image,x0,y0,x1,y1\n{row}\n", encoding="utf-8")
    dataset = read_dataset(tmp_path)
    counts = {image_id: len(boxes) for image_id, boxes in zip(dataset.image_ids, dataset.boxes or (), strict=True)}
    assert counts == {spelled("cat/é.png", form): int(form == listed) for form in FORMS}


def test_the_spelling_on_disk_is_found_at_every_level_of_a_path(tmp_path: Path) -> None:
    Image.new("L", (3, 4)).save(_folder(tmp_path / spelled("é", "NFD") / spelled("ü", "NFC")) / spelled("ö.png", "NFD"))
    find = OnDisk(tmp_path)
    assert (tmp_path / find(spelled("é/ü/ö.png", "NFC"))).is_file()
    assert (tmp_path / find(spelled("é/ü/ö.png", "NFD"))).is_file()
    assert find(spelled("é/ü/ä.png", "NFC")) == f"{spelled('é', 'NFD')}/{spelled('ü/ä.png', 'NFC')}"
    assert find("plain.png") == "plain.png"


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
