"""Metrics, one protocol a file."""

from tscam.metrics import ts_cam

__all__ = ["ts_cam"]
