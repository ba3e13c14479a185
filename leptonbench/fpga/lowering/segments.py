"""Which operators run where, and in what order: as few changes between accelerator and host as the graph allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from leptonbench.fpga import ir
from leptonbench.fpga.lowering.fuse import Fusion
from leptonbench.fpga.lowering.graph import Graph, name_of


class Partition:
    """A graph divided into layers and host nodes.

    Args:
        graph: To be divided.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._layers: dict[str, ir.Layer] = {}  # by the tensor of codes that each makes
        fusion = Fusion(graph)
        for node in graph.nodes:
            layer = fusion.layer(node)
            if layer is not None:
                self._layers[layer.y] = layer
        self._places = {name: at for at, node in enumerate(graph.nodes) for name in node.output if name}

    def network(self) -> ir.Network:
        """Return the layers and segments in an order in which they can run."""
        layers, nodes = self._needed()
        have = {*self.graph.inputs, *self.graph.constants, ""}
        steps: list[ir.Layer | list[Any]] = []
        while layers or nodes:
            on_host = _run_ready(nodes, have, lambda node: node.input, lambda node: node.output)
            if on_host:
                steps.append(on_host)
            steps += _run_ready(layers, have, lambda layer: layer.inputs, lambda layer: (layer.y,))
        read_later = self._read_across(steps)
        made = [
            self._segment(f"host-{at}", step, read_later[at]) if isinstance(step, list) else step
            for at, step in enumerate(steps)
        ]
        named = {name for step in made for name in (*step.inputs, *_outputs(step))}
        tensors = {name: self._tensor(name) for name in sorted(named | {*self.graph.inputs, *self.graph.outputs})}
        return ir.Network(tensors=tensors, steps=tuple(made), inputs=self.graph.inputs, outputs=self.graph.outputs)

    def _needed(self) -> tuple[list[ir.Layer], list[Any]]:
        """Return the layers and the host nodes that the outputs depend on, in the graph's order."""
        layers: dict[str, ir.Layer] = {}
        nodes: dict[int, Any] = {}
        wanted = list(self.graph.outputs)
        seen: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name in seen or name not in self._places:
                continue
            seen.add(name)
            if name in self._layers:
                layers[name] = self._layers[name]
                wanted += self._layers[name].inputs
            else:
                node = self.graph.maker(name)
                nodes[self._places[name]] = node
                wanted += list(node.input) if node is not None else []
        ordered = sorted(layers, key=self._places.__getitem__)
        return [layers[name] for name in ordered], [nodes[at] for at in sorted(nodes)]

    def _read_across(self, steps: list[ir.Layer | list[Any]]) -> list[set[str]]:
        """Return for each step the tensors that other steps or the caller read."""
        reads = [
            {name for node in step for name in node.input} if isinstance(step, list) else set(step.inputs)
            for step in steps
        ]
        return [
            set(self.graph.outputs).union(*(names for other, names in enumerate(reads) if other != at))
            for at in range(len(steps))
        ]

    def _segment(self, name: str, nodes: list[Any], read_elsewhere: set[str]) -> ir.HostSegment:
        from onnx import helper

        made = [output for node in nodes for output in node.output if output]
        read = [name for node in nodes for name in node.input if name]
        inputs = tuple(sorted({name for name in read if name not in made and name not in self.graph.constants}))
        outputs = tuple(name for name in made if name in read_elsewhere)
        constants = [item for item in self.graph.model.graph.initializer if item.name in set(read)]
        graph = helper.make_graph(nodes, name, self._described(inputs), self._described(outputs), constants)
        model = helper.make_model(
            graph, opset_imports=self.graph.model.opset_import, ir_version=self.graph.model.ir_version
        )
        operators = tuple(ir.HostOperator(op_type=node.op_type, name=name_of(node)) for node in nodes)
        return ir.HostSegment(
            name=name, operators=operators, inputs=inputs, outputs=outputs, model=model.SerializeToString()
        )

    def _described(self, names: Iterable[str]) -> list[Any]:
        import numpy as np
        from onnx import helper

        return [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(self.graph.dtype(name))), self.graph.shape(name)
            )
            for name in names
        ]

    def _tensor(self, name: str) -> ir.Tensor:
        codes = Fusion(self.graph).codes_of(name)
        scale, zero_point = codes if codes is not None else (None, 0)
        return ir.Tensor(
            name=name,
            shape=self.graph.shape(name),
            dtype=self.graph.dtype(name),
            scale=scale,
            zero_point=zero_point,
        )


def _outputs(step: ir.Step) -> tuple[str, ...]:
    return step.outputs if isinstance(step, ir.HostSegment) else (step.y,)


def _run_ready(
    waiting: list[Any],
    have: set[str],
    reads: Callable[[Any], Iterable[str]],
    makes: Callable[[Any], Iterable[str]],
) -> list[Any]:
    """Take out of `waiting` all that can run one after the other, given what there is, and note what it makes."""
    ready: list[Any] = []
    left: list[Any] = []
    for item in waiting:  # in the graph's order, so that one pass finds whole chains
        if all(name in have for name in reads(item)):
            ready.append(item)
            have.update(makes(item))
        else:
            left.append(item)
    waiting[:] = left
    return ready
