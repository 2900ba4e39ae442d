"""Picture of any source → upright RGB → pixels and view. Pillow and NumPy alone; knows nothing of networks."""

from tscam.image.depth import ValueSpan
from tscam.image.files import PICTURE_SUFFIXES, Picture, has_picture_suffix, leads_out, printable
from tscam.image.reading import (
    DecodedPicture,
    PictureFacts,
    decode_picture,
    image_size_wh,
    inspect_picture,
    read_grey_levels,
    read_image,
    require_picture,
)
from tscam.image.views import InputFormat, normalize, preprocess

__all__ = [
    "PICTURE_SUFFIXES",
    "DecodedPicture",
    "InputFormat",
    "Picture",
    "PictureFacts",
    "ValueSpan",
    "decode_picture",
    "has_picture_suffix",
    "image_size_wh",
    "inspect_picture",
    "leads_out",
    "normalize",
    "preprocess",
    "printable",
    "read_grey_levels",
    "read_image",
    "require_picture",
]
