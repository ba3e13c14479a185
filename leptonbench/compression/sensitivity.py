"""Which nodes of a graph 8 bits hurt, measured: one graph in which every tensor's rounding can be switched on and off.

Building and opening a quantised graph for each node takes seconds; switching takes one more inference. Rounding is
computed in fp32 with the scales that the quantised graph would have, so what is measured is the graph's own error and
not a particular engine's arithmetic.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.compression.calibrate import Range, Samples, open_graph
from leptonbench.tasks.base import Arrays

_MEASURING = 0.7  # of the time limit
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


class Encoding(NamedTuple):
    """How 8-bit codes stand for real values: integer limits, and whether zero is in their middle."""

    low: int
    high: int
    symmetric: bool


ENCODINGS = {"uint8": Encoding(0, 255, False), "int8": Encoding(-128, 127, False)}
_WEIGHTS = Encoding(-127, 127, True)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What was measured and decided.

    Attributes:
        error: Of the outputs with every node quantised: root mean square of the difference to fp32, over the standard
            deviation of the fp32 output; of the output where it is largest.
        alone: By node, the error with that node alone quantised.
        excluded: Nodes left in fp32, in the order in which they were taken out.
        remaining: The error after each exclusion.
        samples: Calibration samples behind every error.
        seconds: How long it took.
        complete: Whether time sufficed to measure every node.
    """

    error: float
    alone: dict[str, float]
    excluded: tuple[str, ...]
    remaining: tuple[float, ...]
    samples: int
    seconds: float
    complete: bool

    def facts(self) -> dict[str, Any]:
        """Return it as JSON can hold it, the eight most sensitive nodes only."""
        worst = sorted(self.alone.items(), key=lambda item: -item[1])[:8]
        return {
            "error_all_quantised": self.error,
            "error_after_exclusion": list(self.remaining),
            "excluded": list(self.excluded),
            "most_sensitive": dict(worst),
            "nodes_measured": len(self.alone),
            "complete": self.complete,
            "samples": self.samples,
            "seconds": round(self.seconds, 1),
        }


def measure(
    model: Any,
    ranges: Mapping[str, Range],
    samples: Samples,
    *,
    op_types: Sequence[str],
    activations: str,
    per_channel: bool,
    bound: float,
    most: int,
    limit_s: float,
) -> Sensitivity:
    """Measure each product's sensitivity, and take out the worst until the outputs' error meets the bound.

    Args:
        model: An onnx `ModelProto` in fp32 with inferred shapes, its normalisations folded.
        ranges: Of the activations.
        samples: Run once for each product, and once for each one that is taken out.
        op_types: Operators that are quantised; products among them are what can be taken out.
        activations: `uint8` or `int8`.
        per_channel: Whether each output channel of a weight has its own scale.
        bound: Error at which nothing more is taken out.
        most: Nodes that are taken out at most.
        limit_s: After so long nothing more is taken out; measuring nodes ends before, so that what was found is used.
    """
    started = time.perf_counter()
    switches = _Switches(model, ranges, op_types=op_types, encoding=ENCODINGS[activations], per_channel=per_channel)
    batch = list(samples)
    plain = [switches.run(sample, ()) for sample in batch]

    def error(nodes: Sequence[str]) -> float:
        return _error([switches.run(sample, nodes) for sample in batch], plain)

    whole = error(switches.nodes)
    if whole <= bound:
        return Sensitivity(whole, {}, (), (), len(batch), time.perf_counter() - started, complete=True)
    alone: dict[str, float] = {}
    for node in switches.products:
        if time.perf_counter() - started > _MEASURING * limit_s:
            break
        alone[node] = error([node])

    def late() -> bool:
        return time.perf_counter() - started > limit_s

    excluded, remaining = _take_out(switches.nodes, alone, error, whole=whole, bound=bound, most=most, late=late)
    seconds = time.perf_counter() - started
    complete = len(alone) == len(switches.products)
    return Sensitivity(whole, alone, excluded, remaining, len(batch), seconds, complete)


