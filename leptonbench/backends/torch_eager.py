"""PyTorch, eager: the exported program's operators, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from leptonbench.backends.base import (
    FP16_FEATURES,
    YES,
    Arrays,
    Recipe,
    RuntimeOptions,
    Session,
    Support,
    needs_native_bf16,
    refuse_options,
)
from leptonbench.backends.profile import OperatorTimes, summarise, warmed
from leptonbench.errors import MeasurementError
from leptonbench.schema import Artifact, EngineOptions

NO_MEMORY_OPTIONS = {
    "arena": (
        "torch's CPU allocator has no arena: every tensor is asked of the system",
        "use `onnxruntime`, whose CPU arena can be turned off",
    ),
    "io_binding": (
        "torch returns new tensors from every call and binds no buffers",
        "use `onnxruntime`, which binds inputs and outputs",
    ),
}
NO_OPTIONS = {
    "graph_optimisation": (
        "eager torch runs the exported operators one by one and optimises no graph",
        "use `torch-compile`, which does",
    ),
    **NO_MEMORY_OPTIONS,
}


def torch_support(recipe: Recipe, features: frozenset[str]) -> Support:
    """Say what both torch engines can run: PyTorch models in floating point."""
    if recipe.source == "onnx":
        return Support(False, "torch does not load ONNX files", "use the `onnxruntime` or `openvino` backend")
    if recipe.precision == "int8" or any(name.startswith("quantize-") for name in recipe.techniques):
        return Support(
            False,
            "the quantised artifact is an ONNX graph, which torch does not load",
            "use the `onnxruntime` or `openvino` backend",
        )
    if recipe.precision == "fp16" and not features & FP16_FEATURES:
        return Support(
            False,
            "this CPU has no fp16 arithmetic; torch would convolve in a plain loop, many times slower than fp32",
            "use `onnxruntime` or `openvino`, which turn the weights into fp32 at loading, or a CPU with avx512_fp16",
        )
    return needs_native_bf16("torch", features) if recipe.precision == "bf16" else YES


class TorchSession:
    """A `torch.export` program run by PyTorch, eagerly or compiled.

    Args:
        module: What is called.
        artifact: Names and types of the inputs.
        facts: What `effective` returns.
    """

    def __init__(self, module: Any, artifact: Artifact, facts: dict[str, Any]) -> None:
        import torch

        self._torch = torch
        self._module = module
        self._dtypes = {spec.name: getattr(torch, spec.dtype) for spec in artifact.inputs}
        self._facts = facts

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """Run one batch; float32 in and out, converted to the program's own type inside."""
        torch = self._torch
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(self._dtypes[name]) for name, array in inputs.items()}
            outputs = self._module(**tensors)
            parts = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
            return [np.asarray(part.float().numpy()) for part in parts]

    def profile(self, samples: Sequence[Arrays]) -> OperatorTimes:
        """Run the samples and return torch's own profile, each operator without those it calls."""
        from torch.profiler import ProfilerActivity, profile

        runs = []
        for sample in warmed(samples):
            with profile(activities=[ProfilerActivity.CPU]) as recorded:
                self.run(sample)
            runs.append(
                [
                    (event.key.removeprefix("aten::"), event.self_cpu_time_total / 1e6 / event.count)
                    for event in recorded.key_averages()
                    for _ in range(event.count)
                ]
            )
        return summarise(runs)

    def effective(self) -> dict[str, Any]:
        """Return versions, threads and precision."""
        return self._facts

    def close(self) -> None:
        """Drop the program."""
        self._module = None


def load_program(artifact: Artifact, options: RuntimeOptions, *, device: str = "cpu") -> tuple[Any, dict[str, Any]]:
    """Load a saved program as a callable module, with the thread count set.

    Args:
        artifact: Where it is.
        options: For the threads.
        device: Of torch; a program is saved on the CPU and moved with all of its constants.

    Raises:
        MeasurementError: If it is no program of a version that this torch reads.
    """
    import torch

    torch.set_num_threads(options.threads)
    if torch.get_num_interop_threads() != 1:  # it can be set once a process, which may open several instances
        torch.set_num_interop_threads(1)
    try:
        program = torch.export.load(artifact.path)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        module = program.module(check_guards=False)
    except Exception as error:  # torch raises zip, pickle and version errors without a common base
        raise MeasurementError(
            "torch cannot load the program",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="delete the cache, so that this version of torch exports the model itself",
        ) from error
    facts = {
        "engine": f"torch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "precision": artifact.precision,
        "executed_precision": artifact.precision,  # eager operators compute in the type of their tensors
        "program": "torch.export",
        "options": EngineOptions().model_dump(mode="json"),
    }
    return module, facts


class TorchBackend:
    """PyTorch eager."""

    format: ClassVar[Literal["torch-export", "onnx"]] = "torch-export"
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say whether torch can run the recipe."""
        honoured = refuse_options(recipe.options, NO_OPTIONS)
        return torch_support(recipe, features) if honoured.ok else honoured

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the program."""
        module, facts = load_program(artifact, options)
        return TorchSession(module, artifact, facts)
