"""Backbones, one family a file; `families` names them all, and is imported when a backbone is looked for."""

from tscam.backbones.base import Backbone, BackboneFamily, backbone_families, create_backbone, list_backbones

__all__ = ["Backbone", "BackboneFamily", "backbone_families", "create_backbone", "list_backbones"]
