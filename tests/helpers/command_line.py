"""A tiny recipe, the answer of a command and the form of a refusal, shared by the journeys of the command line."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TINY = """
backbone: vit_tiny_patch16_224
backbone_args: {patch_size: 8, embed_dim: 32, depth: 2, num_heads: 2}
weights: none
image_size: 32
resize_size: 36
epochs: 2
batch_size: 6
learning_rate: 1e-3
learning_rate_steps: []
device: cpu
workers: 0
select: oracle
"""


@dataclass(frozen=True)
class Answer:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.out.splitlines()[-1]


Call = Callable[..., Answer]


def run_python(*arguments: str | Path, cwd: Path | None = None) -> Answer:
    """Run Python in a new process, in which nothing is imported yet and warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=240,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def assert_refused(answer: Answer, message: str, *, after: str = "") -> None:
    """Assert exit code 2 and one line on stderr that contains the message, after lines of progress."""
    assert answer.code == 2, answer
    assert answer.out == ""
    assert answer.err.startswith(f"{after}tscam: ")
    assert answer.err.count("\n") == after.count("\n") + 1, answer.err
    assert answer.err.endswith("\n")
    assert message in answer.err
