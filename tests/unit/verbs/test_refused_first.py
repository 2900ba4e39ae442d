"""Names that a file of the result cannot hold are refused before the first picture is read by the network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_sets import draw_picture, write_folder
from tiny_models import tiny_model
from tscam.config import EvaluateConfig, LocalizeConfig
from tscam.errors import ConfigError, DataError
from tscam.predictors.pytorch import PyTorchPredictor
from tscam.verbs.evaluate import evaluate
from tscam.verbs.localize import localize


@pytest.fixture(autouse=True)
def no_predictions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def predict(*_: object, **__: object) -> None:
        raise AssertionError("a picture was predicted")

    monkeypatch.setattr(PyTorchPredictor, "predict", predict)
    return iter(())


@pytest.mark.parametrize("name", ["a,b.png", "a\nb.png"])
def test_names_that_wsolevaluations_lists_cannot_hold(tmp_path: Path, name: str) -> None:
    drawn = write_folder(tmp_path / "data", splits={"test": 1})
    box = draw_picture(tmp_path / "data" / "test" / "cat" / name)
    rows = [f"{image_id},{','.join(map(str, box))}" for image_id, box in drawn.items()]
    rows.append(f'"test/cat/{name}",{",".join(map(str, box))}')
    (tmp_path / "data" / "boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *rows]))
    config = EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", save_maps=True, device="cpu")
    with pytest.raises(DataError, match="a comma, a line break or a blank at an end, which no such list can express"):
        evaluate(tiny_model(tmp_path / "model"), config)
    assert not (tmp_path / "out").exists()


def test_boxes_that_wsolevaluations_lists_cannot_hold(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 1})
    with (tmp_path / "data" / "boxes.csv").open("a") as file:
        file.write("\ntest/cat/cat_0_0.png,-3,0,5,6\n")
    config = EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", save_maps=True, device="cpu")
    with pytest.raises(DataError, match="leaves the picture; wsolevaluation reads no such box"):
        evaluate(tiny_model(tmp_path / "model"), config)
    assert not (tmp_path / "out").exists()


def test_pictures_that_would_share_an_xml_file(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/1.png", "a/1.jpg.png", "b/1.gif", "c/1.jpg.gif"):
        draw_picture(tmp_path / "pictures" / name)
    config = LocalizeConfig(out=tmp_path / "out", to=("voc",), device="cpu")
    with pytest.raises(DataError, match=r"1\.jpg and a/1\.jpg\.png: both are annotated in .*; rename one of them"):
        localize(tmp_path / "pictures", model=tiny_model(tmp_path / "model"), config=config)
    assert not (tmp_path / "out").exists()


def test_a_format_that_is_not_there(tmp_path: Path) -> None:
    draw_picture(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="no format named 'xml'"):
        localize(
            tmp_path / "a.png", model=tmp_path / "no model", config=LocalizeConfig(out=tmp_path / "out", to=("xml",))
        )
