"""PyTorch on an NVIDIA GPU: eager, compiled, or with each batch size captured as a CUDA graph.

A run takes arrays in host memory and gives arrays in host memory: the copies both ways are inside it, and it ends by
waiting for its stream. fp32 is fp32: torch's convolutions would otherwise round to TF32, which is a variant of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.backends.base import Arrays, Recipe, RuntimeOptions, Session, Support, refuse_options
from leptonbench.backends.cuda import card_support, installed, torch_build
from leptonbench.backends.profile import OperatorTimes, summarise, warmed
from leptonbench.backends.torch_compile import compile_program, compile_support
from leptonbench.backends.torch_eager import NO_OPTIONS, TorchSession, load_program
from leptonbench.backends.torch_weights import APPLIED, apply_steps
from leptonbench.errors import MeasurementError
from leptonbench.schema import Artifact

_WARM_CAPTURES = 3  # runs on a side stream before a capture: libraries set up their workspaces in the first ones
_ON_GPU = "copied in, run and copied out inside the timer; the stream is waited for"


def torch_cuda_support(recipe: Recipe, features: frozenset[str]) -> Support:
    """Say what the torch engines on a GPU can run: PyTorch models in floating point that the card has."""
    if recipe.source == "onnx":
        return Support(False, "torch does not load ONNX files", "use the `onnxruntime-cuda` backend")
    if "quantize-static" in recipe.techniques:
        return Support(
            False,
            "the statically quantised artifact is an ONNX graph, which torch does not load",
            "use the `onnxruntime-tensorrt` backend",
        )
    if APPLIED.intersection(recipe.techniques) and installed("torchao") is None:
        return Support(False, "torch narrows weights by `torchao`, which is not installed", "`pip install torchao`")
    build = torch_build()
    return card_support(recipe, features) if build.ok else build


class CudaSession(TorchSession):
    """A program on the GPU, on a stream of its own, so that several instances may overlap.

    Args:
        module: What is called.
        artifact: Names and types of the inputs.
        facts: What `effective` returns.
        device: Of torch.
    """

    def __init__(self, module: Any, artifact: Artifact, facts: dict[str, Any], *, device: str) -> None:
        super().__init__(module, artifact, facts)
        self._device = device
        self._stream = self._torch.cuda.Stream()

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """Run one batch: copy in, compute, copy out, wait."""
        torch = self._torch
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            outputs = self._forward(inputs)
            arrays = [np.asarray(part.float().to("cpu", copy=True).numpy()) for part in outputs]
        self._stream.synchronize()
        return arrays

    def _forward(self, inputs: Arrays) -> Sequence[Any]:
        """Return the output tensors, on the GPU."""
        torch = self._torch
        tensors = {name: torch.from_numpy(array).to(self._device, self._dtypes[name]) for name, array in inputs.items()}
        outputs = self._module(**tensors)
        return outputs if isinstance(outputs, (tuple, list)) else (outputs,)

    def profile(self, samples: Sequence[Arrays]) -> OperatorTimes:
        """Run the samples and return the time of each operator's kernels on the GPU."""
        from torch.profiler import ProfilerActivity, profile

        runs = []
        for sample in warmed(samples):
            with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
                self.run(sample)
            runs.append(
                [
                    (event.key.removeprefix("aten::"), event.self_device_time_total / 1e6 / event.count)
                    for event in recorded.key_averages()
                    if event.self_device_time_total > 0
                    for _ in range(event.count)
                ]
            )
        return summarise(runs)

    def effective(self) -> dict[str, Any]:
        """Return versions, precision and the most memory that torch's allocator held so far."""
        return {**self._facts, "allocator_peak_bytes": int(self._torch.cuda.max_memory_reserved())}


class Captured(NamedTuple):
    """One batch size as a graph: what to fill, what to replay, what to read."""

    graph: Any
    inputs: dict[str, Any]
    outputs: tuple[Any, ...]


class GraphSession(CudaSession):
    """A program whose kernels are launched by one call for each batch size, as captured when it was opened.

    A size that was not captured, such as the remainder of an offline query, runs eagerly.
    """

    def __init__(
        self, module: Any, artifact: Artifact, facts: dict[str, Any], *, device: str, batches: Sequence[int]
    ) -> None:
        super().__init__(module, artifact, facts, device=device)
        self._captured = {batch: self._capture(artifact, batch) for batch in sorted(set(batches), reverse=True)}

    def _capture(self, artifact: Artifact, batch: int) -> Captured:
        """Capture the program for one batch size."""
        torch = self._torch
        inputs = {
            spec.name: torch.zeros((batch, *spec.shape[1:]), dtype=self._dtypes[spec.name], device=self._device)
            for spec in artifact.inputs
        }
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode():
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_CAPTURES):
                    self._module(**inputs)
            self._stream.synchronize()
            with torch.cuda.graph(graph, stream=self._stream):
                outputs = self._module(**inputs)
        return Captured(graph, inputs, tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,))

    def _forward(self, inputs: Arrays) -> Sequence[Any]:
        """Fill the captured inputs and replay; the outputs are overwritten by the next run and copied before it."""
        batch = next(iter(inputs.values())).shape[0]
        captured = self._captured.get(batch)
        if captured is None:
            return super()._forward(inputs)
        for name, array in inputs.items():
            captured.inputs[name].copy_(self._torch.from_numpy(array))
        captured.graph.replay()
        return captured.outputs

    def close(self) -> None:
        """Drop the graphs and the program."""
        self._captured.clear()
        super().close()


