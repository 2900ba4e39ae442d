"""Fixtures of the journeys: the command line in this process, a run trained on tiny data, and a page in a browser."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

pytest.register_assert_rewrite("command_line")  # Its assertions show the compared values.

from browser import PageRecord, chromium, find_chromium  # noqa: E402
from command_line import TINY, Answer, Call  # noqa: E402
from data_sets import write_folder, write_wsol  # noqa: E402
from mistakes import Case  # noqa: E402
from tiny_models import save_ramps, tiny_model  # noqa: E402
from tscam.cli import main  # noqa: E402
from tscam.recipe import train_config  # noqa: E402
from tscam.verbs.train import train  # noqa: E402


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a browser before anything is made for it; in one case, so that pytest reports one line."""
    if isinstance(item, pytest.Function) and "browser" in item.fixturenames:
        find_chromium()


@pytest.fixture
def tscam(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command line in this process."""

    def call(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["tscam", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        printed = capsys.readouterr()
        return Answer(int(exited.value.code or 0), printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, `tiny.yaml`, and `run`, trained from them; tests must not change it."""
    folder = tmp_path_factory.mktemp("workshop")
    write_folder(folder / "data", splits={"train": 4, "test": 2})
    (folder / "tiny.yaml").write_text(TINY)
    train(train_config(str(folder / "tiny.yaml"), data=folder / "data", out=folder / "run"))
    return folder


@pytest.fixture
def case(workshop: Path, tmp_path: Path) -> Case:
    return Case(tmp_path, workshop / "run")


@pytest.fixture
def case_with_data(case: Case) -> Case:
    """A case with a complete dataset."""
    write_folder(case.data, splits={"train": 2, "test": 1})
    return case


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `model`, `data` with boxes, `masked` data, `maps` and `masked maps`; tests must not change it."""
    folder = tmp_path_factory.mktemp("studio")
    tiny_model(folder / "model", label_names=[f"{number:03d}.Bird_{number}" for number in (1, 2, 3)])
    write_wsol(folder / "data")
    write_wsol(folder / "masked", name="OpenImages", masks=True)
    for data, maps in (("data", "maps"), ("masked", "masked maps")):
        for split in ("val", "test"):
            save_ramps(folder / data, folder / maps, split)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab that shares nothing with those of other tests."""
    with browser.new_context() as context:
        yield context.new_page()


@pytest.fixture
def record(page: Page) -> PageRecord:
    return PageRecord(page)
