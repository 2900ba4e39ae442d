"""Methods, one a file; importing this package files them all."""

from tscam.methods import attention, cam, grad_cam, rollout, training_free, ts_cam
from tscam.methods.base import Method, create_method, methods, methods_of

__all__ = [
    "Method", "attention", "cam", "create_method", "grad_cam", "methods", "methods_of", "rollout",
    "training_free", "ts_cam",
]  # fmt: skip
