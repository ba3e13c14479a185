"""Compression techniques: one file each, found by name."""

from __future__ import annotations

from leptonbench.compression.base import Compression, Context
from leptonbench.registry import Registry

TECHNIQUES: Registry[type[Compression]] = Registry(
    "compression technique",
    {
        "cast": "leptonbench.compression.cast:Cast",
        "quantize-dynamic": "leptonbench.compression.quantize_dynamic:QuantizeDynamic",
        "quantize-static": "leptonbench.compression.quantize_static:QuantizeStatic",
        "quantize-weights": "leptonbench.compression.quantize_weights:QuantizeWeights",
    },
    group="leptonbench.compression",
)

__all__ = ["TECHNIQUES", "Compression", "Context"]
