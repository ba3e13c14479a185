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
        "torch-cuda": "leptonbench.backends.torch_cuda:TorchCudaBackend",
        "torch-cuda-graph": "leptonbench.backends.torch_cuda:TorchCudaGraphBackend",
        "torch-cuda-compile": "leptonbench.backends.torch_cuda:TorchCudaCompileBackend",
        "onnxruntime-cuda": "leptonbench.backends.onnxruntime_gpu:OnnxRuntimeCudaBackend",
        "onnxruntime-tensorrt": "leptonbench.backends.onnxruntime_gpu:OnnxRuntimeTensorRtBackend",
    },
    group="leptonbench.backends",
)


def device_kind(name: str) -> str:
    """Return what a backend runs on: `cpu`, unless it says otherwise."""
    return str(getattr(BACKENDS.get(name), "device", "cpu"))


__all__ = ["BACKENDS", "Backend", "Recipe", "RuntimeOptions", "Session", "Support", "device_kind"]
