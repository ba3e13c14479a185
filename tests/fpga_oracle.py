"""ONNX Runtime as the oracle of the accelerator's arithmetic: one operator or a whole graph, and every tensor of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from leptonbench.fpga import ir

Arrays = dict[str, NDArray[Any]]
_OPSET, _IR = 18, 9
EXACT = "session.x64quantprecision"  # "1": signed weights become unsigned, whose kernels do not saturate


def open_session(
    model: bytes | str, *, level: str = "ORT_ENABLE_ALL", exact: bool = True, save_to: Path | None = None
) -> onnxruntime.InferenceSession:
    """Open a model as the `onnxruntime` backend does on x86 without VNNI, on one thread."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    if exact:
        settings.add_session_config_entry(EXACT, "1")
    if save_to is not None:
        settings.optimized_model_filepath = str(save_to)
    return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


def run_operator(
    op_type: str,
    inputs: Sequence[NDArray[Any] | None],
    *,
    constant: Sequence[int] = (),
    domain: str = "",
    exact: bool = True,
    **attributes: Any,
) -> NDArray[Any]:
    """Return the output of one operator; `constant` inputs are initialisers, `None` leaves an optional one out."""
    names = [f"i{index}" if value is not None else "" for index, value in enumerate(inputs)]
    node = helper.make_node(op_type, names, ["y"], domain=domain, **attributes)
    given = {name: value for name, value in zip(names, inputs, strict=True) if value is not None}
    fixed = {f"i{index}" for index in constant}
    taken = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
        if name not in fixed
    ]
    result = onnx.ValueInfoProto(name="y")
    weights = [numpy_helper.from_array(value, name) for name, value in given.items() if name in fixed]
    graph = helper.make_graph([node], "one", taken, [result], weights)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
    session = open_session(model.SerializeToString(), exact=exact)
    output: NDArray[Any] = session.run(None, {name: value for name, value in given.items() if name not in fixed})[0]
    return output


def every_tensor(model: Path, feeds: Mapping[str, NDArray[Any]], scratch: Path) -> Arrays:
    """Return every tensor of the graph that ONNX Runtime makes of a model, by the name it has there.

    The graph is that of the level `extended`, whose 8-bit kernels are those of `all` and whose tensors keep their
    names and layout; a session of the level `all` is held to the same outputs.
    """
    saved = scratch / "optimised.onnx"
    open_session(str(model), level="ORT_ENABLE_EXTENDED", save_to=saved)
    graph = onnx.load(str(saved))
    known = {output.name for output in graph.graph.output}
    names = [name for node in graph.graph.node for name in node.output if name and name not in known]
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    probe = open_session(graph.SerializeToString(), level="ORT_DISABLE_ALL")
    tensors = dict(zip([output.name for output in probe.get_outputs()], probe.run(None, dict(feeds)), strict=True))
    session = open_session(str(model))
    for output, value in zip(session.get_outputs(), session.run(None, dict(feeds)), strict=True):
        np.testing.assert_array_equal(tensors[output.name], value)
    return tensors


def run_segment(segment: ir.HostSegment, given: Arrays) -> Arrays:
    """Run a host segment as a network of its own."""
    session = open_session(segment.model)
    return dict(zip(segment.outputs, session.run(list(segment.outputs), given), strict=True))