def _take_out(
    nodes: Sequence[str],
    alone: Mapping[str, float],
    error: Callable[[Sequence[str]], float],
    *,
    whole: float,
    bound: float,
    most: int,
    late: Callable[[], bool],
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Take nodes out from the most sensitive on; one whose absence does not help is left in."""
    excluded: list[str] = []
    remaining: list[float] = []
    best = whole
    for node in sorted(alone, key=lambda name: -alone[name])[: 2 * most]:
        if best <= bound or len(excluded) == most or late():
            break
        found = error([name for name in nodes if name not in excluded and name != node])
        if found < best:
            excluded.append(node)
            remaining.append(found)
            best = found
    return tuple(excluded), tuple(remaining)


def _error(found: Sequence[list[NDArray[Any]]], plain: Sequence[list[NDArray[Any]]]) -> float:
    """Return the largest over the outputs of RMS difference / standard deviation of the fp32 values."""
    errors = []
    for index in range(len(plain[0])):
        wanted = np.concatenate([outputs[index].ravel() for outputs in plain]).astype(np.float64)
        got = np.concatenate([outputs[index].ravel() for outputs in found]).astype(np.float64)
        spread = float(wanted.std())
        if spread:
            errors.append(float(np.sqrt(np.mean((got - wanted) ** 2))) / spread)
    return max(errors, default=0.0)


class _Switches:
    """The graph with a rounding of each tensor that an input of its own switches on.

    Attributes:
        nodes: Names of the nodes that can be quantised.
        products: Those of them that multiply.
    """

    def __init__(
        self,
        model: Any,
        ranges: Mapping[str, Range],
        *,
        op_types: Sequence[str],
        encoding: Encoding,
        per_channel: bool,
    ) -> None:
        import onnx

        graph_model = onnx.ModelProto()
        graph_model.CopyFrom(model)
        graph = graph_model.graph
        weights = {tensor.name: tensor for tensor in graph.initializer}
        chosen = [node for node in graph.node if node.op_type in op_types]
        fused = _fused(graph, op_types)
        self.nodes = tuple(node.name for node in chosen)
        self.products = tuple(node.name for node in chosen if node.op_type in PRODUCTS)
        self._tensors = {node.name: _touched(node, ranges, weights, fused) for node in chosen}
        switched = sorted({name for names in self._tensors.values() for name in names})
        axes = _channel_axes(chosen) if per_channel else {}
        made: dict[str, list[Any]] = {}
        for name in switched:
            if name in weights:
                rounded = _round_weight(onnx.numpy_helper.to_array(weights[name]), axes.get(name))
                graph.initializer.append(onnx.numpy_helper.from_array(rounded, f"{name}/rounded"))
                made[name] = []
            else:
                made[name] = _round_nodes(graph, name, span=ranges[name], encoding=encoding)
            made[name].append(
                onnx.helper.make_node("Where", [f"{name}/switch", f"{name}/rounded", name], [f"{name}/used"])
            )
            graph.input.append(onnx.helper.make_tensor_value_info(f"{name}/switch", onnx.TensorProto.BOOL, []))
        _rewire(graph, made)
        self._outputs = [value.name for value in graph.output]
        self._switched = switched
        self._session = open_graph(graph_model)

    def run(self, sample: Arrays, nodes: Sequence[str]) -> list[NDArray[Any]]:
        """Return the outputs of one sample with only these nodes quantised."""
        on = {name for node in nodes for name in self._tensors[node]}
        switches = {f"{name}/switch": np.array(name in on) for name in self._switched}
        outputs: list[NDArray[Any]] = self._session.run(self._outputs, {**sample, **switches})
        return outputs


def _fused(graph: Any, op_types: Sequence[str]) -> dict[str, str]:
    """Return, by the input of each activation that engines compute with the node before it, what it gives out.

    Such an input is never rounded: the codes of the activation's output cover what it lets through, and no more.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    given = {value.name for value in graph.output}
    return {
        node.input[0]: node.output[0]
        for node in graph.node
        if node.op_type in ("Relu", "Clip") and node.op_type in op_types
        if readers[node.input[0]] == 1 and node.input[0] not in given
    }


def _touched(
    node: Any, ranges: Mapping[str, Range], weights: Mapping[str, Any], fused: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the tensors that are rounded when a node is quantised: activations in and out, and the weight."""
    names = [fused.get(name, name) for name in (*node.input, *node.output)]
    activations = [name for name in dict.fromkeys(names) if name in ranges]
    constant = [name for name in node.input[:2] if name in weights] if node.op_type in PRODUCTS else []
    return (*activations, *constant)


def _channel_axes(nodes: Sequence[Any]) -> dict[str, int]:
    """Return, by weight, the axis of its output channels."""
    axes = {}
    for node in nodes:
        if node.op_type in PRODUCTS:
            transposed = any(item.name == "transB" and item.i for item in node.attribute)
            axes[node.input[1]] = 0 if node.op_type == "Conv" or transposed else 1
    return axes


def _round_weight(weight: NDArray[Any], axis: int | None) -> NDArray[np.float32]:
    """Return a weight after a round trip through 8 bits, symmetric as products with VNNI instructions want it."""
    others = None if axis is None or weight.ndim < 2 else tuple(i for i in range(weight.ndim) if i != axis)
    top = np.abs(weight).max(axis=others, keepdims=True)
    scale = np.where(top > 0, top / _WEIGHTS.high, 1.0)
    rounded: NDArray[np.float32] = (np.clip(np.rint(weight / scale), -127, 127) * scale).astype(np.float32)
    return rounded


def _round_nodes(graph: Any, name: str, *, span: Range, encoding: Encoding) -> list[Any]:
    """Add the constants of an activation's scale, and return the two nodes that round it."""
    import onnx

    low, high = min(span.low, 0.0), max(span.high, 0.0)  # zero is always a code: padding must stay exact
    scale = (high - low) / (encoding.high - encoding.low) or 1.0
    kind = np.int8 if encoding.low < 0 else np.uint8
    zero = np.array(np.clip(round(encoding.low - low / scale), encoding.low, encoding.high), dtype=kind)
    graph.initializer.extend(
        (
            onnx.numpy_helper.from_array(np.array(scale, dtype=np.float32), f"{name}/scale"),
            onnx.numpy_helper.from_array(zero, f"{name}/zero"),
        )
    )
    code = [f"{name}/scale", f"{name}/zero"]
    return [
        onnx.helper.make_node("QuantizeLinear", [name, *code], [f"{name}/codes"]),
        onnx.helper.make_node("DequantizeLinear", [f"{name}/codes", *code], [f"{name}/rounded"]),
    ]


def _rewire(graph: Any, made: Mapping[str, list[Any]]) -> None:
    """Let every reader of a switched tensor read what its switch lets through, and keep the nodes in order."""
    constants = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    nodes = [node for name, some in made.items() if name in constants for node in some]
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in made:
                node.input[index] = f"{name}/used"
        nodes.append(node)
        nodes.extend(new for name in node.output for new in made.get(name, ()))
    del graph.node[:]
    graph.node.extend(nodes)
    for value in graph.output:
        if value.name in made:
            value.name = f"{value.name}/used"
