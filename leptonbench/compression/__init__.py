"""Compression techniques: one file each, found by name."""

from __future__ import annotations

from leptonbench.compression.base import Compression, Context
from leptonbench.registry import Registry

TECHNIQUES: Registry[type[Compression]] = Registry(
    "compression technique",
    {
        "cast": "leptonbench.compression.cast:Cast",
        "distill": "leptonbench.compression.distill:Distill",
        "prune-channels": "leptonbench.compression.prune_channels:PruneChannels",
        "prune-weights": "leptonbench.compression.prune_weights:PruneWeights",
        "quantize-dynamic": "leptonbench.compression.quantize_dynamic:QuantizeDynamic",
        "quantize-static": "leptonbench.compression.quantize_static:QuantizeStatic",
        "share-weights": "leptonbench.compression.share_weights:ShareWeights",
        "sparse-2:4": "leptonbench.compression.sparse24:Sparse24",
        "quantize-weights": "leptonbench.compression.quantize_weights:QuantizeWeights",
    },
    group="leptonbench.compression",
)

__all__ = ["TECHNIQUES", "Compression", "Context"]
