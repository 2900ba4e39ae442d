"""Names find entries, near misses find hints, other packages add entries by entry points."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tscam.errors import ConfigError
from tscam.registry import Registry


@pytest.fixture
def numbers() -> Registry[int]:
    registry: Registry[int] = Registry("odd number")
    registry.register("three")(3)
    registry.register("one")(1)
    return registry


def test_a_name_finds_its_entry(numbers: Registry[int]) -> None:
    assert (numbers["three"], "one" in numbers, "two" in numbers) == (3, True, False)


def test_names_are_listed_in_order(numbers: Registry[int]) -> None:
    assert list(numbers) == ["one", "three"]


def test_a_near_miss_gets_a_hint(numbers: Registry[int]) -> None:
    with pytest.raises(
        ConfigError, match=r"^no odd number named 'tree'; did you mean 'three'\? Registered: one, three$"
    ):
        numbers["tree"]


def test_a_far_miss_gets_the_list_alone(numbers: Registry[int]) -> None:
    with pytest.raises(ConfigError, match=r"^no odd number named 'xyz'\. Registered: one, three$"):
        numbers["xyz"]


def test_a_name_is_given_once(numbers: Registry[int]) -> None:
    with pytest.raises(ValueError, match="odd number 'one' is registered twice"):
        numbers.register("one")(11)


def test_registering_hands_the_entry_back(numbers: Registry[int]) -> None:
    assert numbers.register("five")(5) == 5


def test_an_installed_package_adds_entries_when_the_registry_is_first_asked(
    numbers: Registry[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside-1.0.dist-info").mkdir()
    (tmp_path / "outside-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (tmp_path / "outside-1.0.dist-info" / "entry_points.txt").write_text(
        "[tscam.odd_numbers]\nseven = outside_numbers\n"
    )
    (tmp_path / "outside_numbers.py").write_text(
        "from numbers_of_the_test import registry\nregistry.register('seven')(7)\n"
    )
    home = ModuleType("numbers_of_the_test")
    monkeypatch.setattr(home, "registry", numbers, raising=False)
    monkeypatch.setitem(sys.modules, "numbers_of_the_test", home)
    monkeypatch.syspath_prepend(tmp_path)
    assert "outside_numbers" not in sys.modules
    assert list(numbers) == ["one", "seven", "three"]
    assert numbers["seven"] == 7
    del sys.modules["outside_numbers"]
