"""Settings of every test: shapes and types of all signatures are checked; one thread; no network."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest-xdist uses the cores

import pytest
from jaxtyping import install_import_hook

install_import_hook("tscam", "beartype.beartype")

pytest.register_assert_rewrite("command_line", "data_sets", "faults", "judged_pictures", "runs", "tiny_models")
