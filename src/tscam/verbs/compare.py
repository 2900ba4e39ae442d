"""The verb `compare`: two evaluations of the same pictures."""

from pathlib import Path

from tscam.errors import OutputError
from tscam.evaluation.comparison import Comparison, compare_evaluations
from tscam.system.writing import write_new_json


def compare(first: Path, second: Path, *, out: Path | None = None) -> Comparison:
    """Compare two evaluations of the same pictures under the protocols that both have.

    Args:
        first, second: folders that `tscam evaluate` has written, or runs, whose test is taken.
        out: a JSON file for the result.

    Raises:
        DataError: a folder is no evaluation, or the two judged different pictures, or share no protocol.
        OutputError: the file exists, or cannot be written.
    """
    if out is not None and out.exists():
        raise OutputError(f"{out}: a file of this name exists; choose another name for the result")
    comparison = compare_evaluations(first, second)
    if out is not None:
        write_new_json(out, comparison.to_json(), indent=1)
    return comparison
