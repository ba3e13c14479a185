"""Counts on an ONNX graph: multiply-accumulates, parameters, inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from leptonbench.errors import UsageError
from leptonbench.schema import TensorSpec

_PASSTHROUGH = frozenset({"DequantizeLinear", "Cast", "Identity", "Reshape", "Transpose"})


class GraphFacts(NamedTuple):
    """What is known of a graph without running it."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    macs: int
    parameters: int


def inspect_graph(path: Path, shapes: Sequence[tuple[int, ...]] = ()) -> GraphFacts:
    """Read an ONNX file's inputs, outputs, multiply-accumulates of one sample and parameter count.

    Args:
        path: Of the file.
        shapes: Of one sample's inputs, in the graph's order, for its free dimensions; without it, they count as one.

    Raises:
        UsageError: If shapes cannot be inferred.
    """
    import onnx

    model = onnx.load(str(path))
    constants = {tensor.name for tensor in model.graph.initializer}  # old files list them among the inputs
    inputs = tuple(_tensor(value) for value in model.graph.input if value.name not in constants)
    outputs = tuple(_tensor(value) for value in model.graph.output)
    graph = infer_shapes(model, shapes, name=path.name)
    found = {
        value.name: tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.output, *graph.value_info)
    }
    found |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    macs = sum(_macs(node, found) for node in graph.node)
    return GraphFacts(inputs, outputs, macs, _parameters(graph))


def infer_shapes(model: Any, shapes: Sequence[tuple[int, ...]] = (), *, name: str = "") -> Any:
    """Return an onnx `ModelProto`'s graph with the shape of every tensor that can be told; the model is changed.

    Args:
        model: As loaded.
        shapes: Of one sample's inputs, in the graph's order, for its free dimensions; without it, they count as one.
        name: Of the file, for errors.

    Raises:
        UsageError: If shapes cannot be inferred.
    """
    import onnx

    constants = {tensor.name for tensor in model.graph.initializer}
    fed = [value for value in model.graph.input if value.name not in constants]
    for index, value in enumerate(fed):
        dimensions = value.type.tensor_type.shape.dim
        known = shapes[index] if index < len(shapes) else ()
        sizes = known if len(known) == len(dimensions) else (1,) * len(dimensions)
        for dimension, size in zip(dimensions, sizes, strict=True):
            if not dimension.HasField("dim_value"):
                dimension.ClearField("dim_param")
                dimension.dim_value = size
    # Stated for a free batch; torch's exporter also lists the weights there, whose shapes the initialisers have.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise UsageError(
            f"cannot infer shapes in `{name}`", cause=str(error), hint="export the model with static shapes"
        ) from error
    return inferred.graph


def _tensor(value: Any) -> TensorSpec:
    import onnx

    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    return TensorSpec(name=value.name, shape=shape, dtype=dtype)


def _macs(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    """Count the multiply-accumulates of one operator; those without a product count zero."""
    shape_of = shapes.get
    if node.op_type in ("Conv", "ConvInteger", "QLinearConv", "ConvTranspose"):
        weight = shape_of(node.input[3 if node.op_type == "QLinearConv" else 1], ())
        # Each output of a convolution (each input of a transposed one) meets the weights of one filter.
        anchor = shape_of(node.input[0] if node.op_type == "ConvTranspose" else node.output[0], ())
        return math.prod(anchor) * math.prod(weight[1:]) if weight and anchor else 0
    if node.op_type == "Gemm":
        left, out = shape_of(node.input[0], ()), shape_of(node.output[0], ())
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(out) * left[0 if transposed else 1] if left and out else 0
    if node.op_type in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        left, out = shape_of(node.input[0], ()), shape_of(node.output[0], ())
        return math.prod(out) * left[-1] if left and out else 0
    return 0


def _parameters(graph: Any) -> int:
    """Count the weights: initialisers that reach a product or a normalisation, not shapes, scales or zero points."""
    initialisers = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    scales = {
        name
        for node in graph.node
        if node.op_type in ("DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear")
        for name in node.input[1:]
    }
    weights: set[str] = set()
    origin = {node.output[0]: node.input[0] for node in graph.node if node.op_type in _PASSTHROUGH and node.input}
    for node in graph.node:
        if node.op_type in (
            "Conv",
            "ConvInteger",
            "ConvTranspose",
            "Gemm",
            "MatMul",
            "MatMulInteger",
            "BatchNormalization",
        ):
            weights.update(node.input[1:])
        elif node.op_type == "Add":  # biases of integer convolutions are added by one
            weights.update(node.input)
    weights = {_root(name, origin) for name in weights}
    integer_zero_points = {
        name for node in graph.node if node.op_type in ("ConvInteger", "MatMulInteger") for name in node.input[2:]
    }
    return sum(initialisers[name] for name in weights - scales - integer_zero_points if name in initialisers)


def _root(name: str, origin: dict[str, str]) -> str:
    """Follow a tensor back through what only casts, scales or reshapes it."""
    while name in origin:
        name = origin[name]
    return name