def set_fp32_precision(torch: Any, precision: str) -> str:
    """Make fp32 products exact, or round their inputs to TF32; return what torch says it does.

    Raises:
        MeasurementError: If torch does not do as asked.
    """
    wanted = "tf32" if precision == "tf32" else "ieee"
    parts = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    for part in parts:
        part.fp32_precision = wanted
    found = {str(part.fp32_precision) for part in parts}
    if found != {wanted}:
        raise MeasurementError(
            f"torch does not compute fp32 products as {wanted}",
            cause=f"it says {', '.join(sorted(found))}",
            hint="the cell would be mislabelled; use torch 2.9 or later",
        )
    return wanted


class TorchCudaBackend:
    """PyTorch eager on a GPU."""

    format: ClassVar[Literal["torch-export", "onnx"]] = "torch-export"
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    device: ClassVar[Literal["cpu", "gpu"]] = "gpu"
    applies: ClassVar[frozenset[str]] = APPLIED
    torch_device: ClassVar[str] = "cuda"

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say whether torch can run the recipe on this card."""
        honoured = refuse_options(recipe.options, NO_OPTIONS)
        return torch_cuda_support(recipe, features) if honoured.ok else honoured

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the program onto the GPU."""
        module, facts = self._load(artifact, options)
        return CudaSession(module, artifact, facts | {"launch": "eager"}, device=self.torch_device)

    def _load(self, artifact: Artifact, options: RuntimeOptions) -> tuple[Any, dict[str, Any]]:
        """Return the program on the GPU, and what is known of it.

        Raises:
            MeasurementError: If torch finds no GPU, or cannot load the program.
        """
        import torch

        if not torch.cuda.is_available():
            raise MeasurementError(
                "torch finds no GPU",
                cause=f"torch {torch.__version__}, CUDA {torch.version.cuda}",
                hint="the driver may be older than this build of torch needs: see `nvidia-smi`",
            )
        products = set_fp32_precision(torch, artifact.precision)
        torch.backends.cudnn.benchmark = True  # shapes are few and warmed: the fastest algorithm of each is chosen
        module, facts = load_program(artifact, options, device=self.torch_device)
        module, applied = apply_steps(module, artifact)
        major, minor = torch.cuda.get_device_capability()
        return module, facts | applied | {
            "gpu": torch.cuda.get_device_name(),
            "capability": f"{major}.{minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "fp32_products": products,
            "copies": _ON_GPU,
        }


class TorchCudaGraphBackend(TorchCudaBackend):
    """PyTorch with a CUDA graph for each batch size: one launch in place of one a kernel."""

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the program onto the GPU and capture it for every batch size that will be run.

        Raises:
            MeasurementError: If the samples differ in length, or a graph cannot be captured.
        """
        free = [spec.name for spec in artifact.inputs if None in spec.shape[1:]]
        if free:
            raise MeasurementError(
                "a CUDA graph has fixed shapes, and samples of this model differ in length",
                cause=f"input `{free[0]}` has a free dimension",
                hint="use `torch-cuda` or `torch-cuda-compile`",
            )
        module, facts = self._load(artifact, options)
        facts |= {"launch": "CUDA graph", "captured_batches": sorted(set(options.batches))}
        try:
            return GraphSession(module, artifact, facts, device=self.torch_device, batches=options.batches)
        except RuntimeError as error:
            raise MeasurementError(
                "the program cannot be captured as a CUDA graph",
                cause=str(error).strip().splitlines()[0],
                hint="use `torch-cuda`: some operators wait for the GPU or allocate on the host",
            ) from error


class TorchCudaCompileBackend(TorchCudaBackend):
    """PyTorch compiled for the GPU (inductor, Triton kernels)."""

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say whether torch can run the recipe on this card."""
        honoured = compile_support(recipe.options)
        return torch_cuda_support(recipe, features) if honoured.ok else honoured

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the program onto the GPU; compilation happens at the first run of each shape that needs it."""
        module, facts = compile_program(artifact, options, lambda: self._load(artifact, options))
        return CudaSession(module, artifact, facts | {"launch": "compiled"}, device=self.torch_device)
