"""The best and the worst pictures of each kind, small, under their maps, with the found and the true boxes."""

import base64
import heapq
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tscam.drawing import CLASS_COLOURS, draw_panel
from tscam.errors import ImageError
from tscam.geometry import scale_box
from tscam.image import printable, read_image
from tscam.metrics.ts_cam import OUTCOMES, Outcome
from tscam.report.evaluation_files import PictureLine, ProtocolPart
from tscam.report.markup import Markup, element, joined, named, void
from tscam.report.wording import OUTCOME_MEANINGS, OUTCOME_NAMES, count, spaced

SHOWN = 4  # best, and as many worst, of each kind
LISTED = 200  # pictures that were not judged
_SIDE, _QUALITY = 320, 80  # of a thumbnail: longer side in pixels, JPEG quality
_RIGHT, _NOT = CLASS_COLOURS[0], CLASS_COLOURS[3]  # Cyan and orange: apart for every kind of eye.

# Kinds of pictures where a protocol has no outcomes.
_HIT, _MISSED, _ALL = "hit", "missed", "all"
_OWN_NAMES = {_HIT: "Right", _MISSED: "Not right", _ALL: "All pictures"}
_OWN_MEANINGS = {
    _HIT: "right at half of the protocol's IoUs or more",
    _MISSED: "right at fewer than half of them",
    _ALL: "by the IoU of their masks",
}


