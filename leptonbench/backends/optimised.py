"""What ONNX Runtime made of a graph: its own optimised form, read back from the file that it writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_FLOATING = frozenset(
    {"Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul", "NhwcFusedConv"}
)
_INTEGER = frozenset(
    {
        *("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
        *("QLinearConv", "QLinearMatMul", "QGemm", "QLinearGemm"),
    }
)
PRODUCTS = _FLOATING | _INTEGER | {"MatMulNBits"}
"""Operators that multiply weights or activations: where nearly all arithmetic is."""


class Optimised(NamedTuple):
    """The engine's graph.

    Attributes:
        operators: How many of each it kept after its own fusions.
        products: How many convolutions and matrix products compute in each precision.
    """

    operators: dict[str, int]
    products: dict[str, int]


def read_optimised(path: Path) -> Optimised:
    """Read the optimised model that ONNX Runtime wrote."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    kinds |= {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input)}
    kinds |= _cast_to(graph)
    products = Counter(precision for node in graph.node if (precision := _precision(node, kinds)))
    operators = Counter(node.op_type for node in graph.node)
    return Optimised(dict(operators.most_common()), dict(products.most_common()))


def executed_precision(products: Mapping[str, int]) -> str | None:
    """Return the precision that most products compute in; `None` where there is no product."""
    return max(products, key=lambda name: products[name], default=None)


def _cast_to(graph: Any) -> dict[str, int]:
    return {
        node.output[0]: item.i
        for node in graph.node
        if node.op_type == "Cast"
        for item in node.attribute
        if item.name == "to"
    }


def _precision(node: Any, kinds: Mapping[str, int]) -> str:
    """Return what an operator multiplies in; empty for one that does not multiply.

    The engine writes no types of the tensors between its nodes; the weight's is that of the product, and a product of
    two activations without a known type is in the default, fp32.
    """
    import onnx

    if node.op_type in _INTEGER:
        return "int8"
    if node.op_type == "MatMulNBits":
        level = next((item.i for item in node.attribute if item.name == "accuracy_level"), 0)
        return "int8" if level == 4 else "fp32"
    if node.op_type not in _FLOATING:
        return ""
    known = [kinds[name] for name in node.input[:2] if name in kinds]
    types = onnx.TensorProto
    names: dict[int, str] = {types.FLOAT16: "fp16", types.BFLOAT16: "bf16", types.DOUBLE: "fp64"}
    return names.get(known[-1], "fp32") if known else "fp32"
