"""Which nodes of a graph 8 bits hurt, measured: one graph in which every tensor's rounding can be switched on and off.

Building and opening a quantised graph for each node takes seconds; switching takes one more inference. Rounding is
computed in fp32 with the scales that the quantised graph would have, so what is measured is the graph's own error and
not a particular engine's arithmetic.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.compression.base import Difference, Outputs
from leptonbench.compression.calibrate import Range, Samples, open_graph
from leptonbench.compression.encoding import ENCODINGS, Encoding, WeightCodes
from leptonbench.tasks.base import Arrays

_MEASURING = 0.7  # of the time limit
_ALLOWED = 0.005  # loss of the task's metric that is not worth a product in fp32
_WORTH = 0.9  # of the loss: products taken out leave at most so much of it, or stay
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


class Loss(NamedTuple):
    """How much worse outputs are than fp32's, and whether that calls for something."""

    value: float
    matters: bool


class Judge(NamedTuple):
    """What exclusion goes by: `answers` (the task's own metric) or `outputs` (their numbers)."""

    by: str
    loss: Callable[[Outputs, Outputs], Loss]
    samples: int


def by_outputs(bound: float) -> Judge:
    """Go by the root mean square of the difference over the spread of fp32's values: what is left without a metric."""

    def loss(found: Outputs, plain: Outputs) -> Loss:
        error = _error(found, plain)
        return Loss(error, error > bound)

    return Judge("outputs", loss, 8)


def by_answers(difference: Difference) -> Judge:
    """Go by the task's metric: a loss matters that chance does not explain.

    Numbers mislead where most of them are background: a detector's boxes go wrong long before its mean output does.
    """

    def loss(found: Outputs, plain: Outputs) -> Loss:
        change = difference(found, plain)
        certain = change.high is not None and change.high < 0
        return Loss(-change.value, certain and -change.value > _ALLOWED)

    return Judge("answers", loss, 48)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What was measured and decided.

    Attributes:
        by: What the loss is of: `answers` or `outputs`.
        loss: With every node quantised.
        alone: By node, the error of the outputs with that node alone quantised; empty where nothing had to be ranked.
        excluded: Nodes left in fp32, in the order in which they were taken out.
        remaining: The loss after each exclusion.
        samples: Calibration samples behind every loss.
        seconds: How long it took.
        complete: Whether time sufficed to measure every node that had to be.
    """

    by: str
    loss: float
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
            "judged_by": self.by,
            "loss_all_quantised": self.loss,
            "loss_after_exclusion": list(self.remaining),
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
    weights: WeightCodes,
    judge: Judge,
    most: int,
    limit_s: float,
) -> Sensitivity:
    """Take products out of quantisation until what is lost no longer matters.

    First those that give the outputs, together: they are few and small, and nothing after them evens out their
    rounding. Then the others, from the most sensitive on.

    Args:
        model: An onnx `ModelProto` in fp32 with inferred shapes, its normalisations folded.
        ranges: Of the activations.
        samples: Run once for each product, and once for each one that is tried without.
        op_types: Operators that are quantised; products among them are what can be taken out.
        activations: `uint8` or `int8`.
        weights: How the products' constant inputs are encoded.
        judge: Says what is lost, and whether it matters.
        most: Nodes that are taken out at most.
        limit_s: After so long nothing more is taken out; measuring nodes ends before, so that what was found is used.
    """
    started = time.perf_counter()
    switches = _Switches(model, ranges, op_types=op_types, encoding=ENCODINGS[activations], codes=weights)
    batch = list(samples)
    plain = [switches.run(sample, ()) for sample in batch]

    def without(names: Collection[str]) -> Loss:
        kept = [name for name in switches.nodes if name not in names]
        return judge.loss([switches.run(sample, kept) for sample in batch], plain)

    def spent_s() -> float:
        return time.perf_counter() - started

    whole = best = without(())
    excluded: list[str] = []
    remaining: list[float] = []

    def try_without(names: Sequence[str]) -> None:
        nonlocal best
        found = without([*excluded, *names])
        if found.value < _WORTH * best.value:
            excluded.extend(names)
            remaining.append(found.value)
            best = found

    if best.matters and 0 < len(switches.last) < min(len(switches.products), most + 1):
        try_without(switches.last)
    alone: dict[str, float] = {}
    others = [name for name in switches.products if name not in excluded] if best.matters else []
    for node in others:
        if spent_s() > _MEASURING * limit_s:
            break
        alone[node] = _error([switches.run(sample, [node]) for sample in batch], plain)
    for node in sorted(alone, key=lambda name: -alone[name])[: 2 * most]:
        if not best.matters or len(excluded) >= most or spent_s() > limit_s:
            break
        try_without([node])
    return Sensitivity(
        by=judge.by,
        loss=whole.value,
        alone=alone,
        excluded=tuple(excluded),
        remaining=tuple(remaining),
        samples=len(batch),
        seconds=spent_s(),
        complete=len(alone) == len(others),
    )


def _error(found: Outputs, plain: Outputs) -> float:
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
        last: Those of the products that give an output of the graph.
    """

    def __init__(
        self,
        model: Any,
        ranges: Mapping[str, Range],
        *,
        op_types: Sequence[str],
        encoding: Encoding,
        codes: WeightCodes,
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
        given = {value.name for value in graph.output}
        self.last = tuple(n.name for n in chosen if n.op_type in PRODUCTS and given & set(n.output))
        self._tensors = {node.name: _touched(node, ranges, weights, fused) for node in chosen}
        switched = sorted({name for names in self._tensors.values() for name in names})
        axes = _channel_axes(chosen)
        made: dict[str, list[Any]] = {}
        for name in switched:
            if name in weights:
                rounded = codes.rounded(onnx.numpy_helper.to_array(weights[name]), axes.get(name, 1))
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
