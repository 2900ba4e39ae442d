"""The thresholds of an evaluation: planned before any picture is scored, chosen on held-out pictures where need be."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tscam.datasets import Dataset, find_reader, has_boxes, hold_out, read_dataset
from tscam.decoding import PixelRange
from tscam.errors import ConfigError, DataError
from tscam.evaluation.judged_pictures import JudgedPictures
from tscam.evaluation.judging import Judge, Protocols
from tscam.evaluation.map_sources import MappedSplit, MapSource
from tscam.evaluation.pseudo_boxes import with_pseudo_boxes
from tscam.evaluation.requirements import require_readable
from tscam.evaluation.scoring import Thresholds, judge_pictures
from tscam.image import ValueSpan
from tscam.metrics.curves import curve_of
from tscam.metrics.protocol import REALISTIC, BoxProtocol, PixelProtocol
from tscam.metrics.threshold import Threshold, ThresholdPolicy, best_threshold, threshold_policy


@dataclass(frozen=True, kw_only=True, eq=False)
class ThresholdPlan:
    """The threshold of every protocol, and the held-out pictures that are to choose those without a value.

    Attributes:
        thresholds: by protocol.
        held_out: pictures to choose on; None where no threshold needs them.
        chosen_by: by protocol that needs them, the protocol under which held-out pictures are judged: itself, or one
            of boxes where the pictures have no masks.
    """

    thresholds: Thresholds
    held_out: MappedSplit | None = None
    chosen_by: Mapping[BoxProtocol | PixelProtocol, BoxProtocol | PixelProtocol] = field(default_factory=dict)

    def scaled_by(self, pixel_range: PixelRange | None) -> "ThresholdPlan":
        """Return the plan with another range for held-out pictures of more than eight bits."""
        return self if self.held_out is None else replace(self, held_out=self.held_out.scaled_by(pixel_range))

    @property
    def uses_pseudo_boxes(self) -> bool:
        """True if pseudo boxes stand in for true ones on the held-out pictures."""
        return any(self.thresholds[protocol].policy.name == "pseudo" for protocol in self.chosen_by)

    @property
    def judging_protocols(self) -> Protocols:
        """The protocols under which held-out pictures are judged, each once."""
        return tuple(dict.fromkeys(self.chosen_by.values()))


def requested_policy(text: float | str | None, protocols: Protocols) -> ThresholdPolicy | None:
    """The policy that a user names for all protocols; None leaves every protocol its own.

    Raises:
        ConfigError: no such policy, or no protocol that takes one.
    """
    if text is None:
        return None
    policy = threshold_policy(text)
    if all(protocol.threshold == "best" for protocol in protocols):
        names = " and ".join(protocol.name for protocol in protocols)
        raise ConfigError(
            f"--threshold {policy.label}: under {names} the best threshold is taken by definition; leave it out, or "
            "add a protocol with another one, such as realistic"
        )
    return policy


def plan_thresholds(
    dataset: Dataset,
    maps: MapSource,
    protocols: Protocols,
    *,
    requested: ThresholdPolicy | None,
    fraction: float,
    seed: int,
) -> ThresholdPlan:
    """Plan the threshold of every protocol, and find the held-out pictures that it needs.

    Held-out pictures are the split `val`, or those that training holds out of the training split.

    Args:
        dataset: the split that is scored, and so never chosen on.
        requested: the policy for all protocols that take one; None leaves every protocol its own.
        fraction, seed: how training holds pictures out.

    Raises:
        DataError: there are no held-out pictures, or they lack boxes or maps.
    """
    thresholds = {protocol: _planned(_policy(protocol, requested), maps, dataset) for protocol in protocols}
    waiting = tuple(protocol for protocol in protocols if thresholds[protocol].policy.needs_held_out)
    if not waiting:
        return ThresholdPlan(thresholds=thresholds)
    held_out = _held_out(dataset, fraction=fraction, seed=seed)
    by_masks = held_out.masks is not None and thresholds[waiting[0]].policy.name == "val"
    chosen_by = {protocol: protocol if by_masks else _by_boxes(protocol) for protocol in waiting}
    plan = ThresholdPlan(thresholds=thresholds, held_out=MappedSplit(dataset=held_out, maps=maps), chosen_by=chosen_by)
    needs_boxes = any(isinstance(protocol, BoxProtocol) for protocol in plan.judging_protocols)
    if needs_boxes and not plan.uses_pseudo_boxes and not has_boxes(held_out):
        raise DataError(
            f"{dataset.root}: the split {held_out.split!r} has no boxes, and a threshold is to be chosen on it; take "
            "--threshold pseudo, or a number"
        )
    if missing := maps.missing(held_out):
        raise DataError(
            f"{dataset.root}: {len(missing)} of {len(held_out)} pictures of split {held_out.split!r}, which choose the "
            "threshold, have no map; add them, or give a number, otsu or oracle as --threshold"
        )
    return plan


def require_plan_readable(plan: ThresholdPlan, *, workers: int) -> ValueSpan | None:
    """Refuse held-out pictures, maps and masks that cannot be read.

    Args:
        workers: threads that read.

    Returns:
        As `require_readable`, of the held-out pictures.

    Raises:
        DataError: names the first of them.
    """
    if plan.held_out is None:
        return None
    return require_readable(
        plan.held_out, plan.judging_protocols, workers=workers, with_pictures=plan.uses_pseudo_boxes
    )


def choose_thresholds(plan: ThresholdPlan, *, keep_in: Path | None, workers: int) -> Thresholds:
    """Choose the thresholds that wait for held-out pictures: the best ones, among equals the nearest to the published.

    Args:
        keep_in: folder in which judged pictures are kept, so that a killed run can go on; None keeps them in a
            temporary file.
        workers: processes that judge.
    """
    if plan.held_out is None:
        return plan.thresholds
    held_out, origin = plan.held_out, "pseudo" if plan.uses_pseudo_boxes else "true"
    split, judge, chosen = held_out.dataset.split, Judge(protocols=plan.judging_protocols), dict(plan.thresholds)
    with JudgedPictures(keep_in / "held_out.jsonl" if keep_in is not None else None) as pictures:
        pictures.keep(held_out.dataset.image_ids, batch_size=held_out.maps.batch_size)
        start = len(pictures)
        if plan.uses_pseudo_boxes:
            held_out = with_pseudo_boxes(held_out, start=start)
        for picture in judge_pictures(held_out, judge, start=start, workers=workers):
            pictures.append(picture)
        for protocol, chosen_by in plan.chosen_by.items():
            curve = curve_of(pictures, chosen_by)
            hits = next(iter(curve.hits.values()))
            best = best_threshold(hits, curve.thresholds, nearest_to=held_out.dataset.threshold)
            compared = "masks" if isinstance(chosen_by, PixelProtocol) else "boxes"
            chosen[protocol] = replace(
                plan.thresholds[protocol],
                value=float(curve.thresholds[best]),
                explained=f"best on {curve.pictures} pictures of split {split!r} with {origin} {compared}",
            )
    return chosen


def _policy(protocol: BoxProtocol | PixelProtocol, requested: ThresholdPolicy | None) -> ThresholdPolicy:
    """The requested policy, else the protocol's own; no request changes what the best threshold defines."""
    if protocol.threshold == "best" or requested is None:
        return ThresholdPolicy(name=protocol.threshold)
    return requested


