"""ONNX Runtime on the CPU provider."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from leptonbench.backends.base import VNNI_FEATURES, YES, Arrays, Recipe, RuntimeOptions, Session, Support
from leptonbench.backends.optimised import executed_precision, read_optimised
from leptonbench.backends.profile import OperatorTimes, summarise, warmed
from leptonbench.errors import MeasurementError
from leptonbench.schema import Artifact, EngineOptions

_LEVELS = {
    "off": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_BOUND_SHAPES = 64  # shapes of inputs whose outputs keep their buffers: batch sizes are few, lengths may be many


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

    def profile(self, samples: Sequence[Arrays]) -> OperatorTimes:
        """Run the samples and return ONNX Runtime's own profile of its kernels."""
        if not self._session.get_session_options().enable_profiling:
            raise ValueError("the session was opened for timing, not for a profile")
        for sample in warmed(samples):
            self.run(sample)
        path = Path(self._session.end_profiling())
        try:
            events = json.loads(path.read_text(encoding="utf-8"))
        finally:
            path.unlink()
        return summarise(_split_runs(events))

    def close(self) -> None:
        """Drop the session."""
        self._session = None


class BoundSession(OnnxRuntimeSession):
    """A session whose outputs go into buffers that are kept for each shape of the inputs.

    On the CPU this spares the engine the allocation of its outputs and costs a copy of them, since the next run writes
    into the same buffers; inputs are read where they lie with binding or without. It pays where outputs are large.
    """

    def __init__(self, session: Any, facts: dict[str, Any]) -> None:
        super().__init__(session, facts)
        self._bindings: OrderedDict[tuple[Any, ...], tuple[Any, list[Any]]] = OrderedDict()

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """Run one batch; the first of each shape without binding, to learn the shapes of its outputs."""
        shape = tuple((name, array.shape) for name, array in inputs.items())
        if shape not in self._bindings:
            outputs = super().run(inputs)
            self._bind(shape, outputs)
            return outputs
        binding, buffers = self._bindings[shape]
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        self._session.run_with_iobinding(binding)
        return [buffer.numpy().copy() for buffer in buffers]

    def _bind(self, shape: tuple[Any, ...], outputs: list[NDArray[Any]]) -> None:
        import onnxruntime

        binding = self._session.io_binding()
        # New memory, not the first outputs' own: those are the caller's by now.
        buffers = [
            onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(output.shape), output.dtype, "cpu")
            for output in outputs
        ]
        for spec, buffer in zip(self._session.get_outputs(), buffers, strict=True):
            binding.bind_ortvalue_output(spec.name, buffer)
        self._bindings[shape] = (binding, buffers)
        if len(self._bindings) > _BOUND_SHAPES:
            self._bindings.popitem(last=False)

    def close(self) -> None:
        """Drop the buffers and the session."""
        self._bindings.clear()
        super().close()


class OnnxRuntimeBackend:
    """ONNX Runtime, CPU execution provider; all graph optimisations unless a cell asks for fewer."""

    format: ClassVar[Literal["torch-export", "onnx"]] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say no to bf16, which has no convolution kernels, and to int8 that would not be fused into int8 kernels.

        fp16 runs: on x86 the engine turns the weights into fp32 when it loads them, which `executed_precision` says.
        """
        if recipe.precision == "bf16":
            return Support(
                False,
                "ONNX Runtime's CPU provider has no bf16 kernels for convolutions and matrix products",
                "use `torch`, `torch-compile` or `openvino` on a CPU with bf16 instructions",
            )
        if "quantize-static" in recipe.techniques and recipe.options.graph_optimisation in ("off", "basic"):
            return Support(
                False,
                "ONNX Runtime fuses quantise and dequantise nodes into int8 kernels at level `extended`; below it the "
                "arithmetic would be fp32 under an int8 label",
                "use `--graph-optimisation extended` or `all`",
            )
        return YES

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the graph.

        x86 CPUs without VNNI add pairs of u8 x s8 products in 16 bits, which saturates and costs accuracy; there
        the exact (slower) kernels are asked for, so that the speed shown belongs to the accuracy shown.
        """
        facts: dict[str, Any] = {"provider": "CPUExecutionProvider", "threads": options.threads}
        entries: dict[str, str] = {}
        if artifact.precision == "int8":
            exact = _needs_exact(artifact, options)
            entries["session.x64quantprecision"] = "1" if exact else "0"
            facts["int8_accumulation"] = "exact u8 x u8 kernels (no VNNI)" if exact else "native"
        session, found = open_session(artifact, options, providers=["CPUExecutionProvider"], entries=entries)
        kind = BoundSession if options.engine.io_binding else OnnxRuntimeSession
        facts |= found | {"options": read_back(session, io_binding=kind is BoundSession)}
        return kind(session, facts)


