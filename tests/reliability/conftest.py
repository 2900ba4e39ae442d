"""A bench for runs, in memory if possible, because a state is written at every step."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runs import Bench, memory_folder


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(dir=memory_folder() or tmp_path_factory.mktemp("bench")) as folder:
        yield Bench(Path(folder))
