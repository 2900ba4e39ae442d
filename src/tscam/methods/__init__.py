"""Methods, one a file. Importing this package registers them all."""

from tscam.methods import attention, cam, foreground, grad_cam, rollout, training_free, ts_cam
from tscam.methods.base import OBJECT, Method, create_method, methods, supported_methods

__all__ = [
    "OBJECT", "Method", "attention", "cam", "create_method", "foreground", "grad_cam", "methods", "rollout",
    "supported_methods", "training_free", "ts_cam",
]  # fmt: skip
