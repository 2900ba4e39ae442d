"""tscam: object boxes, masks and localization maps from image-level labels alone.

The public names are loaded when they are first used, so that importing the package imports no PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tscam import backbones, datasets, formats, methods, metrics
    from tscam.config import EvaluateConfig, LocalizeConfig, TrainConfig
    from tscam.drawing import draw
    from tscam.errors import TscamError
    from tscam.explainer import Explainer
    from tscam.formats import read_annotations, write_annotations
    from tscam.localization import Localization
    from tscam.localizer import Localizer
    from tscam.model import create_model
    from tscam.recipe import train_config
    from tscam.verbs.compare import compare
    from tscam.verbs.evaluate import evaluate
    from tscam.verbs.explain import explain
    from tscam.verbs.localize import load, localize
    from tscam.verbs.publish import push_to_hub
    from tscam.verbs.train import resume, train

__all__ = [
    "EvaluateConfig",
    "Explainer",
    "Localization",
    "LocalizeConfig",
    "Localizer",
    "TrainConfig",
    "TscamError",
    "backbones",
    "compare",
    "create_model",
    "datasets",
    "draw",
    "evaluate",
    "explain",
    "formats",
    "load",
    "localize",
    "methods",
    "metrics",
    "push_to_hub",
    "read_annotations",
    "resume",
    "train",
    "train_config",
    "write_annotations",
]

_HOME = {
    "EvaluateConfig": "config",
    "Explainer": "explainer",
    "Localization": "localization",
    "LocalizeConfig": "config",
    "Localizer": "localizer",
    "TrainConfig": "config",
    "TscamError": "errors",
    "compare": "verbs.compare",
    "create_model": "model",
    "draw": "drawing",
    "evaluate": "verbs.evaluate",
    "explain": "verbs.explain",
    "load": "verbs.localize",
    "localize": "verbs.localize",
    "push_to_hub": "verbs.publish",
    "read_annotations": "formats",
    "resume": "verbs.train",
    "train": "verbs.train",
    "train_config": "recipe",
    "write_annotations": "formats",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"tscam.{_HOME[name]}"), name)
    if name in __all__:
        return import_module(f"tscam.{name}")
    raise AttributeError(f"module 'tscam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
