"""The best and the worst pictures of each group, as thumbnails with their map and boxes."""

import base64
import heapq
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tscam.decoding import MAX_PIXELS, DecodeSettings, PixelRange
from tscam.drawing import CLASS_COLOURS, draw_panel
from tscam.errors import ImageError
from tscam.evaluation.report.evaluation_files import PictureRecord, ProtocolSummary
from tscam.evaluation.report.wording import OUTCOME_MEANINGS, OUTCOME_NAMES
from tscam.geometry import scale_box
from tscam.image import printable, read_image
from tscam.metrics.ts_cam import OUTCOMES, Outcome

PER_ROW = 4  # best pictures of a group, and as many worst
LISTED = 200  # pictures that were not judged
_SIDE, _QUALITY = 320, 80  # of a thumbnail: longer side in pixels, JPEG quality
_CORRECT, _WRONG = CLASS_COLOURS[0], CLASS_COLOURS[3]  # Cyan and orange differ for every kind of colour vision.

# Groups of a protocol without outcomes.
_HIT, _MISSED, _ALL = "hit", "missed", "all"
_NAMES = {**OUTCOME_NAMES, _HIT: "Correct", _MISSED: "Wrong", _ALL: "All pictures"}
_MEANINGS = {
    **OUTCOME_MEANINGS,
    _HIT: "correct at half of the protocol's IoUs or more",
    _MISSED: "correct at fewer than half of the protocol's IoUs",
    _ALL: "ordered by the IoU of their masks",
}


@dataclass(frozen=True, kw_only=True)
class PictureCard:
    """One picture of the gallery.

    Attributes:
        mistaken_for: the most likely class if it is a wrong one, else empty.
        panel: the picture, small, with its map and boxes; None if it cannot be read: `problem` is the reason.
    """

    image: str
    iou: float
    class_name: str
    mistaken_for: str
    panel: Image.Image | None
    problem: str


