"""ONNX Runtime as the reference of `full` mode: every tensor of the graph that it makes of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import MeasurementError
from leptonbench.fpga.lowering.execute import Arrays

_EXACT = "session.x64quantprecision"  # "1": signed weights become unsigned, whose kernels do not saturate


def every_tensor(model: Path, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return every tensor of the graph that ONNX Runtime runs, by the name it has there.

    The graph is that of the level `extended`, whose 8-bit kernels are those of `all` and whose tensors keep their names
    and layout; a session of the level `all`, which is what the `onnxruntime` backend runs, must give the same outputs.

    Args:
        model: Of the ONNX file.
        feeds: Its inputs, by name.

    Raises:
        MeasurementError: If the two levels differ.
    """
    import onnx

    with TemporaryDirectory() as scratch:
        saved = Path(scratch) / "optimised.onnx"
        _open(str(model), "ORT_ENABLE_EXTENDED", save_to=saved)
        graph = onnx.load(str(saved))
    known = {output.name for output in graph.graph.output}
    made = [name for node in graph.graph.node for name in node.output if name and name not in known]
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    probe = _open(graph.SerializeToString(), "ORT_DISABLE_ALL")
    names = [output.name for output in probe.get_outputs()]
    tensors: Arrays = dict(zip(names, probe.run(None, dict(feeds)), strict=True))
    session = _open(str(model), "ORT_ENABLE_ALL")
    for output, value in zip(session.get_outputs(), session.run(None, dict(feeds)), strict=True):
        if not np.array_equal(tensors[output.name], value):
            raise MeasurementError(
                "ONNX Runtime gives different results at its levels `extended` and `all`",
                cause=f"output `{output.name}` of {model}",
                hint="the layers' bytes have no reference with this version of ONNX Runtime",
            )
    return tensors


def _open(model: bytes | str, level: str, *, save_to: Path | None = None) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    settings.add_session_config_entry(_EXACT, "1")
    if save_to is not None:
        settings.optimized_model_filepath = str(save_to)
    return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
