"""A graph made ready for quantisation: constants and normalisations folded, shapes inferred, every node named."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any


def fold(source: Path, scratch: Path) -> Any:
    """Return a graph with its constants and normalisations folded and its shapes inferred.

    Args:
        source: The ONNX file.
        scratch: A path that may be written.

    Returns:
        An onnx `ModelProto` that carries the facts of the source.
    """
    import onnx
    from onnxruntime.quantization import quant_pre_process

    # Symbolic inference fails on some exported graphs and tells nothing here that plain inference does not.
    quant_pre_process(str(source), str(scratch), skip_symbolic_shape=True)
    model = onnx.load(str(scratch))
    entries = {entry.key: entry.value for entry in onnx.load(str(source), load_external_data=False).metadata_props}
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, entries | kept)
    return model


def name_nodes(model: Any) -> None:
    """Give every node of a graph a name of its own, in place: nodes are left out of a step by name."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)


def untie_weights(model: Any, op_types: Collection[str]) -> None:
    """Give each reader of a constant that a node of these types multiplies by a copy of its own, in place.

    An embedding tied to the last product would otherwise be read from the product's codes, all of it at each call; and
    ONNX Runtime cannot open a graph that reads one tensor of int8 codes twice where it turns them into uint8, as it
    does for exact sums on x86 CPUs without VNNI.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = {name for node in model.graph.node if node.op_type in op_types for name in node.input[:2]}
    read: set[str] = set()
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name not in weights or name not in constants:
                continue
            if name in read:
                copy = model.graph.initializer.add()
                copy.CopyFrom(constants[name])
                copy.name = node.input[index] = f"{name}/{node.name}"
            read.add(name)


def pool_globally(model: Any) -> None:
    """Turn means over all pixels of an image into GlobalAveragePool, in place: the same numbers, with 8-bit kernels.

    Exporters write such a pool as ReduceMean, for which engines have none: codes would become floats and codes again.
    """
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    shapes = {item.name: len(item.type.tensor_type.shape.dim) for item in (*model.graph.value_info, *model.graph.input)}
    for node in model.graph.node:
        given = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type != "ReduceMean" or shapes.get(node.input[0]) != 4 or not given.get("keepdims", 1):
            continue
        axes = given.get("axes", ())
        if len(node.input) > 1 and node.input[1] in constants:
            axes = numpy_helper.to_array(constants[node.input[1]]).reshape(-1)
        if sorted(int(axis) % 4 for axis in axes) == [2, 3]:
            pool = helper.make_node("GlobalAveragePool", [node.input[0]], list(node.output), name=node.name)
            node.CopyFrom(pool)