@dataclass(frozen=True, kw_only=True)
class PictureGroup:
    """All pictures of one outcome, or of another division where a protocol has no outcomes.

    Attributes:
        pictures: size of the group.
        rows: the cards by title; a small group has a single row without a title.
    """

    outcome: str
    name: str
    meaning: str
    pictures: int
    rows: dict[str, list[PictureCard]]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The pictures on the page.

    Attributes:
        groups: without those that have no picture.
        not_judged: the first pictures that were not judged, with the reason.
    """

    protocol: ProtocolSummary
    groups: list[PictureGroup]
    not_judged: list[tuple[str, str]]


@dataclass(kw_only=True)
class _Ranking:
    """The best and the worst pictures by IoU of all that were added."""

    pictures: int = 0
    _best: list[tuple[float, int, PictureRecord]] = field(default_factory=list)
    _worst: list[tuple[float, int, PictureRecord]] = field(default_factory=list)

    def add(self, picture: PictureRecord) -> None:
        order = -self.pictures  # The first of equally good pictures wins; heaps never compare the pictures themselves.
        self.pictures += 1
        for heap, goodness in ((self._best, picture.iou), (self._worst, -picture.iou)):
            if len(heap) < PER_ROW:
                heapq.heappush(heap, (goodness, order, picture))
            else:
                heapq.heappushpop(heap, (goodness, order, picture))

    def rows(self) -> dict[str, list[PictureRecord]]:
        """Return the best and the worst pictures, each from its end; a small group in a single row."""
        best = [picture for _, _, picture in sorted(self._best, reverse=True)]
        worst = [picture for _, _, picture in sorted(self._worst, reverse=True)]
        if self.pictures > 2 * PER_ROW:
            return {"Best": best, "Worst": worst}
        images = {picture.image for picture in best}
        return {"": best + [picture for picture in reversed(worst) if picture.image not in images]}


def gallery_protocol(protocols: Iterable[ProtocolSummary]) -> ProtocolSummary:
    """Return the first protocol with outcomes, else the first one of boxes, else the first one."""
    return min(protocols, key=lambda protocol: (protocol.errors is None, not protocol.ious))


def choose_pictures(
    pictures: Iterable[PictureRecord],
    *,
    protocol: ProtocolSummary,
    image_root: Path,
    class_names: Sequence[str],
    pixel_range: PixelRange | None = None,
) -> Gallery:
    """Return the best and the worst pictures by IoU; memory does not grow with the number of pictures.

    Args:
        pixel_range: the range that the values of pictures of more than eight bits were scaled by.
    """
    outcomes = [outcome.value for outcome in OUTCOMES] if protocol.errors else [_HIT, _MISSED, _ALL]
    rankings = {outcome: _Ranking() for outcome in outcomes}
    not_judged: list[tuple[str, str]] = []
    for picture in pictures:
        if not picture.fault:
            rankings[_outcome(picture, protocol)].add(picture)
        elif len(not_judged) < LISTED:
            not_judged.append((picture.image, picture.fault))

    groups = [
        PictureGroup(
            outcome=outcome,
            name=_NAMES[outcome],
            meaning=_MEANINGS[outcome],
            pictures=ranking.pictures,
            rows={
                title: [_card(picture, protocol, image_root, class_names, pixel_range) for picture in row]
                for title, row in ranking.rows().items()
            },
        )
        for outcome, ranking in rankings.items()
        if ranking.pictures
    ]
    return Gallery(protocol=protocol, groups=groups, not_judged=not_judged)


def data_uri(panel: Image.Image) -> str:
    """Return a picture as JPEG in the address that a page can carry."""
    jpeg = io.BytesIO()
    panel.save(jpeg, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"


def _outcome(picture: PictureRecord, protocol: ProtocolSummary) -> str:
    if picture.outcome is not None:
        return picture.outcome
    if not protocol.ious:
        return _ALL
    return _HIT if picture.lead >= 0.5 else _MISSED


def _card(
    picture: PictureRecord,
    protocol: ProtocolSummary,
    image_root: Path,
    class_names: Sequence[str],
    pixel_range: PixelRange | None,
) -> PictureCard:
    is_mistaken = picture.top_class is not None and picture.top_class != picture.label
    path, panel, problem = image_root / picture.image, None, ""
    try:
        panel = _panel(path, picture, protocol, pixel_range)
    except ImageError as fault:
        problem = str(fault).removeprefix(f"{printable(path)}: ")
    return PictureCard(
        image=picture.image,
        iou=picture.iou,
        class_name=_class_name(picture.label, class_names),
        mistaken_for=_class_name(picture.top_class or 0, class_names) if is_mistaken else "",
        panel=panel,
        problem=problem,
    )


def _panel(
    path: Path, picture: PictureRecord, protocol: ProtocolSummary, pixel_range: PixelRange | None
) -> Image.Image:
    """Draw the picture, small, with its map and boxes.

    Raises:
        ImageError: the picture cannot be read.
    """
    width, height = picture.picture_wh
    decode = DecodeSettings(pixel_range=pixel_range, max_pixels=max(MAX_PIXELS, width * height))
    small = read_image(path, settings=decode, least_side=_SIDE)
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    view_wh = protocol.view_wh
    is_correct = picture.outcome == Outcome.RIGHT if picture.outcome else picture.lead >= 0.5
    return draw_panel(
        small,
        map=picture.map,
        boxes=[scale_box(picture.box, from_wh=view_wh, to_wh=small.size)] if picture.box and view_wh else [],
        true_boxes=[scale_box(box, from_wh=picture.picture_wh, to_wh=small.size) for box in picture.truths],
        colour=_CORRECT if is_correct else _WRONG,
    )


def _class_name(class_id: int, class_names: Sequence[str]) -> str:
    return class_names[class_id] if 0 <= class_id < len(class_names) else f"class {class_id}"
