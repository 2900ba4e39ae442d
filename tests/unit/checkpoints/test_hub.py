"""A model is loaded from the hub bit for bit; only its two files are fetched; every refusal is one line."""

import html
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest

import tscam
from data_sets import write_folder
from evaluated import metrics_of
from fake_hub import FakeHub, Repository, running_hub
from tiny_models import as_lines, assert_same, draw_pictures, names, tiny_model
from tscam.checkpoints.hub import fetch, is_on_hub
from tscam.checkpoints.loader import load_model
from tscam.checkpoints.model_folder import save_model
from tscam.checkpoints.source import resolve
from tscam.config import EvaluateConfig
from tscam.datasets import read_dataset
from tscam.errors import OutputError, TscamError, WeightsError
from tscam.verbs.publish import push_to_hub

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


def test_a_pushed_model_is_loaded_bit_for_bit_and_localizes_the_same(hub: FakeHub, model: Path, tmp_path: Path) -> None:
    address = push_to_hub(model, "user/name")
    assert address.endswith("/user/name")
    assert hub.repositories["user/name"].commits == 1
    assert_same(load_model(NAME), load_model(model).tensors())
    pictures = [str(path) for path in draw_pictures(tmp_path, 2)]
    local, remote = tscam.load(model)(pictures), tscam.load(NAME)(pictures)
    assert as_lines(remote) == as_lines(local)


