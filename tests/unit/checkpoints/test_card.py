"""The hub's reader reads the card; it states scores with their protocol; no name from outside changes its structure."""

from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from tscam.checkpoints.card import THIS_MODEL, model_card, published_card
from tscam.errors import ConfigError

METRICS = {
    "protocol": "ts-cam", "dataset": "cub", "selection": "oracle (epoch of best gt_known_loc on split 'test')",
    "epoch": 5, "train_loss": 0.67, "learning_rate": 3e-5, "split": "test", "top1_cls": 88.6, "top1_loc": None,
    "gt_known_loc": 92.38095, "threshold": 0.1,
}  # fmt: skip


def card(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "method": "ts-cam", "backbone": "deit_small_patch16_224", "label_names": ("cat", "dog"),
        "image_hw": (196, 224), "threshold": 0.12, "metrics": METRICS,
        "base_model": "timm/deit_small_patch16_224.fb_in1k",
    }  # fmt: skip
    return model_card(**(arguments | changes))


def test_the_hubs_reader_reads_license_library_task_base_data_and_scores_with_their_protocol() -> None:
    read: Any = ModelCard(card()).data
    assert (read.license, read.library_name, read.pipeline_tag) == ("other", "tscam", "object-detection")
    assert read.tags == ["weakly-supervised-object-localization", "ts-cam"]
    assert read.base_model == "timm/deit_small_patch16_224.fb_in1k"
    assert read.datasets == ["CUB-200-2011"]
    assert read.metrics == ["top1_cls", "gt_known_loc"]
    assert read.model_name == "ts-cam on deit_small_patch16_224"
    assert [
        (result.metric_type, result.metric_value, result.metric_name, result.dataset_split)
        for result in read.eval_results
    ] == [
        ("top1_cls", 88.6, "Top-1 Cls (protocol ts-cam, threshold 0.1)", "test"),
        ("gt_known_loc", 92.38, "GT-known Loc (protocol ts-cam, threshold 0.1)", "test"),
    ]


def test_the_page_states_usage_scores_and_how_the_epoch_was_chosen() -> None:
    text = card()
    assert f"tscam localize PICTURES --model {THIS_MODEL} --out DIR" in text
    assert f'tscam.load("{THIS_MODEL}")' in text
    assert "View 196×224 pixels, threshold 0.12." in text
    assert "| % on split `test` | protocol ts-cam, threshold 0.1 |\n" in text
    assert "| GT-known Loc | 92.4 |" in text
    assert "Epoch chosen: `oracle (epoch of best gt_known_loc on split 'test')`." in text


def test_a_model_without_scores_and_base_model_states_neither() -> None:
    text = card(metrics={}, base_model="")
    head = yaml.safe_load(text.split("---\n")[1])
    assert sorted(head) == ["library_name", "license", "pipeline_tag", "tags"]
    assert "|" not in text


def test_twenty_of_thousands_of_classes_are_shown() -> None:
    text = card(label_names=[f"class {number}" for number in range(21841)])
    assert "Finds objects of 21841 classes" in text
    assert '"class 19"\n… and 21821 more\n```' in text
    assert len(text) < 4000


HOSTILE = ["```", "\n---\nlicense: mit", "<script>", "a\n```\n# b", "\u202ereversed", "\ud800"]


def plain() -> str:
    return card(label_names=("x", "y"), base_model="")


@given(
    names=st.lists(st.text() | st.sampled_from(HOSTILE), min_size=2, max_size=2),
    base_model=st.text() | st.sampled_from(["a/b\nlicense: mit", "a/b: c", "a/../b", "a/b\n---\n"]),
)
@settings(max_examples=100, deadline=None)
def test_no_name_changes_the_head_or_leaves_its_block(names: list[str], base_model: str) -> None:
    text = card(label_names=names, base_model=base_model)
    text.encode()
    head, page = text.removeprefix("---\n").split("---\n", 1)
    expected, expected_page = plain().removeprefix("---\n").split("---\n", 1)
    read = yaml.safe_load(head)
    assert read.pop("base_model", base_model) == base_model
    assert read == yaml.safe_load(expected)
    before, after = expected_page.split('"x"\n"y"\n')
    assert page.startswith(before)
    assert page.endswith(after)
    block = page[len(before) : -len(after)]
    assert all(line.startswith('"') and line.isprintable() for line in block.removesuffix("\n").split("\n"))
    assert block.count("\n") == 2


@pytest.mark.parametrize("field", ["method", "backbone"])
def test_an_unknown_name_loses_its_special_characters(field: str) -> None:
    text = card(**{field: "a\n---\nlicense: mit\n<b>`|"})
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "other"
    assert "# a---" in text or "on a---" in text
    assert "<b>" not in text


# Publishing


def test_a_published_card_has_the_license_and_the_name_and_keeps_edits() -> None:
    edited = card().replace("# ts-cam", "# My foxes\n\nNot for owls.\n\n# ts-cam")
    text = published_card(edited, name="hf-hub:user/foxes", license="apache-2.0")
    before, after = edited.split("---\n", 2), text.split("---\n", 2)
    assert yaml.safe_load(after[1]) == yaml.safe_load(before[1]) | {"license": "apache-2.0"}
    assert after[2] == before[2].replace(THIS_MODEL, "hf-hub:user/foxes")
    assert THIS_MODEL not in text


@pytest.mark.parametrize("text", ["", "# no head", "---\n[1, 2]\n---\n", "---\na: [\n---\n", "---\nlicense: other\n"])
def test_a_card_without_a_head_is_published_unchanged_and_refuses_a_license(text: str) -> None:
    assert published_card(text, name="x") == text
    with pytest.raises(ConfigError, match=r"README.md: no head of YAML between two lines `---`"):
        published_card(text, name="x", license="mit")


@pytest.mark.parametrize("license", ["", "MIT License", "mit\nx: y", "-", "a b", "{}", "mit "])
def test_a_license_is_an_identifier(license: str) -> None:
    with pytest.raises(ConfigError, match=r"expected an identifier such as apache-2\.0, cc-by-nc-4.0 or other"):
        published_card(card(), name="x", license=license)
