"""`open_predictor` opens anything that names a model, and a model in memory: the same outputs, and the facts."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fake_hub import Repository, running_hub
from tiny_models import tiny_model
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import save_model
from tscam.checkpoints.source import resolve
from tscam.errors import ConfigError, WeightsError
from tscam.predictor import ModelFacts, Predictor
from tscam.predictors import open_predictor

PIXELS = np.random.default_rng(3).standard_normal((2, 3, 32, 32)).astype(np.float32)
ORACLE = "oracle (epoch of best gt_known_loc on split 'test')"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(load_model(tiny_model(tmp_path / "model")), tmp_path / "model", metrics={"selection": ORACLE})
    return tmp_path / "model"


def facts(name: object, *, selection: str = ORACLE) -> ModelFacts:
    return ModelFacts(
        model=str(name), backbone="vit_tiny_patch16_224", method="ts-cam", method_args={}, view_wh=(32, 32),
        selection=selection,
    )  # fmt: skip


def assert_same_maps(ours: Predictor, theirs: Predictor) -> None:
    for one, other in zip(ours.predict(PIXELS, top_k=2), theirs.predict(PIXELS, top_k=2), strict=True):
        assert one.classes.tolist() == other.classes.tolist()
        assert np.array_equal(one.maps, other.maps)


def test_a_path_its_text_a_source_and_the_hub_give_the_same_model_under_its_name(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_path = open_predictor(model, device="cpu")
    assert by_path.facts == facts(model)
    for named in (str(model), resolve(model)):
        predictor = open_predictor(named, device="cpu")
        assert predictor.facts == facts(model)
        assert_same_maps(predictor, by_path)
    with running_hub(monkeypatch, tmp_path / "cache") as hub:
        hub.repositories["user/name"] = Repository.of_folder(model)
        predictor = open_predictor("hf-hub:user/name@v1", device="cpu")
    assert predictor.facts == facts("hf-hub:user/name@v1")
    assert_same_maps(predictor, by_path)


def test_the_facts_about_a_run_are_those_of_its_best_weights(model: Path, tmp_path: Path) -> None:
    best = tmp_path / "run" / "weights" / "best"
    shutil.copytree(model, best)
    assert open_predictor(tmp_path / "run", device="cpu").facts == facts(tmp_path / "run")


def test_a_model_in_memory_has_no_name_and_no_selection(model: Path) -> None:
    predictor = open_predictor(load_model(model).train(), device="cpu")
    assert predictor.facts == facts("in memory", selection="")
    assert_same_maps(predictor, open_predictor(model, device="cpu"))


def test_stored_models_and_models_in_memory_are_read_by_another_method(model: Path) -> None:
    for subject in (model, load_model(model)):
        predictor = open_predictor(subject, method="attention", method_args={"layers": (1,)}, device="cpu")
        assert (predictor.facts.method, predictor.facts.method_args) == ("attention", {"layers": (1,)})
        with pytest.raises(ConfigError, match="no method named 'tscam'; did you mean 'ts-cam'"):
            open_predictor(subject, method="tscam", device="cpu")


def test_facts_are_json_and_leave_out_what_is_unknown() -> None:
    named = facts("runs/a")
    assert named.to_json() == {
        "model": "runs/a", "backbone": "vit_tiny_patch16_224", "method": "ts-cam", "method_args": {}, "view": [32, 32],
        "selection": ORACLE,
    }  # fmt: skip
    assert "selection" not in facts("runs/a", selection="").to_json()


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file or folder; a MODEL is a model folder"):
        open_predictor(tmp_path / "missing")
