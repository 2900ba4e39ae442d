"""Methods, one a file. Importing this package registers them all."""

from tscam.methods import attention, cam, grad_cam, rollout, training_free, ts_cam
from tscam.methods.base import Method, create_method, methods, supported_methods

__all__ = [
    "Method", "attention", "cam", "create_method", "grad_cam", "methods", "rollout", "supported_methods",
    "training_free", "ts_cam",
]  # fmt: skip
