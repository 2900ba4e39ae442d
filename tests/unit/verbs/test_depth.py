"""A data set of more than eight bits has one range of values: training keeps it, the other verbs take the model's."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_sets import write_folder
from picture_files import deepen
from tiny_models import draw_pictures, tiny_model
from tiny_runs import same_bits, saved_facts, settings
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import save_model
from tscam.config import EvaluateConfig, LocalizeConfig
from tscam.datasets import read_dataset
from tscam.decoding import DecodeSettings, PixelRange
from tscam.drawing import draw
from tscam.errors import WeightsError
from tscam.explainer import Explainer
from tscam.image import read_image
from tscam.localization import Localization, read_localizations
from tscam.training.run.progress import Progress
from tscam.verbs.check import check
from tscam.verbs.evaluate import evaluate
from tscam.verbs.explain import explain
from tscam.verbs.localize import load, localize
from tscam.verbs.train import resume, train

TWELVE_BITS = PixelRange(low=0.0, high=4095.0)


def darken(path: Path, *, divisor: int) -> None:
    words = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert words is not None
    cv2.imwrite(str(path), words // divisor)


def model_with_range(folder: Path, pixel_range: PixelRange | None) -> Path:
    model = load_model(tiny_model(folder))
    model.spec = replace(model.spec, pixel_range=pixel_range)
    save_model(model, folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve bits in 16-bit files; one picture is much darker than the others."""
    write_folder(tmp_path / "data", splits={"train": 4, "test": 3})
    deepen(tmp_path / "data", bits=12)
    darken(tmp_path / "data" / "test" / "cat" / "cat_1_0.png", divisor=8)
    return tmp_path / "data"


def test_training_measures_the_range_and_keeps_it_with_the_model(data: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    run = train(settings(data, tmp_path / "run", samples_every=1), on_note=notes.append)
    for which in ("last", "best"):
        assert saved_facts(run, which)["pixel_range"] == [0.0, 4095.0]
        assert load_model(run / "weights" / which).input_format.pixel_range == TWELVE_BITS
    assert json.loads((run / "run.json").read_text())["pixel_range"] == [0.0, 4095.0]
    assert json.loads((run / "test" / "metrics.json").read_text())["pixel_range"] == [0.0, 4095.0]
    assert "pictures of more than 8 bits: values from 0 to 4095 are black to white; the model keeps this" in notes


def test_training_on_twelve_bits_is_training_on_eight(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"train": 3})
    eight = train(settings(tmp_path / "data", tmp_path / "eight"))
    deepen(tmp_path / "data", bits=12)
    twelve = train(settings(tmp_path / "data", tmp_path / "twelve"))
    assert same_bits(eight, twelve)  # 255 levels of 4096 are scaled to just those levels
    assert "pixel_range" not in saved_facts(eight, "last")
    assert "pixel_range" not in json.loads((eight / "run.json").read_text())


def test_a_run_that_is_resumed_keeps_its_range(data: Path, tmp_path: Path) -> None:
    whole = train(settings(data, tmp_path / "whole", ema=0.9))

    def fail_in_the_second_epoch(progress: Progress) -> None:
        if progress.epoch == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(settings(data, tmp_path / "run", ema=0.9), on_progress=fail_in_the_second_epoch)
    notes: list[str] = []
    run = resume(tmp_path / "run", on_note=notes.append)
    assert same_bits(whole, run)
    assert saved_facts(run, "best")["pixel_range"] == [0.0, 4095.0]
    assert not any("reading all" in note for note in notes)


def test_evaluation_on_twelve_bits_gives_the_ious_of_eight(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 4})
    model = tiny_model(tmp_path / "model")
    lines = []
    for bits in (8, 12):
        if bits == 12:
            deepen(tmp_path / "data", bits=12)
        out = tmp_path / f"out{bits}"
        evaluate(model, EvaluateConfig(data=tmp_path / "data", out=out))
        lines.append([json.loads(line) for line in (out / "per_image.jsonl").read_text().splitlines()])
    assert lines[0] == lines[1]


