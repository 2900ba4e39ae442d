"""Annotation formats, one a file; importing this package files them all."""

from tscam.formats.base import Format, formats, write_annotations
from tscam.formats.coco import write_coco

__all__ = ["Format", "formats", "write_annotations", "write_coco"]
