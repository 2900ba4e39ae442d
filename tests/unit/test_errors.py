"""Values and names of strangers are cut in messages, whatever their size."""

import pytest

from tscam.errors import (
    ConfigError,
    DataError,
    WeightsError,
    did_you_mean,
    first_names,
    one_line,
    one_message,
    quoted,
    shown,
)


@pytest.mark.parametrize("value", ["fox", "", 3, 1.5, None, True, [1, 2], {"a": [1]}, "a\nb", "\ud800"])
def test_a_short_value_is_quoted_as_python_writes_it(value: object) -> None:
    assert quoted(value) == repr(value)


def endless() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    ["x" * 10**7, 16**10_000, -(16**10_000), ["x" * 10**6] * 1000, {f"{n}" * 1000: n for n in range(1000)}, endless()],
    ids=["text", "integer", "negative", "list", "mapping", "cycle"],
)
def test_a_value_of_any_size_takes_at_most_80_characters(value: object) -> None:
    assert len(quoted(value)) <= 80


def test_names_are_cut_and_escaped() -> None:
    assert shown("a\nb") == "a\\nb"
    assert shown(repr("bird's\nnest")) == repr("bird's\nnest")
    assert shown("x" * 81) == "x" * 79 + "…"
    assert first_names(["x" * 5000, "b", "c"], at_most=2) == "x" * 79 + "…, b and 1 more"


def test_no_hint_is_looked_for_where_the_name_is_too_long_for_one() -> None:
    assert did_you_mean("foxx", ["fox"]) == "; did you mean 'fox'?"
    assert did_you_mean("fox" * 10**6, ["fox"]) == ""


def test_another_librarys_message_is_its_first_line_cut() -> None:
    assert one_line(ValueError("bad\nmore")) == "ValueError: bad"
    assert len(one_line(ValueError("x" * 10**6))) < 200


def test_a_message_about_settings_or_weights_is_one_line_of_at_most_300_characters() -> None:
    assert one_message(ConfigError("a\nb")) == "a\\nb"
    for error in (ConfigError("a" * 150 + "x" * 10**6 + "b" * 148), WeightsError("a" * 150 + "-" * 151)):
        assert len(one_message(error)) <= 300
    assert one_message(ConfigError("a" * 400 + "; do that")).endswith("; do that")
    assert len(one_message(DataError("a" * 400))) == 400