def _planned(policy: ThresholdPolicy, maps: MapSource, dataset: Dataset) -> Threshold:
    if policy.name == "model":
        return maps.default_threshold(dataset)
    return Threshold(
        policy=policy, value=policy.parameter if policy.name == "fixed" else None, explained=policy.explained
    )


def _held_out(dataset: Dataset, *, fraction: float, seed: int) -> Dataset:
    root, name = dataset.root, dataset.name
    splits = find_reader(root, name=name).splits(root)
    if "val" in splits and dataset.split != "val":
        return read_dataset(root, name=name, split="val", decode=dataset.decode)
    if "train" not in splits or dataset.split == "train":
        raise DataError(
            f"{root}: no pictures beside the split {dataset.split!r} to choose a threshold on; it holds "
            f"{', '.join(splits)}. Give a number, otsu or oracle as --threshold"
        )
    try:
        _, held_out = hold_out(
            read_dataset(root, name=name, split="train", decode=dataset.decode), fraction=fraction, seed=seed
        )
    except DataError as fault:
        raise DataError(
            f"{root}: the split 'train' has too few pictures to hold any out; give a number, otsu or oracle as "
            "--threshold"
        ) from fault
    return replace(held_out, split="held out of 'train'")


def _by_boxes(protocol: BoxProtocol | PixelProtocol) -> BoxProtocol:
    return REALISTIC if isinstance(protocol, PixelProtocol) else protocol  # boxes, compared in the same view
