"""Whether a user's ONNX file takes the samples that a task gives."""

from __future__ import annotations

from typing import Any

from leptonbench.compression.source import ModelSource
from leptonbench.errors import UsageError
from leptonbench.harness.feed import named_for
from leptonbench.schema import TensorSpec
from leptonbench.tasks import Arrays


def check_onnx_inputs(source: ModelSource, sample: Arrays) -> None:
    """Refuse an ONNX model that cannot take the task's samples.

    Raises:
        UsageError: If it takes more tensors than there are, or one of another shape or type.
    """
    from leptonbench.compression.graph import inspect_graph

    inputs = inspect_graph(source.path).inputs
    if len(inputs) <= len(sample):
        fed = named_for(sample, inputs)
        if all(_fits(spec, fed[spec.name]) for spec in inputs):
            return
    found = ", ".join(f"{spec.name}: {spec.dtype}{_shape(spec.shape)}" for spec in inputs)
    wanted = ", ".join(f"{name}: {a.dtype.name}{_shape((None, *a.shape[1:]))}" for name, a in sample.items())
    raise UsageError(
        f"`{source.name}` does not take this workload's samples",
        cause=f"its inputs are {found}; the samples are {wanted}",
        hint="export the model with these inputs, or put its preprocessor_config.json beside the .onnx file",
    )


def _fits(spec: TensorSpec, array: Any) -> bool:
    if spec.dtype != array.dtype.name or len(spec.shape) != array.ndim:
        return False
    return all(have is None or have == size for have, size in zip(spec.shape[1:], array.shape[1:], strict=True))


def _shape(shape: tuple[int | None, ...]) -> str:
    return (
        "[" + ", ".join("batch" if size is None and i == 0 else str(size or "?") for i, size in enumerate(shape)) + "]"
    )
