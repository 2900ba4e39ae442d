"""A model's name is resolved once, to its files on this machine; the text that the user wrote is kept."""

from pathlib import Path

import pytest

from fake_hub import Repository, running_hub
from tiny_models import tiny_model
from tscam.checkpoints.source import ModelSource, resolve
from tscam.errors import ConfigError, WeightsError


def test_a_folder_and_a_file_are_their_own_weights_and_a_run_has_best_weights(tmp_path: Path) -> None:
    best = tmp_path / "run" / "weights" / "best"
    for folder in (tmp_path / "model", best):
        folder.mkdir(parents=True)
    file = tmp_path / "theirs.pth"
    file.touch()
    for path, weights in {tmp_path / "model": tmp_path / "model", file: file, tmp_path / "run": best}.items():
        expected = ModelSource(name=str(path), path=path, weights=weights)
        assert resolve(path) == resolve(str(path)) == expected
        assert resolve(expected) is expected


def test_the_name_is_kept_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("./model/").name == "./model/"


def test_a_name_on_the_hub_is_resolved_to_the_folder_that_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_hub(monkeypatch, tmp_path / "cache") as hub:
        hub.repositories["user/name"] = Repository.of_folder(tiny_model(tmp_path / "model"))
        source = resolve("hf-hub:user/name")
        assert source.name == "hf-hub:user/name"
        assert source.path == source.weights
        assert source.path.is_relative_to(tmp_path / "cache")
        assert sorted(hub.downloads) == ["config.json", "model.safetensors"]
        resolve(source)
        assert len(hub.downloads) == 2


def test_a_local_folder_may_have_a_name_like_one_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hf-hub:user" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    path = Path("hf-hub:user/name")
    assert resolve(path) == ModelSource(name="hf-hub:user/name", path=path, weights=path)


@pytest.mark.parametrize("name", ["", " ", "\t"])
def test_an_empty_name_is_not_the_current_folder(name: str) -> None:
    with pytest.raises(ConfigError, match=r"MODEL is empty; name a folder, a \.pth file, or hf-hub:user/name"):
        resolve(name)


@pytest.mark.parametrize(
    ("name", "error"), [("a" * 300, ConfigError), ("a\0b", WeightsError), ("nowhere", WeightsError)], ids=ascii
)
def test_a_name_without_a_file_is_one_line(name: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        resolve(name)
    assert str(caught.value).startswith(f"{name}: no ")
    assert "\n" not in str(caught.value)
