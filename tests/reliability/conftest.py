"""A bench for runs, in memory where that can be: a state is written at every step."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runs import Bench, place_in_memory


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(dir=place_in_memory() or tmp_path_factory.mktemp("bench")) as folder:
        yield Bench(Path(folder))
