"""Methods, one a file; importing this package files them all."""

from tscam.methods import attention, cam, ts_cam
from tscam.methods.base import Method, methods

__all__ = ["Method", "attention", "cam", "methods", "ts_cam"]