@dataclass(kw_only=True)
class Kind:
    """Pictures of one kind, of which the best and the worst by IoU are kept."""

    pictures: int = 0
    _best: list[tuple[float, int, PictureLine]] = field(default_factory=list)
    _worst: list[tuple[float, int, PictureLine]] = field(default_factory=list)

    def add(self, picture: PictureLine) -> None:
        place = self.pictures  # Of equally good ones the first; no two are the same, so that no pictures are compared.
        self.pictures += 1
        for kept, goodness in ((self._best, picture.iou), (self._worst, -picture.iou)):
            if len(kept) < SHOWN:
                heapq.heappush(kept, (goodness, -place, picture))
            else:
                heapq.heappushpop(kept, (goodness, -place, picture))

    def shown(self) -> dict[str, list[PictureLine]]:
        """The best and the worst, each from its end; all together where there are few."""
        best = [picture for _, _, picture in sorted(self._best, reverse=True)]
        worst = [picture for _, _, picture in sorted(self._worst, reverse=True)]
        if self.pictures > 2 * SHOWN:
            return {"Best": best, "Worst": worst}
        seen = {picture.image for picture in best}
        return {"": best + [picture for picture in reversed(worst) if picture.image not in seen]}


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The pictures that are shown.

    Attributes:
        kinds: by outcome, or what else a protocol parts pictures by.
        not_judged: the first of them, with the reason.
    """

    protocol: ProtocolPart
    kinds: dict[str, Kind]
    not_judged: list[tuple[str, str]]


def gallery_protocol(protocols: Iterable[ProtocolPart]) -> ProtocolPart:
    """Whose pictures are shown: the first that breaks errors down, else the first of boxes, else the first."""
    return min(protocols, key=lambda part: (part.errors is None, not part.ious))


def choose(pictures: Iterable[PictureLine], *, protocol: ProtocolPart) -> Gallery:
    """The best and the worst of all pictures; one at a time is held beside those."""
    names = [outcome.value for outcome in OUTCOMES] if protocol.errors else [_HIT, _MISSED, _ALL]
    kinds = {name: Kind() for name in names}
    not_judged = []
    for picture in pictures:
        if picture.fault:
            not_judged.append((picture.image, picture.fault))
        else:
            kinds[_kind_of(picture, protocol)].add(picture)
    return Gallery(protocol=protocol, kinds=kinds, not_judged=not_judged[:LISTED])


def show(gallery: Gallery, *, image_root: Path, class_names: tuple[str, ...]) -> Markup:
    """The chosen pictures, kind by kind; a kind without pictures is left out."""
    parts = []
    for name, kind in gallery.kinds.items():
        if not kind.pictures:
            continue
        rows = [
            joined(
                element("h4", title) if title else "",
                element("div", *(_figure(picture, gallery, image_root, class_names) for picture in pictures),
                        class_="pictures"),
            )
            for title, pictures in kind.shown().items()
        ]  # fmt: skip
        heading = element(
            "h3", element("span", "", class_=f"swatch outcome-{name}"),
            (OUTCOME_NAMES if name in OUTCOME_NAMES else _OWN_NAMES)[name], " ",
            element("span", count(kind.pictures, "picture"), class_="count"),
        )  # fmt: skip
        meaning = (OUTCOME_MEANINGS if name in OUTCOME_MEANINGS else _OWN_MEANINGS)[name]
        parts.append(element("section", heading, element("p", meaning, class_="note"), *rows, class_="kind"))
    return joined(*parts)


def list_not_judged(gallery: Gallery, *, pictures: int) -> Markup:
    """What counts as wrong without being judged, and why."""
    rows = [
        element("tr", element("th", named(image), scope="row"), element("td", named(reason)))
        for image, reason in gallery.not_judged
    ]
    more = pictures - len(rows)
    head = element("tr", element("th", "Picture", scope="col"), element("th", "Reason", scope="col"))
    table = element(
        "table", element("caption", "Not judged", class_="unseen"), element("thead", head), element("tbody", *rows)
    )
    return joined(
        element("p", f"{count(pictures, 'picture')} count as wrong without being judged."),
        element("div", table, class_="scroll", role="region", aria_label="Not judged", tabindex=0),
        element("p", f"And {spaced(more)} more, in missing.csv.") if more > 0 else "",
    )


def _kind_of(picture: PictureLine, protocol: ProtocolPart) -> str:
    if picture.outcome is not None:
        return picture.outcome
    if not protocol.ious:
        return _ALL
    return _HIT if picture.lead >= 0.5 else _MISSED


def _figure(picture: PictureLine, gallery: Gallery, image_root: Path, class_names: tuple[str, ...]) -> Markup:
    truth = _class_name(picture.label, class_names)
    is_mistaken = picture.top_class is not None and picture.top_class != picture.label
    taken_for = _class_name(picture.top_class or 0, class_names) if is_mistaken else ""
    caption = element(
        "figcaption",
        element("span", element("b", f"IoU {picture.iou:.2f}"), " ", named(truth), class_="first"),
        element("span", "taken for ", named(taken_for), class_="mistaken") if is_mistaken else "",
        element("span", named(picture.image), class_="file"),
    )
    said = f"{picture.image}: {truth}, IoU {picture.iou:.2f}" + (f", taken for {taken_for}" if is_mistaken else "")
    path = image_root / picture.image
    try:
        panel = _panel(path, picture, gallery.protocol)
    except ImageError as fault:
        reason = str(fault).removeprefix(f"{printable(path)}: ")
        return element("figure", element("div", named(reason), class_="plate"), caption)
    encoded = io.BytesIO()
    panel.save(encoded, "JPEG", quality=_QUALITY, optimize=True)
    source = f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
    image = void("img", src=source, alt=said, width=panel.width, height=panel.height)
    return element("figure", element("div", image, class_="frame"), caption)


def _panel(path: Path, picture: PictureLine, protocol: ProtocolPart) -> Image.Image:
    """The picture, small, with its map and boxes.

    Raises:
        ImageError: it cannot be read.
    """
    small = read_image(path, least_side=_SIDE)
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    view_wh = protocol.view_wh
    is_right = picture.outcome == Outcome.RIGHT if picture.outcome else picture.lead >= 0.5
    return draw_panel(
        small,
        map=picture.map,
        box=None
        if picture.box is None or view_wh is None
        else scale_box(picture.box, from_wh=view_wh, to_wh=small.size),
        true_boxes=[scale_box(box, from_wh=picture.picture_wh, to_wh=small.size) for box in picture.truths],
        colour=_RIGHT if is_right else _NOT,
    )


def _class_name(class_id: int, class_names: tuple[str, ...]) -> str:
    return class_names[class_id] if 0 <= class_id < len(class_names) else f"class {class_id}"
