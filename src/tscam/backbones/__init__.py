"""Backbones, one family a file; importing this package files them all."""

from tscam.backbones import beit, cnn, conformer, eva, vgg, vit
from tscam.backbones.base import Backbone, BackboneFamily, backbone_families, create_backbone, list_backbones

__all__ = [
    "Backbone", "BackboneFamily", "backbone_families", "beit", "cnn", "conformer", "create_backbone", "eva",
    "list_backbones", "vgg", "vit",
]  # fmt: skip
