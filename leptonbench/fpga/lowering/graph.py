"""An ONNX graph with fixed shapes, its constants folded, and who makes and reads each tensor."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError

OPSETS = range(13, 24)
"""Versions of the standard operators whose QuantizeLinear and DequantizeLinear mean what is lowered here."""
_QUANTISING = {"QuantizeLinear", "DequantizeLinear"}
_DOMAINS = {"", "ai.onnx", "com.microsoft"}


class Graph:
    """A graph to be lowered.

    Args:
        model: An onnx `ModelProto` of fixed shapes, in topological order.

    Attributes:
        nodes: In order.
        constants: Initialisers by name.
        inputs: Names of the tensors that the caller gives.
        outputs: Names of the tensors that the caller gets.
    """

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self.model = model
        self.nodes: list[Any] = list(model.graph.node)
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.inputs = tuple(item.name for item in model.graph.input if item.name not in self.constants)
        self.outputs = tuple(item.name for item in model.graph.output)
        self._makers = {name: node for node in self.nodes for name in node.output if name}
        self._readers: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self._readers[name].append(node)
        described = (*model.graph.value_info, *model.graph.input, *model.graph.output)
        self._types = {item.name: item.type.tensor_type for item in described}

    def maker(self, name: str) -> Any | None:
        """Return the node that makes a tensor; `None` for inputs and constants."""
        return self._makers.get(name)

    def readers(self, name: str) -> list[Any]:
        """Return the nodes that read a tensor."""
        return self._readers.get(name, [])

    def only_reader(self, name: str) -> Any | None:
        """Return the one node that reads a tensor; `None` if there are more or fewer, or the caller reads it, too."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        if name in self.constants:
            return self.constants[name].shape
        return tuple(size.dim_value for size in self._types[name].shape.dim)

    def dtype(self, name: str) -> str:
        """Return NumPy's name of a tensor's type."""
        from onnx import helper

        if name in self.constants:
            return str(self.constants[name].dtype)
        return str(helper.tensor_dtype_to_np_dtype(self._types[name].elem_type))


def name_of(node: Any) -> str:
    """Return a node's name; for one without, that of its first output."""
    return str(node.name or node.output[0])


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes as Python values."""
    from onnx import helper

    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def read_graph(path: Path, lengths: Mapping[str, int]) -> Graph:
    """Read a model, fix its free dimensions, fold what is then constant, and infer every shape.

    ONNX Runtime's basic optimiser does the folding: it changes no result, and what is left is what that engine itself
    goes on to fuse.

    Args:
        path: Of the ONNX file.
        lengths: Value of each named free dimension; the first dimension of an input is 1 unless named.

    Raises:
        UsageError: If the file cannot be read, is not quantised, has operators of unknown versions or domains, or a
            dimension stays free.
    """
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf and onnx raise classes of their own
        raise UsageError(
            "the model cannot be read", cause=f"{path}: {str(error).strip().splitlines()[0]}", hint="give an ONNX file"
        ) from error
    _check(model, path)
    _fix(model, lengths, path)
    folded = _fold(model, path)
    inferred = onnx.shape_inference.infer_shapes(folded, data_prop=True)
    graph = Graph(inferred)
    for node in graph.nodes:
        for name in filter(None, node.output):
            if name not in graph._types or any(not size.dim_value for size in graph._types[name].shape.dim):
                raise UsageError(
                    "the model's shapes depend on its data",
                    cause=f"operator {node.op_type} (node {name_of(node)}) makes `{name}`, of no fixed shape",
                    hint="the accelerator's programs are made for fixed shapes: export the model without this operator",
                )
    return graph


def _check(model: Any, path: Path) -> None:
    operators = {node.op_type for node in model.graph.node}
    if not operators >= _QUANTISING:
        kind = "quantised at run time" if "DynamicQuantizeLinear" in operators else "not quantised"
        raise UsageError(
            "the accelerator runs 8-bit models only",
            cause=f"{path} is {kind}",
            hint="take the variant `int8-static`",
        )
    version = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if version not in OPSETS:
        raise UsageError(
            f"operators of opset {version} are not known to the accelerator's compiler",
            cause=f"{path} has that version; known are {OPSETS.start} to {OPSETS.stop - 1}",
            hint=f"export the model with opset 18, or convert it with onnx.version_converter to {OPSETS.stop - 1}",
        )
    for node in model.graph.node:
        if node.domain not in _DOMAINS:
            raise UsageError(
                f"operator {node.op_type} (node {name_of(node)}) can be run neither on the accelerator nor on its host",
                cause=f"its domain is {node.domain!r}",
                hint="export the model with standard operators",
            )


def _fix(model: Any, lengths: Mapping[str, int], path: Path) -> None:
    names = {tensor.name for tensor in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in names]
    named = {size.dim_param for item in inputs for size in item.type.tensor_type.shape.dim} - {""}
    if unknown := sorted(set(lengths) - named):
        raise UsageError(
            f"the model's inputs have no dimension `{unknown[0]}`",
            cause=f"{path}: its free dimensions are {', '.join(sorted(named)) or 'none'}",
            hint="give sizes of those only",
        )
    free: set[str] = set()
    for item in inputs:
        for index, size in enumerate(item.type.tensor_type.shape.dim):
            if size.dim_value:
                continue
            value = lengths.get(size.dim_param, 1 if index == 0 else 0)
            if value < 1:
                free.add(size.dim_param or f"dimension {index} of {item.name}")
            size.Clear()
            size.dim_value = max(value, 0)
    if free:
        raise UsageError(
            "the model's input has free dimensions, and the accelerator's programs are made for fixed shapes",
            cause=f"{path}: {', '.join(sorted(free))}",
            hint="fix them: " + " ".join(f"--dimension '{name}=SIZE'" for name in sorted(free)),
        )
    del model.graph.value_info[:]
    for item in model.graph.output:
        item.type.tensor_type.ClearField("shape")


def _fold(model: Any, path: Path) -> Any:
    import onnx
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch) / "folded.onnx"
        settings.optimized_model_filepath = str(saved)
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own without a common public base
            raise UsageError(
                "the model is not valid",
                cause=f"{path}: {str(error).strip().splitlines()[0]}",
                hint="open it with ONNX Runtime to see what it says",
            ) from error
        return onnx.load(str(saved))


def scalar(value: NDArray[Any]) -> Any:
    """Return the one value of an array that may hold several equal ones; `None` if they differ."""
    flat = value.reshape(-1)
    return flat[0] if flat.size and bool(np.all(flat == flat[0])) else None
