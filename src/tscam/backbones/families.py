"""All families of backbones. Importing this module registers them and takes as long as importing timm."""

from tscam.backbones import beit, cnn, conformer, eva, vgg, vit

__all__ = ["beit", "cnn", "conformer", "eva", "vgg", "vit"]
