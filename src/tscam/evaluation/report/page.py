"""The page `report.html`: one file that needs no other file and loads nothing."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from tscam.evaluation.report import charts, wording
from tscam.evaluation.report.evaluation_files import EvaluationSummary, read_evaluation, read_pictures
from tscam.evaluation.report.gallery import Gallery, choose_pictures, data_uri, gallery_protocol
from tscam.evaluation.report.protocol_section import protocol_section
from tscam.system.writing import write_text_atomically

REPORT = "report.html"
_PACKAGE = "tscam.evaluation.report"


def write_report(out: Path, *, image_root: Path) -> Path:
    """Write `report.html` beside the files of an evaluation, and return its path.

    Equal files and pictures give equal bytes.

    Args:
        out: folder of the evaluation: `metrics.json` and `per_image.jsonl`.
        image_root: folder that the ids of pictures are relative to. A missing or broken picture becomes a plate with
            the reason.

    Raises:
        DataError: `out` does not hold the files of an evaluation.
        OutputError: the disk refuses.
    """
    evaluation = read_evaluation(out)
    protocol = gallery_protocol(evaluation.protocols)
    gallery = choose_pictures(
        read_pictures(out, protocol=protocol),
        protocol=protocol, image_root=image_root, class_names=evaluation.class_names,
        pixel_range=evaluation.pixel_range,
    )  # fmt: skip
    write_text_atomically(out / REPORT, _render(evaluation, gallery))
    return out / REPORT


@cache
def environment() -> Environment:
    """Return the templates of the page; they escape all text from data."""
    templates = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (
        wording.measure_name, wording.outcome_name, wording.outcome_meaning, wording.format_tau, wording.format_count,
        data_uri,
    ):  # fmt: skip
        templates.filters[function.__name__] = function
    templates.globals |= {"charts": charts, "quantity": wording.quantity, "format_share": wording.format_share}
    return templates


def _render(evaluation: EvaluationSummary, gallery: Gallery) -> str:
    style, script = _asset("report.css"), _asset("report.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment().get_template("report.html").render(
        evaluation=evaluation,
        sections=[protocol_section(protocol) for protocol in evaluation.protocols],
        setting_names=list(dict.fromkeys(name for protocol in evaluation.protocols for name in protocol.settings)),
        gallery=gallery,
        policy=policy,
        style=style,
        script=script,
    )  # fmt: skip


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return (files(_PACKAGE) / name).read_text(encoding="utf-8")
