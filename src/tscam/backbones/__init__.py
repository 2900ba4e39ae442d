"""Backbones, one family a file; importing this package files them all."""

from tscam.backbones import beit, eva, vit
from tscam.backbones.base import Backbone, BackboneFamily, backbone_families, create_backbone, list_backbones

__all__ = ["Backbone", "BackboneFamily", "backbone_families", "beit", "create_backbone", "eva", "list_backbones", "vit"]
