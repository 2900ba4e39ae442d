"""Tests that need a browser say what to install where there is none, and are never skipped in CI."""

from pathlib import Path

import pytest

from browser import find_chromium


@pytest.fixture(autouse=True)
def no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TSCAM_REQUIRE_BROWSER", raising=False)


def test_without_a_browser_a_test_is_skipped_with_the_name_of_the_package() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"install Debian's package `chromium`") as skipped:
        find_chromium()
    assert "\n" not in str(skipped.value)


def test_a_missing_browser_is_an_error_where_one_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSCAM_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match=r"install Debian's package `chromium`.*may not be skipped"):
        find_chromium()


def test_a_browser_is_found_by_its_debian_name(tmp_path: Path) -> None:
    (tmp_path / "chromium").touch(mode=0o755)
    assert find_chromium() == str(tmp_path / "chromium")
