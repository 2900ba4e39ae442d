"""The threshold that a policy chooses for each protocol, before any scored picture is seen."""

from dataclasses import dataclass, replace
from pathlib import Path

from tscam.datasets import Dataset, find_reader, has_boxes, hold_out, read_dataset
from tscam.errors import DataError
from tscam.judging import Judge, Protocols
from tscam.metrics.curves import curve_of
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.protocol import REALISTIC, BoxProtocol, PixelProtocol
from tscam.metrics.threshold import Kind, ThresholdPolicy, best_threshold
from tscam.pseudo_boxes import with_pseudo_boxes
from tscam.spool import Spool
from tscam.tasks import Tasks, judged

# All levels are looked at, and no map has one of its own.
_NO_OTHER = ThresholdPolicy(kind="oracle")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A policy, what it chose, and where that comes from.

    Attributes:
        value: τ; None where it is chosen on the scored pictures, or for each map.
        explained: in words.
    """

    policy: ThresholdPolicy
    value: float | None
    explained: str


def policy_of(protocol: BoxProtocol | PixelProtocol, asked: ThresholdPolicy | None) -> ThresholdPolicy:
    """The policy that was asked for, else the protocol's own."""
    return asked or ThresholdPolicy(kind="val" if protocol.threshold == "val" else "model")


def needs_held_out(asked: Protocols, policy: ThresholdPolicy | None) -> Kind | None:
    """The policy, `val` or `pseudo`, for which a threshold is to be chosen on held-out pictures; None for no such."""
    kinds = {policy_of(protocol, policy).kind for protocol in asked if protocol.threshold != "best"}
    return next((kind for kind in kinds if kind in ("val", "pseudo")), None)


def held_out_pictures(
    root: Path, kind: Kind, asked: Protocols, *, name: str | None, scored: str, fraction: float, seed: int
) -> Dataset:
    """Pictures to choose a threshold on: the split `val`, or what training holds out of the training split.

    Args:
        kind: `val` needs true boxes, or masks, as the protocols do; `pseudo` needs none.
        name: of the reader.
        scored: the split that is scored, and so not chosen on.

    Raises:
        DataError: there are none, or they have no boxes.
    """
    held = find_reader(root, name=name).splits(root)
    if "val" in held and scored != "val":
        dataset = read_dataset(root, name=name, split="val")
    elif "train" in held and scored != "train":
        training = read_dataset(root, name=name, split="train")
        try:
            _, dataset = hold_out(training, fraction=fraction, seed=seed)
        except DataError as fault:
            raise DataError(
                f"{root}: the split 'train' has too few pictures to hold any out; give a number, otsu or oracle as "
                "--threshold"
            ) from fault
        dataset = replace(dataset, split="held out of 'train'")
    else:
        raise DataError(
            f"{root}: no pictures beside the split {scored!r} to choose a threshold on; it holds {', '.join(held)}. "
            "Give a number, otsu or oracle as --threshold"
        )
    with_boxes = any(isinstance(each, BoxProtocol) for each in chosen_by(asked, dataset, kind).values())
    if kind == "val" and with_boxes and not has_boxes(dataset):
        raise DataError(
            f"{root}: the split {dataset.split!r} has pictures without boxes, and a threshold is to be chosen on it; "
            "take --threshold pseudo, or a number"
        )
    return dataset


def choose_on(
    dataset: Dataset, kind: Kind, asked: Protocols, *, tasks: Tasks, spool_in: Path | None, workers: int
) -> dict[str, Chosen]:
    """The best threshold of each protocol on held-out pictures, by name; of equal ones the nearest to the published.

    Args:
        kind: `val`, or `pseudo` for boxes that nobody drew.
        tasks: what makes their maps.
        spool_in: folder for what is judged.
        workers: processes that judge.
    """
    truths = dataset if kind == "val" else with_pseudo_boxes(dataset, tasks)
    by = chosen_by(asked, truths, kind)
    judge = Judge(protocols=tuple({each.name: each for each in by.values()}.values()), policy=_NO_OTHER)
    chosen = {}
    with Spool[JudgedPicture](spool_in) as pictures:
        for picture in judged(tasks, truths, judge, workers=workers):
            pictures.append(picture)
        for name, chooses in by.items():
            curve = curve_of(pictures, chooses)
            hits = next(iter(curve.hits.values()))
            value = float(curve.thresholds[best_threshold(hits, curve.thresholds, nearest_to=dataset.threshold)])
            drawn = f"{'pseudo' if kind == 'pseudo' else 'true'} {_compared(chooses)}"
            said = f"best on {len(pictures)} pictures of split {dataset.split!r} with {drawn}"
            chosen[name] = Chosen(policy=ThresholdPolicy(kind=kind), value=value, explained=said)
    return chosen


def chosen_by(asked: Protocols, dataset: Dataset, kind: Kind) -> dict[str, BoxProtocol | PixelProtocol]:
    """By each protocol's name the one that its threshold is chosen by: itself, or boxes where there are no masks."""
    without_masks = dataset.masks is None or kind == "pseudo"
    return {
        protocol.name: REALISTIC  # boxes, in the same view
        if without_masks and isinstance(protocol, PixelProtocol)
        else protocol
        for protocol in asked
    }


def _compared(protocol: BoxProtocol | PixelProtocol) -> str:
    return "masks" if isinstance(protocol, PixelProtocol) else "boxes"
