"""Engines: one file each. torch, onnxruntime and openvino are imported only when one is opened."""

from __future__ import annotations

from leptonbench.backends.base import (
    Backend,
    Estimate,
    FrameEnergy,
    Recipe,
    RuntimeOptions,
    Session,
    SimulatedBackend,
    Support,
)
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

SIMULATED: Registry[type[SimulatedBackend]] = Registry(
    "backend",
    {"fpga": "leptonbench.backends.fpga:FpgaBackend"},
    group="leptonbench.simulated_backends",
)


def backend_names() -> tuple[str, ...]:
    """Return the names of all backends, those that run here first."""
    return (*BACKENDS.names(), *SIMULATED.names())


def backend(name: str) -> type[Backend] | type[SimulatedBackend]:
    """Return a backend of either kind.

    Raises:
        UsageError: If there is none of that name.
    """
    return SIMULATED.get(name) if name in SIMULATED else BACKENDS.get(name)


def device_kind(name: str) -> str:
    """Return what a backend runs on: `cpu`, unless it says otherwise."""
    return str(getattr(backend(name), "device", "cpu"))


__all__ = [
    "BACKENDS",
    "SIMULATED",
    "Backend",
    "Estimate",
    "FrameEnergy",
    "Recipe",
    "RuntimeOptions",
    "Session",
    "SimulatedBackend",
    "Support",
    "backend",
    "backend_names",
    "device_kind",
]
