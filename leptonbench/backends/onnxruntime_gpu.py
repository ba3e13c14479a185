"""ONNX Runtime on an NVIDIA GPU: its CUDA and its TensorRT provider.

ONNX Runtime falls back to the CPU without an error where a provider cannot start, and node by node where it lacks a
kernel. Here the first is an error, and so is the second for whatever multiplies: such a cell would be named after a
provider that did not do its work.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from leptonbench.backends.base import Recipe, RuntimeOptions, Session, Support, refuse_options
from leptonbench.backends.cuda import card_support, installed
from leptonbench.backends.onnxruntime import OnnxRuntimeSession, open_session, read_back
from leptonbench.backends.optimised import PRODUCTS
from leptonbench.errors import MeasurementError
from leptonbench.schema import Artifact

_DISTRIBUTION = "onnxruntime-gpu"
_RECORD = {"session.record_ep_graph_assignment_info": "1"}
_NO_OPTIONS = {
    "arena": ("the GPU providers have their own arena, which cannot be turned off", "use `onnxruntime` on the CPU"),
    "io_binding": (
        "a query's input and answer are in host memory, so binding buffers on the GPU would leave out the copies",
        "leave it out",
    ),
}


class _GpuProvider:
    """What both providers share."""

    format: ClassVar[Literal["torch-export", "onnx"]] = "onnx"
    packages: ClassVar[tuple[str, ...]] = (_DISTRIBUTION,)
    device: ClassVar[Literal["cpu", "gpu"]] = "gpu"
    provider: ClassVar[str]

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say whether the provider can run the recipe on this card as it is labelled."""
        for found in (refuse_options(recipe.options, _NO_OPTIONS), self._quantised(recipe)):
            if not found.ok:
                return found
        if installed(_DISTRIBUTION) is None:
            return Support(
                False, f"`{_DISTRIBUTION}` is not installed", f"`pip install {_DISTRIBUTION}` in place of `onnxruntime`"
            )
        return card_support(recipe, features)

    def _quantised(self, recipe: Recipe) -> Support:
        raise NotImplementedError

    def _options(self, artifact: Artifact, options: RuntimeOptions) -> dict[str, str]:
        raise NotImplementedError

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the graph onto the GPU.

        Raises:
            MeasurementError: If the engine refuses it, or runs it by another provider.
        """
        # TF32 is rounded to in several libraries below the provider; this switch is of all of them.
        os.environ["NVIDIA_TF32_OVERRIDE"] = "1" if artifact.precision == "tf32" else "0"
        chosen = self._options(artifact, options)
        load_libraries()
        session, facts = open_session(artifact, options, providers=[(self.provider, chosen)], entries=_RECORD)
        check_provider(self.provider, session.get_providers())
        nodes = nodes_by_provider(session)
        check_products(self.provider, nodes)
        facts |= {
            "provider": self.provider,
            "nodes_by_provider": {name: sum(kinds.values()) for name, kinds in nodes.items()},
            "provider_options": chosen,
            "threads": options.threads,
            "options": read_back(session, io_binding=False),
        }
        return OnnxRuntimeSession(session, facts)


def load_libraries() -> None:
    """Load CUDA and cuDNN from NVIDIA's wheels: without torch in the process nothing else finds them there."""
    import onnxruntime

    onnxruntime.preload_dlls()


def nodes_by_provider(session: Any) -> dict[str, Counter[str]]:
    """Return how many operators of each kind a session gave to each provider, before it fused any.

    Args:
        session: ONNX Runtime's own, opened so that it records this.
    """
    found: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
    return found


def check_products(wanted: str, nodes: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse a session that multiplies on another provider than the one it is named after.

    Raises:
        MeasurementError: Naming the operators.
    """
    for provider, kinds in nodes.items():
        elsewhere = {kind: count for kind, count in kinds.items() if kind in PRODUCTS}
        if provider != wanted and elsewhere:
            raise MeasurementError(
                f"{wanted} does not run all products of this model",
                cause=f"{provider} got {', '.join(f'{count} {kind}' for kind, count in sorted(elsewhere.items()))}",
                hint="use another variant, or a backend that has these operators",
            )


def check_provider(wanted: str, found: list[str]) -> None:
    """Refuse a session that would run by another provider than the one it is named after.

    Raises:
        MeasurementError: Naming both.
    """
    if not found or found[0] != wanted:
        raise MeasurementError(
            f"ONNX Runtime does not run this model by {wanted}",
            cause=f"its session has {', '.join(found) or 'no provider'}",
            hint="its libraries (CUDA, cuDNN, TensorRT) are missing or of other versions; see the log",
        )


class OnnxRuntimeCudaBackend(_GpuProvider):
    """The CUDA provider."""

    provider: ClassVar[str] = "CUDAExecutionProvider"

    def _quantised(self, recipe: Recipe) -> Support:
        if recipe.precision == "int8":
            return Support(
                False,
                "the CUDA provider computes quantised graphs in fp32, between quantise and dequantise nodes",
                "use the `onnxruntime-tensorrt` backend, which has int8 kernels",
            )
        return Support(True)

    def _options(self, artifact: Artifact, options: RuntimeOptions) -> dict[str, str]:
        return {
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "use_tf32": "1" if artifact.precision == "tf32" else "0",
        }


class OnnxRuntimeTensorRtBackend(_GpuProvider):
    """The TensorRT provider; an engine is built at the first opening, in minutes, and kept for later processes."""

    provider: ClassVar[str] = "TensorrtExecutionProvider"

    def _quantised(self, recipe: Recipe) -> Support:
        if "quantize-dynamic" in recipe.techniques or "quantize-weights" in recipe.techniques:
            return Support(
                False, "TensorRT needs the scales of activations beforehand", "use a variant with `quantize-static`"
            )
        return Support(True)

    def _options(self, artifact: Artifact, options: RuntimeOptions) -> dict[str, str]:
        cache = options.cache / f"tensorrt-{artifact.sha256[:16]}-{artifact.precision}"
        cache.mkdir(parents=True, exist_ok=True)
        return {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(cache),
            "trt_fp16_enable": "1" if artifact.precision == "fp16" else "0",
            "trt_bf16_enable": "1" if artifact.precision == "bf16" else "0",
            "trt_int8_enable": "1" if artifact.precision == "int8" else "0",
        }
