"""Scores under the protocol `ts-cam` at one threshold, for tests that compare them with others."""

from dataclasses import dataclass
from typing import Any

from tscam.datasets import Dataset
from tscam.evaluation.judging import Judge
from tscam.evaluation.map_sources import MappedSplit, PredictedMaps
from tscam.evaluation.scoring import judge_pictures
from tscam.metrics.columns import Columns, columns_of
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.protocol import TS_CAM
from tscam.predictor import Predictor


@dataclass(frozen=True, kw_only=True)
class Scored:
    pictures: list[JudgedPicture]
    columns: Columns

    def percent(self, measure: str) -> float:
        """Return a measure in percent of the pictures."""
        column = self.columns.measures[measure]
        return 100 * float(column.sum()) / len(column)

    def lines(self) -> list[str]:
        """Return the result of each picture as text."""
        assert self.columns.boxes is not None
        assert self.columns.outcomes is not None
        return [
            f"{picture.image} {picture.label} {picture.top_classes} {picture.small_map.tolist()} "
            f"{iou!r} {box} {outcome}"
            for picture, iou, box, outcome in zip(
                self.pictures, self.columns.iou.tolist(), self.columns.boxes.tolist(), self.columns.outcomes.tolist(),
                strict=True,
            )
        ]  # fmt: skip


def score(
    predictor: Predictor, dataset: Dataset, *, threshold: float, batch_size: int = 32, workers: int = 1, **options: Any
) -> Scored:
    """Judge every picture of a data set."""
    maps = PredictedMaps(predictor=predictor, batch_size=batch_size, workers=workers)
    judge = Judge(protocols=(TS_CAM,))
    pictures = list(judge_pictures(MappedSplit(dataset=dataset, maps=maps), judge, **options))
    return Scored(pictures=pictures, columns=columns_of(pictures, TS_CAM, thresholds={"gt_known_loc": threshold}))
