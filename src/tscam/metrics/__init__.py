"""Metrics: protocols as data, and the numbers under them."""

from tscam.metrics import protocol, statistics, threshold, ts_cam
from tscam.metrics.protocol import BoxProtocol, PixelProtocol, Protocol, protocols

__all__ = [
    "BoxProtocol",
    "PixelProtocol",
    "Protocol",
    "protocol",
    "protocols",
    "statistics",
    "threshold",
    "ts_cam",
]
