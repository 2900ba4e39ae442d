"""An authors' file becomes a model folder; a model folder goes to the hub whole; every refusal is one line."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

import tscam
from fake_hub import FakeHub, running_hub
from tiny_models import names, tiny_model, whole, zero_checkpoint
from tscam.checkpoints.loader import load_model
from tscam.errors import ConfigError, OutputError, TscamError, WeightsError
from tscam.verbs.publish import convert_weights, push_to_hub

NAME = "hf-hub:user/name"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with running_hub(monkeypatch, tmp_path / "cache") as running:
        yield running


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model")


def refusal(error: type[TscamError], act: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Conversion


def test_an_authors_file_becomes_a_model_folder_with_class_names(tmp_path: Path) -> None:
    weights = whole(zero_checkpoint(classes=3) | {"head.bias": torch.tensor([1.0, 2.0, 3.0])})
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in weights.items()}}, tmp_path / "w.pth")
    (tmp_path / "labels.txt").write_text("Gänsegeier\n\n  black fox \n狐\n", encoding="utf-8")
    folder = convert_weights(tmp_path / "w.pth", out=tmp_path / "out", labels=tmp_path / "labels.txt")
    assert folder == tmp_path / "out"
    model = load_model(folder)
    assert model.spec.label_names == ("Gänsegeier", "black fox", "狐")
    assert model.spec.image_hw == (224, 224)
    assert model.tensors()["head.bias"].tolist() == [1, 2, 3]
    assert load_model(convert_weights(tmp_path / "w.pth", out=tmp_path / "numbers")).spec.label_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (b"one\ntwo\n", r"labels.txt: 2 names, the model has 3 classes; expected a name a line"),
        (b"one\ntwo\nthree\nfour", "labels.txt: 4 names, the model has 3 classes"),
        (b"", "labels.txt: 0 names, the model has 3 classes"),
        (b"\xff\xfe\n", "labels.txt: cannot be read as text"),
        (None, "labels.txt: cannot be read as text .*No such file"),
    ],
)
def test_labels_that_do_not_fit_the_classes_are_refused_before_anything_is_written(
    labels: bytes | None, message: str, tmp_path: Path
) -> None:
    torch.save(whole(zero_checkpoint(classes=3)), tmp_path / "w.pth")
    if labels is not None:
        (tmp_path / "labels.txt").write_bytes(labels)
    with pytest.raises(ConfigError, match=message) as caught:
        convert_weights(tmp_path / "w.pth", out=tmp_path / "out", labels=tmp_path / "labels.txt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_kept_without_overwrite(tmp_path: Path) -> None:
    torch.save(whole(zero_checkpoint(classes=3)), tmp_path / "w.pth")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").touch()
    with pytest.raises(OutputError, match="the folder is not empty"):
        convert_weights(tmp_path / "w.pth", out=tmp_path / "out")
    assert names(tmp_path / "out") == ["precious.txt"]
    convert_weights(tmp_path / "w.pth", out=tmp_path / "out", overwrite=True)
    assert names(tmp_path / "out") == ["README.md", "config.json", "model.safetensors"]


# Publishing


def test_three_files_are_uploaded_in_one_commit_with_name_and_license_in_the_card(hub: FakeHub, model: Path) -> None:
    (model / "notes.txt").write_text("not for the world")
    tscam.push_to_hub(model, "user/name", private=True, license="cc-by-4.0")
    repository = hub.repositories["user/name"]
    assert (repository.private, repository.commits) == (True, 1)
    assert sorted(repository.files) == ["README.md", "config.json", "model.safetensors"]
    for name in ("config.json", "model.safetensors"):
        assert repository.files[name] == (model / name).read_bytes()
    card = repository.files["README.md"].decode()
    assert "\nlicense: cc-by-4.0\n" in card
    assert 'tscam.load("hf-hub:user/name")' in card
    assert "THIS_MODEL" in (model / "README.md").read_text()  # the folder itself does not change


def test_the_best_weights_of_a_run_are_published(hub: FakeHub, tmp_path: Path) -> None:
    tiny_model(tmp_path / "run" / "weights" / "best")
    push_to_hub(tmp_path / "run", "user/name")
    best = tmp_path / "run" / "weights" / "best" / "model.safetensors"
    assert hub.repositories["user/name"].files["model.safetensors"] == best.read_bytes()


def test_a_public_repository_takes_another_commit_but_never_a_private_model(hub: FakeHub, model: Path) -> None:
    push_to_hub(model, "user/name")
    push_to_hub(tiny_model(model, label_names=("a", "b")), "user/name")
    assert hub.repositories["user/name"].commits == 2
    message = refusal(OutputError, lambda: push_to_hub(model, "user/name", private=True))
    assert message == "user/name: a public repository; make it private on the hub, or leave out --private"
    assert hub.repositories["user/name"].commits == 2


def test_a_user_without_permission_must_log_in(hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(OutputError, lambda: push_to_hub(model, "others/name"))
    assert message.startswith("others/name: the hub refuses (403 ")
    monkeypatch.setenv("HF_TOKEN", "another")
    message = refusal(OutputError, lambda: push_to_hub(model, "user/name"))
    assert message == (
        "user/name: the hub refuses (401 Invalid username or password.); log in with `hf auth login`, "
        "with a token that may write there"
    )
    assert hub.repositories == {}


def test_only_a_whole_model_folder_reaches_the_hub(hub: FakeHub, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "theirs.pth").touch()
    not_a_folder = "not a folder; what is published is a model folder or a run folder"
    refusals: dict[str | Path, str] = {
        tmp_path / "empty": "not a model folder, it has no readable config.json",
        tmp_path / "theirs.pth": not_a_folder,
        tmp_path / "missing": not_a_folder,
        NAME: not_a_folder,
    }
    for path, reason in refusals.items():
        assert reason in refusal(WeightsError, partial(push_to_hub, path, "user/name"))
    for name in ("user", "hf-hub:user/name", "user/name@v1", "../name"):
        message = refusal(ConfigError, partial(push_to_hub, model, name))
        assert message == f"repository {name!r}; expected user/name, of letters, digits, `-`, `_` and `.`"
    message = refusal(ConfigError, lambda: push_to_hub(model, "user/name", license="my own: x"))
    assert message.startswith("license 'my own: x'; expected an identifier such as apache-2.0")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert "cannot be read as weights" in refusal(WeightsError, lambda: push_to_hub(model, "user/name"))
    (tiny_model(model) / "README.md").unlink()
    assert "its card, README.md, cannot be read" in refusal(WeightsError, lambda: push_to_hub(model, "user/name"))
    assert hub.requests == []
