"""OpenVINO on the CPU plugin, held to the precision that the cell's label says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from leptonbench.backends.base import (
    YES,
    Arrays,
    Recipe,
    RuntimeOptions,
    Session,
    Support,
    needs_native_bf16,
    refuse_options,
)
from leptonbench.backends.optimised import executed_precision
from leptonbench.backends.profile import OperatorTimes, summarise, warmed
from leptonbench.errors import MeasurementError
from leptonbench.schema import Artifact, EngineOptions

_NO_OPTIONS = {
    "graph_optimisation": (
        "OpenVINO always applies all of its graph transformations; it has no level to set",
        "use `onnxruntime`, which has levels",
    ),
    "arena": (
        "OpenVINO plans its memory when it compiles and has no arena to turn off",
        "use `onnxruntime`, whose CPU arena can be turned off",
    ),
    "io_binding": (
        "OpenVINO always reads inputs in place and writes outputs into its request's own buffers",
        "leave the option out: it is how this engine works anyway",
    ),
}
_HEAVY = frozenset({"Convolution", "Deconvolution", "GroupConvolution", "FullyConnected", "MatMul"})
# The plugin names a product with packed 4-bit weights by its weights; they are unpacked to fp32 and multiplied so.
_PRECISIONS = {"f32": "fp32", "u4": "fp32", "i4": "fp32", "f16": "fp16", "bf16": "bf16", "u8": "int8", "i8": "int8"}
_HINTS = {"bf16": "bf16", "fp16": "f16"}  # the plugin takes f32 in place of f16 where the CPU has no fp16 arithmetic


class OpenVinoSession:
    """A compiled OpenVINO model with one inference request."""

    def __init__(self, compiled: Any, facts: dict[str, Any], *, counting: bool = False) -> None:
        self._compiled = compiled
        self._counting = counting
        self._request = compiled.create_infer_request()
        self._facts = facts

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """Run one batch; the outputs are copied out of the request's own buffers."""
        result = self._request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return [np.array(result[port]) for port in self._compiled.outputs]

    def profile(self, samples: Sequence[Arrays]) -> OperatorTimes:
        """Run the samples and return the plugin's own performance counters."""
        if not self._counting:
            raise ValueError("the session was opened for timing, not for a profile")
        runs = []
        for sample in warmed(samples):
            self.run(sample)
            runs.append(
                [
                    (info.node_type, info.real_time.total_seconds())
                    for info in self._request.get_profiling_info()
                    if info.status.name == "EXECUTED"
                ]
            )
        return summarise(runs)

    def effective(self) -> dict[str, Any]:
        """Return version, threads, and the precision each kind of layer truly runs in."""
        return self._facts

    def close(self) -> None:
        """Drop the request and the model."""
        self._request = None
        self._compiled = None


class OpenVinoBackend:
    """OpenVINO CPU plugin."""

    format: ClassVar[Literal["torch-export", "onnx"]] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say whether it runs the recipe in the precision it is labelled with."""
        if not (honoured := refuse_options(recipe.options, _NO_OPTIONS)).ok:
            return honoured
        if "quantize-dynamic" in recipe.techniques:
            return Support(
                False,
                "OpenVINO expands ONNX dynamic quantisation into floating-point layers, so it would not run int8",
                "use the `onnxruntime` backend, or the `int8-static` variant",
            )
        return needs_native_bf16("OpenVINO", features) if recipe.precision == "bf16" else YES

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Compile the model with the inference precision pinned, and check what the layers became.

        Raises:
            MeasurementError: If the compiled layers do not run in the precision of the label.
        """
        import openvino

        core = openvino.Core()
        config = {
            "INFERENCE_NUM_THREADS": options.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS.get(artifact.precision, "f32"),
            "PERF_COUNT": options.profile,
        }
        try:
            compiled = core.compile_model(artifact.path, "CPU", config)
        except RuntimeError as error:
            raise MeasurementError(
                "OpenVINO cannot compile the model",
                cause=str(error).strip().splitlines()[-1],
                hint="check the operators against OpenVINO's supported list",
            ) from error
        layers = _layer_precisions(compiled)
        products = _products(layers)
        _check_label(artifact.precision, products)
        facts = {
            "engine": f"openvino {openvino.__version__}",
            "threads": int(compiled.get_property("INFERENCE_NUM_THREADS")),
            "options": EngineOptions().model_dump(mode="json"),
            "precision": artifact.precision,
            "inference_precision_hint": str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string()),
            "layer_precisions": dict(layers),
            "product_precisions": dict(products),
            "executed_precision": executed_precision(products),
        }
        return OpenVinoSession(compiled, facts, counting=options.profile)


def _layer_precisions(compiled: Any) -> Counter[str]:
    """Count the runtime precision of the layers that do the arithmetic."""
    counts: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        if "layerType" in info and _text(info["layerType"]) in _HEAVY:
            counts[_text(info["runtimePrecision"])] += 1
    return counts


def _text(value: Any) -> str:
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)


def _products(layers: Counter[str]) -> Counter[str]:
    """Count the layers by the precision that they multiply in, in the suite's words."""
    counts: Counter[str] = Counter()
    for name, count in layers.items():
        counts[_PRECISIONS.get(name, name)] += count
    return counts


def _check_label(precision: str, products: Counter[str]) -> None:
    """Refuse a model whose arithmetic is not what its label says, by the majority of its layers.

    fp16 may run as fp32: it then saves only the file's size, which `executed_precision` tells the reader.
    """
    wanted = {"fp16", "fp32"} if precision == "fp16" else {precision}
    total = sum(products.values())
    matching = sum(count for name, count in products.items() if name in wanted)
    if total and matching * 2 < total:
        ran = ", ".join(f"{count} {name}" for name, count in products.most_common())
        raise MeasurementError(
            f"OpenVINO does not run this model in {precision}",
            cause=f"the compiled layers run as {ran}",
            hint="the cell would be mislabelled; use another backend for this variant",
        )
