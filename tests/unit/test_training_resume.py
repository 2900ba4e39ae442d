"""A run goes on, or begins anew, only where nothing is lost by it; what it cannot go on with is named."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from data_sets import write_folder
from tiny_runs import rows, settings
from tscam.config import TrainConfig
from tscam.errors import TrainingError
from tscam.recipe import to_yaml
from tscam.training.loop import resume
from tscam.training.run.run_folder import RunFolder
from tscam.training.splits import read_splits


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """A run on 6 pictures of three classes."""
    write_folder(tmp_path / "data", splits={"train": 2})
    return settings(tmp_path / "data", tmp_path / "run")


@pytest.mark.parametrize("stranger", ["thesis.txt", "state/thesis.txt", "state"])
def test_a_folder_with_more_than_a_run_has_at_its_beginning_is_not_begun_anew(
    config: TrainConfig, stranger: str
) -> None:
    with RunFolder(config, selection="last epoch", dataset="folder", data_hash=read_splits(config).data_hash()).begun():
        pass
    path = config.out / stranger
    path.parent.mkdir(exist_ok=True)
    path.write_text("years of work")
    with pytest.raises(TrainingError, match=f"beginning anew would remove '{stranger}' \\(1 such in all\\); move"):
        resume(config.out)
    assert path.read_text() == "years of work"


def test_a_folder_with_a_recipe_alone_is_no_run(config: TrainConfig) -> None:
    config.out.mkdir()
    recipe = f"# mine\n{to_yaml(config)}"
    (config.out / "config.yaml").write_text(recipe)
    with pytest.raises(TrainingError, match=r"no run was begun here, it has no run\.json"):
        resume(config.out)
    assert {path.name: path.read_text() for path in config.out.iterdir()} == {"config.yaml": recipe}


def test_a_run_begins_anew_with_the_data_it_was_begun_with_or_not_at_all(config: TrainConfig) -> None:
    with RunFolder(config, selection="last epoch", dataset="folder", data_hash=read_splits(config).data_hash()).begun():
        pass
    picture = min((config.data / "train" / "emu").iterdir())
    whole = picture.read_bytes()
    picture.write_bytes(whole + b"\0")
    with pytest.raises(TrainingError, match="data: the data set has changed since the run began"):
        resume(config.out)
    picture.write_bytes(whole)
    notes: list[str] = []
    assert len(rows(resume(config.out, on_note=notes.append))) == 2
    assert notes[0] == "no state was saved yet: the run begins anew"


def test_data_that_is_gone_is_looked_for_where_the_settings_say(config: TrainConfig) -> None:
    with RunFolder(config, selection="last epoch", dataset="folder", data_hash="").begun():
        pass
    config.data.rename(config.data.with_name("moved"))
    said = f"{config.data}: no such folder; say where the data is in {config.out / 'config.yaml'}, `data:`"
    with pytest.raises(TrainingError, match=f"^{said}$"):
        resume(config.out)


def test_other_versions_than_at_the_beginning_are_told(config: TrainConfig) -> None:
    folder = RunFolder(config, selection="last epoch", dataset="folder", data_hash="")
    assert folder.changed_versions() == []
    with folder.begun():
        assert folder.changed_versions() == []
    about = json.loads((config.out / "run.json").read_text())
    about["versions"] |= {"torch": "1.0", "numpy": "1.0"}  # NumPy draws the same numbers in all its versions.
    (config.out / "run.json").write_text(json.dumps(about))
    assert folder.changed_versions() == [f"torch was 1.0 and is {metadata.version('torch')}"]
