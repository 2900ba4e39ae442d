"""A run is resumed or restarted only if nothing is lost; what prevents it is named."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from data_sets import write_folder
from tiny_runs import rows, run_folder_of, settings, splits_of
from tscam.config import TrainConfig
from tscam.errors import TrainingError
from tscam.recipe import to_yaml
from tscam.verbs.train import resume


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """A run on 6 pictures of three classes."""
    write_folder(tmp_path / "data", splits={"train": 2})
    return settings(tmp_path / "data", tmp_path / "run")


@pytest.mark.parametrize("name", ["thesis.txt", "state/thesis.txt", "state"])
def test_a_started_run_with_files_of_others_in_its_folder_is_not_restarted(config: TrainConfig, name: str) -> None:
    with run_folder_of(config, data_hash=splits_of(config).data_hash()).begin():
        pass
    path = config.out / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("years of work")
    with pytest.raises(TrainingError, match=f"restarting would remove '{name}' \\(1 such files in all\\); move"):
        resume(config.out)
    assert path.read_text() == "years of work"


def test_a_folder_with_only_a_recipe_is_no_run(config: TrainConfig) -> None:
    config.out.mkdir()
    recipe = f"# mine\n{to_yaml(config)}"
    (config.out / "config.yaml").write_text(recipe)
    with pytest.raises(TrainingError, match=r"no run was begun here, it has no run\.json"):
        resume(config.out)
    assert {path.name: path.read_text() for path in config.out.iterdir()} == {"config.yaml": recipe}


def test_a_run_restarts_only_with_unchanged_data(config: TrainConfig) -> None:
    with run_folder_of(config, data_hash=splits_of(config).data_hash()).begin():
        pass
    picture = min((config.data / "train" / "emu").iterdir())
    whole = picture.read_bytes()
    picture.write_bytes(whole + b"\0")
    with pytest.raises(TrainingError, match="data: the dataset has changed since the run began"):
        resume(config.out)
    picture.write_bytes(whole)
    notes: list[str] = []
    assert len(rows(resume(config.out, on_note=notes.append))) == 2
    assert notes[0] == "no state was saved yet: the run restarts"


def test_missing_data_is_refused_with_the_setting_that_names_it(config: TrainConfig) -> None:
    with run_folder_of(config).begin():
        pass
    config.data.rename(config.data.with_name("moved"))
    message = f"{config.data}: no such folder; say where the data is in {config.out / 'config.yaml'}, `data:`"
    with pytest.raises(TrainingError, match=f"^{message}$"):
        resume(config.out)


def test_packages_whose_version_has_changed_are_reported(config: TrainConfig) -> None:
    folder = run_folder_of(config)
    assert folder.changed_versions() == []
    with folder.begin():
        assert folder.changed_versions() == []
    about = json.loads((config.out / "run.json").read_text())
    about["versions"] |= {"torch": "1.0", "numpy": "1.0"}  # NumPy draws equal numbers in all its versions.
    (config.out / "run.json").write_text(json.dumps(about))
    assert folder.changed_versions() == [f"torch was 1.0 and is {metadata.version('torch')}"]
