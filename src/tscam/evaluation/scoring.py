"""A split with its maps → the numbers of every protocol, from one pass over the pictures."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tscam.evaluation.judged_pictures import JudgedPictures
from tscam.evaluation.judging import Judge
from tscam.evaluation.map_sources import MappedSplit
from tscam.evaluation.results import write_metadata, write_results
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.metrics.summary import ProtocolResult, summarize
from tscam.metrics.threshold import Threshold
from tscam.system.loading import Progress, in_processes
from tscam.system.processes import ALONE, Processes

Thresholds = Mapping[BoxProtocol | PixelProtocol, Threshold]

# Fewer pictures are judged sooner than processes are started for it.
_FEW = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The numbers of an evaluation, and where they are written.

    Attributes:
        results: by the protocol's name, in the order of the request.
        images: ids of the pictures, in the data set's order.
        faults: by picture id, why a picture counts as wrong without being judged.
        selection: how the model's epoch was chosen, in words; empty where that is not known.
        notes: what reading the data set left out, a line of text each.
    """

    results: Mapping[str, ProtocolResult]
    images: tuple[str, ...]
    faults: Mapping[str, str]
    out: Path
    selection: str = ""
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """The numbers as lines of text, each protocol with its threshold."""
        blocks = [result.describe() for result in self.results.values()]
        if self.faults:
            blocks.append(f"{len(self.faults)} pictures count as wrong without being judged: {self.out}/missing.csv")
        if "oracle" in self.selection:
            blocks.append(f"the model's epoch was chosen on the test split: {self.selection}")
        if self.notes:
            blocks.append("\n".join(self.notes))
        return "\n\n".join(blocks)


def score(
    split: MappedSplit,
    thresholds: Thresholds,
    *,
    out: Path,
    keep_in: Path | None = None,
    save_maps: bool = False,
    workers: int = 0,
    processes: Processes = ALONE,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Score a split under every protocol that has a threshold; the main process writes the files of `results`.

    Args:
        out: folder of the result, made where it is missing.
        keep_in: folder in which the main process keeps judged pictures, so that a killed run can go on; None keeps
            them in a temporary file.
        save_maps: also write the localization maps, and the metadata that wsolevaluation reads.
        workers: processes that judge, beside each of `processes`.

    Raises:
        TscamError: a picture cannot be read, or the disk refuses.
    """
    dataset = split.dataset
    if processes.is_main:
        out.mkdir(parents=True, exist_ok=True)
    per_map = next((threshold.policy for threshold in thresholds.values() if threshold.policy.is_per_map), None)
    judge = Judge(protocols=tuple(thresholds), per_map=per_map, save_to=out / "scoremaps" if save_maps else None)
    with JudgedPictures(keep_in / "pictures.jsonl" if keep_in is not None else None) as pictures:
        pictures.keep(dataset.image_ids, batch_size=split.maps.batch_size)
        _share(pictures, processes)
        for picture in judge_pictures(
            split, judge, start=len(pictures), workers=workers, processes=processes, on_progress=on_progress
        ):
            pictures.append(picture)
        faults = {picture.image: picture.fault for picture in pictures if picture.fault}
        results = {
            protocol.name: summarize(
                pictures, protocol, threshold, published=dataset.threshold, class_names=dataset.class_names
            )
            for protocol, threshold in thresholds.items()
        }
        if processes.is_main:
            write_results(out, results, pictures, dataset=dataset, facts=split.maps.facts, faults=faults)
            if save_maps:
                write_metadata(out / "metadata", dataset, [picture.picture_wh for picture in pictures])
    selection = str(split.maps.facts.get("selection", ""))
    return Evaluation(results=results, images=dataset.image_ids, faults=faults, out=out, selection=selection)


def judge_pictures(
    split: MappedSplit,
    judge: Judge,
    *,
    start: int = 0,
    workers: int = 0,
    processes: Processes = ALONE,
    on_progress: Progress | None = None,
) -> Iterator[JudgedPicture]:
    """Every picture of a split, judged, in the data set's order; every process gets all of them.

    Processes take whole batches in turn, so that each picture is predicted among the same others, and to the same bits,
    whatever their number. No process has more than a few batches in memory.

    Args:
        start: index of the first picture to judge, at which a batch begins.
        workers: processes that judge, beside each of `processes`; they are not started for a few pictures.

    Raises:
        DataError: a picture, map or mask cannot be read.
    """
    dataset = split.dataset
    size, count = split.maps.batch_size, len(dataset)
    starts = range(start, count, size)
    share = [range(first, min(first + size, count)) for first in starts[processes.rank :: processes.count]]
    tasks = split.tasks([index for batch in share for index in batch])
    helpers = workers if count >= _FEW else 0
    done = start
    with closing(in_processes(tasks, judge, processes=helpers, depth=4 * max(helpers, 1))) as judged:
        for turn in range(-(-len(starts) // processes.count)):
            batch = list(islice(judged, len(share[turn]))) if turn < len(share) else []
            for picture in processes.gather(batch):
                if picture.image != dataset.image_ids[done]:
                    raise RuntimeError(f"{picture.image} where {dataset.image_ids[done]} is due: each counts once")
                done += 1
                if on_progress is not None:
                    on_progress(done, count)
                yield picture
    if done != count:
        raise RuntimeError(f"{done} results for {count} pictures: each must count once")


def _share(pictures: JudgedPictures, processes: Processes) -> None:
    """Give the pictures that the main process has kept to the other processes."""
    if processes.count == 1:
        return
    (kept,) = processes.gather([len(pictures)] if processes.is_main else [])
    kept_pictures = iter(pictures)
    for first in range(0, kept, _FEW):
        batch = list(islice(kept_pictures, min(_FEW, kept - first))) if processes.is_main else []
        for picture in processes.gather(batch):
            if not processes.is_main:
                pictures.append(picture)
