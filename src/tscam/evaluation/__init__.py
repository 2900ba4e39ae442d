"""Evaluation: maps judged against true boxes and masks, and the numbers of every protocol. No PyTorch.

In the order of the work: `map_sources` (where maps come from), `requirements` (what is refused before anything is
written), `judging` (one picture under every protocol), `thresholds` and `pseudo_boxes` (which threshold, and where it
comes from), `scoring` (all pictures), `results` (the files), `score_maps` (maps as files), `comparison` (two results),
`report` (a page for people).
"""

from tscam.evaluation.comparison import Comparison, compare_evaluations
from tscam.evaluation.map_sources import MappedSplit, MapSource, PredictedMaps, SavedMaps
from tscam.evaluation.scoring import Evaluation, score
from tscam.evaluation.thresholds import ThresholdPlan, choose_thresholds, plan_thresholds

__all__ = [
    "Comparison",
    "Evaluation",
    "MapSource",
    "MappedSplit",
    "PredictedMaps",
    "SavedMaps",
    "ThresholdPlan",
    "choose_thresholds",
    "compare_evaluations",
    "plan_thresholds",
    "score",
]
