"""All families of backbones, one a file; importing this module files them, and takes as long as importing timm."""

from tscam.backbones import beit, cnn, conformer, eva, vgg, vit

__all__ = ["beit", "cnn", "conformer", "eva", "vgg", "vit"]