def open_session(
    artifact: Artifact, options: RuntimeOptions, *, providers: list[Any], entries: Mapping[str, str]
) -> tuple[Any, dict[str, Any]]:
    """Return ONNX Runtime's own session, and what is known of it.

    Args:
        artifact: The graph.
        options: Threads, the level of optimisation, whether to inspect or to profile.
        providers: That may run it, by name or as pairs of a name and its options.
        entries: Configuration of the session.

    Raises:
        MeasurementError: If the engine refuses the graph.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    level = _LEVELS[options.engine.graph_optimisation]
    settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    settings.enable_cpu_mem_arena = options.engine.arena
    settings.log_severity_level = 3
    for key, value in entries.items():
        settings.add_session_config_entry(key, value)
    facts: dict[str, Any] = {"engine": f"onnxruntime {onnxruntime.__version__}", "precision": artifact.precision}
    with tempfile.TemporaryDirectory() as scratch:
        if options.profile:
            settings.enable_profiling = True
            settings.profile_file_prefix = str(options.cache / f"profile-{os.getpid()}")
        if options.inspect:
            settings.optimized_model_filepath = str(Path(scratch) / "optimised.onnx")
        try:
            session = onnxruntime.InferenceSession(artifact.path, sess_options=settings, providers=providers)
        except Exception as error:  # onnxruntime raises classes of its own without a common public base
            raise MeasurementError(
                "ONNX Runtime cannot open the model",
                cause=str(error).strip().splitlines()[0],
                hint="check the operators and their types with `leptonbench doctor` and the engine's version",
            ) from error
        if options.inspect:
            facts |= _inspect(Path(scratch) / "optimised.onnx")
    return session, facts


def read_back(session: Any, *, io_binding: bool) -> dict[str, Any]:
    """Return the options that the session itself says it has."""
    held = session.get_session_options()
    names = {level: name for name, level in _LEVELS.items()}
    return EngineOptions(
        graph_optimisation=names[held.graph_optimization_level.name],
        arena=held.enable_cpu_mem_arena,
        io_binding=io_binding,
    ).model_dump(mode="json")


def _needs_exact(artifact: Artifact, options: RuntimeOptions) -> bool:
    """Return whether the fast 8-bit kernels would saturate: on x86 without VNNI, unless weights have 7 bits."""
    if platform.machine() not in ("x86_64", "AMD64") or options.features & VNNI_FEATURES:
        return False
    return bool(artifact.facts.get("steps", {}).get("quantize-static", {}).get("weight_bits", 8) > 7)


def _inspect(path: Path) -> dict[str, Any]:
    """Return what the engine made of the graph: its operators, and the precisions of those that multiply."""
    found = read_optimised(path)
    return {
        "operators": found.operators,
        "product_precisions": found.products,
        "executed_precision": executed_precision(found.products),
    }


def _split_runs(events: list[dict[str, Any]]) -> list[list[tuple[str, float]]]:
    """Return operator and seconds of each kernel, by run of the model, from ONNX Runtime's trace (microseconds)."""
    runs = sorted((event for event in events if event.get("name") == "model_run"), key=lambda event: event["ts"])
    kernels = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    return [
        [
            (kernel["args"]["op_name"], kernel["dur"] / 1e6)
            for kernel in kernels
            if run["ts"] <= kernel["ts"] <= run["ts"] + run["dur"]
        ]
        for run in runs
    ]