def test_evaluation_takes_the_range_of_the_model(data: Path, tmp_path: Path) -> None:
    model = model_with_range(tmp_path / "model", PixelRange(low=0.0, high=8191.0))
    evaluation = evaluate(model, EvaluateConfig(data=data, out=tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["pixel_range"] == [0.0, 8191.0]
    assert "0 to 8191" in (tmp_path / "out" / "report.html").read_text()
    assert not any("bits" in note for note in evaluation.notes)


@pytest.mark.parametrize("threshold", [None, "pseudo"])
def test_evaluation_measures_one_range_where_the_model_states_none(
    data: Path, tmp_path: Path, threshold: str | None
) -> None:
    model = tiny_model(tmp_path / "model")
    evaluation = evaluate(model, EvaluateConfig(data=data, out=tmp_path / "out", threshold=threshold))
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["pixel_range"] == [0.0, 4095.0]
    assert evaluation.notes[-1].endswith("and so those of these pictures, 0 to 4095, are black to white")
    # The dark picture is not brightened: its map is that of the range of all.
    dark = read_dataset(data).scaled_by(TWELVE_BITS)
    [expected] = load(model)([dark.read(0)], labels=[int(dark.labels[0])])
    line = json.loads((tmp_path / "out" / "per_image.jsonl").read_text().splitlines()[0])
    assert line["image"] == "test/cat/cat_1_0.png"
    assert json.loads(expected.to_json())["maps"]["0"]["uint8"] == line["map"]["uint8"]


def test_a_data_set_of_eight_bits_has_no_range_in_its_results(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 1})
    evaluation = evaluate(tiny_model(tmp_path / "model"), EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out"))
    assert "pixel_range" not in json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert evaluation.notes == ()


def test_localization_takes_the_range_of_the_model_and_records_it(tmp_path: Path) -> None:
    paths = draw_pictures(tmp_path / "pictures", 2)
    deepen(tmp_path / "pictures", bits=10)
    model = model_with_range(tmp_path / "model", TWELVE_BITS)
    notes: list[str] = []
    out = localize(paths, model=model, config=LocalizeConfig(out=tmp_path / "out", draw=True), on_note=notes.append)
    assert notes == []
    for localization in read_localizations(out / "localizations.jsonl"):
        assert localization.pixel_range == TWELVE_BITS
        levels = read_image(localization.image, settings=DecodeSettings(pixel_range=TWELVE_BITS))
        in_memory = replace(load(tiny_model(tmp_path / "other"))(levels), image=localization.image)
        assert as_line(localization) == as_line(in_memory)
        # Drawn as it was localized, a quarter as bright.
        drawn = draw(localization)
        assert drawn.tobytes() == draw(localization, picture=levels).tobytes()


def as_line(localization: Localization) -> dict[str, object]:
    fields: dict[str, object] = json.loads(localization.to_json())
    return {key: value for key, value in fields.items() if key != "pixel_range"}


def test_localization_scales_each_picture_by_itself_where_the_model_states_none_and_says_so(tmp_path: Path) -> None:
    paths = draw_pictures(tmp_path / "pictures", 3)
    deepen(tmp_path / "pictures", bits=12)
    darken(paths[1], divisor=4)
    draw_pictures(tmp_path / "pictures", 1)  # eight bits again
    notes: list[str] = []
    out = localize(
        paths, model=tiny_model(tmp_path / "model"), config=LocalizeConfig(out=tmp_path / "out"), on_note=notes.append
    )
    ranges = [localization.pixel_range for localization in read_localizations(out / "localizations.jsonl")]
    assert ranges == [None, PixelRange(low=0.0, high=1023.0), TWELVE_BITS]
    assert notes == [
        "2 pictures of more than 8 bits are each scaled by the range of their own values, since the model states "
        f"none: the first, {paths[1]} by 0 to 1023"
    ]
    lines = [json.loads(line) for line in (out / "localizations.jsonl").read_text().splitlines()]
    assert ["pixel_range" in line for line in lines] == [False, True, True]


def test_an_explanation_says_which_range_it_took(tmp_path: Path) -> None:
    [path] = draw_pictures(tmp_path / "pictures", 1)
    deepen(tmp_path / "pictures", bits=12)
    model = tiny_model(tmp_path / "model")
    assert Explainer(model)(path).pixel_range == TWELVE_BITS
    notes: list[str] = []
    explain(path, model=model, out=tmp_path / "out", on_note=notes.append)
    assert notes == [
        "the picture has more than 8 bits, and the model states no range of values: those from 0 to 4095 are black "
        "to white"
    ]
    notes.clear()
    shutil.rmtree(model)
    explain(path, model=model_with_range(model, TWELVE_BITS), out=tmp_path / "other", on_note=notes.append)
    assert notes == []


def test_a_model_folder_without_a_range_is_read_and_one_with_a_broken_range_is_refused(tmp_path: Path) -> None:
    folder = model_with_range(tmp_path / "model", TWELVE_BITS)
    config = folder / "config.json"
    content = json.loads(config.read_text())
    assert content["tscam"].pop("pixel_range") == [0.0, 4095.0]
    config.write_text(json.dumps(content))
    assert load_model(folder).input_format.pixel_range is None
    for broken in ([1, 1], [0], "0-4095", {"low": 0}, [0, "x"], [0, 1e999], [[0], 1]):
        content["tscam"]["pixel_range"] = broken
        config.write_text(json.dumps(content))
        with pytest.raises(WeightsError, match=r"config\.json: not the config of a model folder \(ValueError: pixel r"):
            load_model(folder)


def test_check_names_the_range_that_training_takes(data: Path) -> None:
    assert "21 pictures of more than 8 bits: values from 0 to 4095 are black to white" in check(data).describe()


def test_reading_by_a_range_leaves_no_picture_out_of_it(data: Path) -> None:
    dataset = read_dataset(data, split="test").scaled_by(TWELVE_BITS)
    dark, bright = np.asarray(dataset.read(0)), np.asarray(dataset.read(1))
    assert dark.max() < 34
    assert bright.max() > 240
