"""Backbones, one family a file. `families` imports them all, once the first backbone is looked up."""

from tscam.backbones.base import Backbone, BackboneFamily, backbone_families, create_backbone, list_backbones

__all__ = ["Backbone", "BackboneFamily", "backbone_families", "create_backbone", "list_backbones"]
