"""ONNX Runtime on the CPU provider."""

from __future__ import annotations

import platform
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from leptonbench.backends.base import VNNI_FEATURES, YES, Arrays, Recipe, RuntimeOptions, Session, Support
from leptonbench.errors import MeasurementError
from leptonbench.schema import Artifact


class OnnxRuntimeSession:
    """An ONNX file opened by ONNX Runtime."""

    def __init__(self, session: Any, facts: dict[str, Any]) -> None:
        self._session = session
        self._facts = facts

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """Run one batch."""
        outputs: list[NDArray[Any]] = self._session.run(None, inputs)
        return outputs

    def effective(self) -> dict[str, Any]:
        """Return version, provider, threads, and how 8-bit products are summed."""
        return self._facts

    def close(self) -> None:
        """Drop the session."""
        self._session = None


class OnnxRuntimeBackend:
    """ONNX Runtime, CPU execution provider, all graph optimisations."""

    format: ClassVar[Literal["torch-export", "onnx"]] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say no to bf16: the CPU provider has no bf16 convolution."""
        if recipe.precision == "bf16":
            return Support(
                False,
                "ONNX Runtime's CPU provider has no bf16 convolution kernels",
                "use `torch`, `torch-compile` or `openvino` on a CPU with bf16 instructions",
            )
        return YES

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the graph.

        x86 CPUs without VNNI add pairs of u8 x s8 products in 16 bits, which saturates and costs accuracy; there
        the exact (slower) kernels are asked for, so that the speed shown belongs to the accuracy shown.
        """
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.log_severity_level = 3
        facts: dict[str, Any] = {
            "engine": f"onnxruntime {onnxruntime.__version__}",
            "provider": "CPUExecutionProvider",
            "threads": options.threads,
            "precision": artifact.precision,
        }
        if artifact.precision == "int8":
            exact = platform.machine() in ("x86_64", "AMD64") and not options.features & VNNI_FEATURES
            settings.add_session_config_entry("session.x64quantprecision", "1" if exact else "0")
            facts["int8_accumulation"] = "exact u8 x u8 kernels (no VNNI)" if exact else "native"
        with tempfile.TemporaryDirectory() as scratch:
            if options.inspect:
                settings.optimized_model_filepath = str(Path(scratch) / "optimised.onnx")
            try:
                session = onnxruntime.InferenceSession(
                    artifact.path, sess_options=settings, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # onnxruntime raises classes of its own without a common public base
                raise MeasurementError(
                    "ONNX Runtime cannot open the model",
                    cause=str(error).strip().splitlines()[0],
                    hint="check the operators and their types with `leptonbench doctor` and the engine's version",
                ) from error
            if options.inspect:
                facts["operators"] = _operators(Path(scratch) / "optimised.onnx")
        return OnnxRuntimeSession(session, facts)


def _operators(path: Path) -> dict[str, int]:
    """Count the operators that the engine kept after its own fusions."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    return dict(Counter(node.op_type for node in graph.node).most_common())
