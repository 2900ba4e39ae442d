"""A split with its maps → the numbers of every protocol, from one pass over the pictures."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tscam.evaluation.judging import Judge
from tscam.evaluation.map_sources import MappedSplit
from tscam.evaluation.results import write_metadata, write_results
from tscam.metrics.picture import JudgedPicture
from tscam.metrics.protocol import BoxProtocol, PixelProtocol
from tscam.metrics.summary import ProtocolResult, summarize
from tscam.metrics.threshold import Threshold
from tscam.system.loading import Progress, in_processes
from tscam.system.processes import ALONE, Processes
from tscam.system.spool import Spool

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
    save_maps: bool = False,
    workers: int = 0,
    processes: Processes = ALONE,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Score a split under every protocol that has a threshold; the main process writes the files of `results`.

    Args:
        out: folder of the result, made where it is missing.
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
    faults = {dataset.image_ids[index]: reason for index, reason in split.faults.items()}
    sizes_wh = []
    with Spool[JudgedPicture](out if processes.is_main else None) as pictures:
        for picture in judge_pictures(split, judge, workers=workers, processes=processes, on_progress=on_progress):
            pictures.append(picture)
            sizes_wh.append(picture.picture_wh)
        results = {
            protocol.name: summarize(
                pictures, protocol, threshold, published=dataset.threshold, class_names=dataset.class_names
            )
            for protocol, threshold in thresholds.items()
        }
        if processes.is_main:
            write_results(out, results, pictures, dataset=dataset, facts=split.maps.facts, faults=faults)
    if processes.is_main and save_maps:
        write_metadata(out / "metadata", dataset, sizes_wh)
    selection = str(split.maps.facts.get("selection", ""))
    return Evaluation(results=results, images=dataset.image_ids, faults=faults, out=out, selection=selection)


def judge_pictures(
    split: MappedSplit,
    judge: Judge,
    *,
    workers: int = 0,
    processes: Processes = ALONE,
    on_progress: Progress | None = None,
) -> Iterator[JudgedPicture]:
    """Every picture of a split, judged, in the data set's order; every process gets all of them.

    Processes take whole batches in turn, so that each picture is predicted among the same others, and to the same bits,
    whatever their number. No process has more than a few batches in memory.

    Args:
        workers: processes that judge, beside each of `processes`; they are not started for a few pictures.

    Raises:
        DataError: a picture, map or mask cannot be read.
    """
    dataset = split.dataset
    size, count = split.maps.batch_size, len(dataset)
    starts = range(0, count, size)
    share = [range(start, min(start + size, count)) for start in starts[processes.rank :: processes.count]]
    tasks = split.tasks([index for batch in share for index in batch])
    helpers = workers if count >= _FEW else 0
    done = 0
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