def test_only_config_and_weights_are_fetched(hub: FakeHub, model: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n")
    (model / "modeling.py").write_text("raise SystemExit")
    hub.repositories["user/name"] = Repository.of_folder(model)
    folder = fetch(NAME)
    assert names(folder) == ["config.json", "model.safetensors"]
    assert set(hub.fetched) == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("suffix", ["@main", "@v1", "@COMMIT"])
def test_a_revision_is_a_branch_a_tag_or_a_commit(suffix: str, hub: FakeHub, model: Path) -> None:
    hub.repositories["user/name"] = Repository.of_folder(model)
    commit = hub.repositories["user/name"].commit
    assert fetch(NAME + suffix.replace("COMMIT", commit)).name == commit


def test_both_files_come_from_one_commit_although_the_branch_moves_between_them(
    hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["user/name"] = Repository.of_folder(model)
    commit, requests = hub.repositories["user/name"].commit, []
    download = huggingface_hub.hf_hub_download

    def recorded(repo: str, file: str, *, revision: str, local_files_only: bool) -> str:
        requests.append((file, revision))
        return str(download(repo, file, revision=revision, local_files_only=local_files_only))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", recorded)
    fetch(NAME)
    assert requests == [("config.json", "main"), ("model.safetensors", commit)]


def test_the_cache_is_used_where_the_hub_is_down_or_offline_mode_is_set(
    hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["user/name"] = Repository.of_folder(model)
    folder = fetch(NAME)
    hub.is_down = True
    assert fetch(NAME) == folder
    hub.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert fetch(f"{NAME}@main") == folder
    assert hub.requests == []
    message = refusal(WeightsError, lambda: fetch("hf-hub:user/other"))
    assert message.startswith("hf-hub:user/other: the hub cannot be reached, and the model is not cached; connect")


def test_a_missing_network_is_refused_at_once(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    assert "the hub cannot be reached" in refusal(WeightsError, lambda: fetch(NAME))
    assert hub.requests == []
    message = refusal(OutputError, lambda: push_to_hub(tiny_model(tmp_path / "m"), "user/name"))
    assert message.startswith("user/name: cannot be uploaded (ConnectError: ")


def test_weights_of_another_package_are_not_fetched(hub: FakeHub) -> None:
    files = {"config.json": b'{"architecture": "vit_base"}', "model.safetensors": bytes(99)}
    hub.repositories["user/name"] = Repository(files)
    message = refusal(WeightsError, lambda: load_model(NAME))
    assert message == f"{NAME}: not a model of tscam, its config.json has no section `tscam`"
    assert set(hub.fetched) == {"config.json"}


@pytest.mark.parametrize("config", [b"", b"[]", b"\xff", b'{"tscam": 3}', b"[" * 100_000, b"null"])
def test_another_config_is_refused(config: bytes, hub: FakeHub) -> None:
    hub.repositories["user/name"] = Repository({"config.json": config})
    assert "not a model of tscam" in refusal(WeightsError, lambda: load_model(NAME))


def test_a_model_that_the_hub_refuses_is_named_with_the_reason(
    hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["user/name"] = Repository.of_folder(model)
    hub.repositories["user/empty"] = Repository()
    hub.repositories["user/half"] = Repository({"config.json": (model / "config.json").read_bytes()})
    hub.repositories["user/gated"] = Repository.of_folder(model, gated=True)
    hub.repositories["user/private"] = Repository.of_folder(model, private=True)
    assert fetch("hf-hub:user/private") != fetch("hf-hub:user/gated")  # with the right token
    monkeypatch.setenv("HF_TOKEN", "another")
    for name, message in {
        "user/nmae": "no repository 'user/nmae' on the hub, or a private one; check the name, or log in with `hf auth",
        "user/private": "no repository 'user/private' on the hub, or a private one",
        "user/name@v2": "the repository has no branch, tag or commit 'v2'",
        "user/gated": "a gated repository; ask for access on its page, then log in with `hf auth login`",
        "user/empty": "not a model of tscam, the repository lacks config.json or model.safetensors",
        "user/half": "not a model of tscam, the repository lacks config.json or model.safetensors",
    }.items():
        if name in ("user/gated", "user/private"):
            monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(model / name))  # an empty cache
        assert refusal(WeightsError, partial(fetch, f"hf-hub:{name}")).startswith(f"hf-hub:{name}: {message}")


@pytest.mark.parametrize(
    "name",
    ["", "user", "user/", "/name", "user/name/more", "user/name@", "user/name@../../x", "../name", "user/..", "a b/c",
     "user/name@a..b", "user/name@/etc", "user\n/name", "user/name\n"],
)  # fmt: skip
def test_other_names_are_refused_before_any_request(name: str, hub: FakeHub) -> None:
    with pytest.raises(WeightsError, match="not the name of a model on the hub; expected hf-hub:user/name or with @"):
        fetch(f"hf-hub:{name}")
    assert hub.requests == []


def test_a_name_that_the_hubs_client_refuses_is_one_line(hub: FakeHub) -> None:
    assert "cannot be fetched (HFValidationError: " in refusal(WeightsError, lambda: fetch("hf-hub:user/a--b"))
    assert hub.fetched == []


def test_a_name_on_the_hub_is_text_and_never_a_path(hub: FakeHub) -> None:
    assert is_on_hub("hf-hub:user/name@v1")
    assert not is_on_hub("runs/hf-hub")
    message = refusal(WeightsError, lambda: resolve(Path(NAME)))
    assert message.startswith(f"{NAME}: no such file or folder; a MODEL is a model folder, a run folder")
    assert hub.requests == []


def test_an_evaluation_of_a_hub_model_states_that_an_oracle_chose_its_epoch(hub: FakeHub, tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 2})
    dataset = read_dataset(tmp_path / "data", split="test")
    oracle = "oracle (epoch of best gt_known_loc on split 'test')"
    network = load_model(tiny_model(tmp_path / "tiny", label_names=dataset.class_names))
    save_model(network, tmp_path / "model", metrics={"selection": oracle, "gt_known_loc": 50.0})
    hub.repositories["user/name"] = Repository.of_folder(tmp_path / "model")
    config = EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", device="cpu")
    evaluation = tscam.evaluate(NAME, config)
    assert evaluation.describe().endswith(f"the model's epoch was chosen on the test split: {oracle}")
    metrics = metrics_of(tmp_path / "out")
    assert (metrics["model"], metrics["selection"]) == (NAME, oracle)
    assert oracle in html.unescape((tmp_path / "out" / "report.html").read_text())


def test_an_evaluation_resolves_its_model_once(hub: FakeHub, tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 2})
    dataset = read_dataset(tmp_path / "data", split="test")
    hub.repositories["user/name"] = Repository.of_folder(tiny_model(tmp_path / "m", label_names=dataset.class_names))
    tscam.evaluate(NAME, EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", device="cpu"))
    assert sorted(hub.downloads) == ["config.json", "model.safetensors"]
    assert sum("/api/models/" in line for line in hub.requests) == 1
