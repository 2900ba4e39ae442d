"""Annotation formats, one a file; importing this package registers all of them."""

from tscam.formats import coco, csv, voc
from tscam.formats.base import (
    AnnotatedObject,
    AnnotatedPicture,
    Annotations,
    Format,
    ObjectRecord,
    PictureRecord,
    Records,
    formats,
    read_annotations,
    require_writable_names,
    write_annotations,
)

__all__ = [
    "AnnotatedObject",
    "AnnotatedPicture",
    "Annotations",
    "Format",
    "ObjectRecord",
    "PictureRecord",
    "Records",
    "coco",
    "csv",
    "formats",
    "read_annotations",
    "require_writable_names",
    "voc",
    "write_annotations",
]
