"""A page in a real headless Chromium, driven by playwright, with a record of its requests and its faults."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, sync_playwright

# None of these reaches a network or changes the layout of a page.
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
    "--no-first-run", "--disable-component-update", "--disable-sync",
)  # fmt: skip

# Set by `.ci/run`: a missing browser is then an error.
_REQUIRED = "TSCAM_REQUIRE_BROWSER"


class PageRecord:
    """A record of a page while it is open.

    Attributes:
        faults: errors and warnings of the console, exceptions, and violations of the page's policy.
        requests: addresses that the page asked for, without `data:`.
        failures: reason by address, for each that could not be loaded.
    """

    def __init__(self, page: Page) -> None:
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.failures: dict[str, str] = {}
        page.on("console", self._record_message)
        page.on("pageerror", self._record_exception)
        page.on("request", self._record_request)
        page.on("requestfailed", self._record_failure)

    def _record_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.faults.append(message.text)

    def _record_exception(self, error: Error) -> None:
        self.faults.append(str(error))

    def _record_request(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.requests.append(request.url)

    def _record_failure(self, request: Request) -> None:
        self.failures[request.url] = request.failure or ""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium of this machine; none is ever downloaded."""
    program = find_chromium()
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=program, args=_FLAGS) as browser:
        yield browser


def open_file(page: Page, path: Path, *, width: int = 1400, height: int = 900, dark: bool = False) -> None:
    """Open a file in a window of this size, and wait until it is loaded."""
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if dark else "light")
    page.goto(path.resolve().as_uri())


def find_chromium() -> str:
    """Return the path of Chromium. Without one, skip the test, or fail it where `TSCAM_REQUIRE_BROWSER` is set."""
    program = shutil.which("chromium")
    if program is None:
        reason = "no browser on PATH: install Debian's package `chromium` (`apt-get install chromium`)"
        if os.environ.get(_REQUIRED):
            pytest.fail(f"{reason}; {_REQUIRED} is set, so this test may not be skipped", pytrace=False)
        pytest.skip(reason)
    return program
