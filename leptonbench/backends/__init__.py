"""Engines: one file each. torch, onnxruntime and openvino are imported only when one is opened."""

from __future__ import annotations

from leptonbench.backends.base import Backend, Recipe, RuntimeOptions, Session, Support
from leptonbench.registry import Registry

BACKENDS: Registry[type[Backend]] = Registry(
    "backend",
    {
        "torch": "leptonbench.backends.torch_eager:TorchBackend",
        "torch-compile": "leptonbench.backends.torch_compile:TorchCompileBackend",
        "onnxruntime": "leptonbench.backends.onnxruntime:OnnxRuntimeBackend",
        "openvino": "leptonbench.backends.openvino:OpenVinoBackend",
    },
    group="leptonbench.backends",
)

__all__ = ["BACKENDS", "Backend", "Recipe", "RuntimeOptions", "Session", "Support"]
