"""The position of a training run, tensors aside, and its form in a saved state."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from tscam.training.run.progress import EpochRow


@dataclass(kw_only=True)
class Position:
    """The position of a run.

    Attributes:
        epoch: from 1; one above the last epoch when all are done.
        step: number of steps done in the epoch; when all are done, the epoch has been trained but not yet scored.
        loss_sum: sum of the loss over the epoch's pictures so far.
        rows: rows of the epochs before.
    """

    epoch: int = 1
    step: int = 0
    loss_sum: float = 0.0
    rows: list[EpochRow] = field(default_factory=list)

    @property
    def best(self) -> EpochRow | None:
        """The row of the best epoch so far, the first of equal ones."""
        return max(self.rows, key=lambda row: row.quality, default=None)


@dataclass(frozen=True, kw_only=True)
class SavedPosition:
    """A position with what a learner remembers beside its tensors.

    Attributes:
        accumulate: parts that each share of a step is computed in.
        scaler: state of the gradient scaler; empty unless the precision is fp16.
    """

    position: Position
    accumulate: int
    scaler: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """JSON values that `from_json` reads."""
        return {**asdict(self.position), "accumulate": self.accumulate, "scaler": dict(self.scaler)}

    @classmethod
    def from_json(cls, content: object) -> "SavedPosition":
        """The position that `to_json` was called on."""
        values = dict(cast("Mapping[str, Any]", content))
        rows = [EpochRow(**row) for row in values.pop("rows")]
        accumulate, scaler = values.pop("accumulate"), values.pop("scaler")
        return cls(position=Position(**values, rows=rows), accumulate=accumulate, scaler=scaler)
