"""From an ONNX model in QDQ form to layers of the accelerator and segments of its host.

The same fusion as ONNX Runtime's: an operator whose inputs are dequantised and whose output is quantised becomes one
layer of codes. What has no such layer runs on the host, by name; nothing is moved there silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from leptonbench.errors import UsageError
from leptonbench.fpga import ir
from leptonbench.fpga.lowering.fuse import LOWERED
from leptonbench.fpga.lowering.graph import read_graph
from leptonbench.fpga.lowering.segments import Partition

_EDGES = {"QuantizeLinear", "DequantizeLinear"}
_NO_LENGTHS: Mapping[str, int] = MappingProxyType({})


def lower(path: Path, *, lengths: Mapping[str, int] = _NO_LENGTHS, host: bool = True) -> ir.Network:
    """Return the network of an 8-bit ONNX model.

    Args:
        path: Of the model, in QDQ form: the artifact that the `onnxruntime` backend runs.
        lengths: Value of each free dimension of the inputs, by name; the batch is 1 unless named.
        host: Whether there is a host CPU for what the accelerator does not run. Quantising the inputs and dequantising
            the outputs are always left to whoever calls the accelerator.

    Raises:
        UsageError: If the model is not quantised, has free dimensions, operators of unknown opset or domain, or
            operators without a lowering where there is no host for them.
    """
    network = Partition(read_graph(path, lengths)).network()
    if not network.layers:
        raise UsageError(
            "nothing in the model can run on the accelerator",
            cause=f"{path} has no operator with quantised inputs and output that has a lowering",
            hint="take the variant `int8-static` of a model with convolutions or matrix products",
        )
    if not host:
        _refuse_host(network, path)
    return network


def _refuse_host(network: ir.Network, path: Path) -> None:
    needed = [one for segment in network.segments for one in segment.operators if one.op_type not in _EDGES]
    if needed:
        kinds = sorted({operator.op_type for operator in needed})
        first = needed[0]
        known = first.op_type in LOWERED
        why = "is left in floating point or has a form without a lowering" if known else "has no lowering"
        raise UsageError(
            f"operator {first.op_type} (node {first.name}) {why}",
            cause=f"{path} needs a host CPU for {', '.join(kinds)}, and this board has none",
            hint="take a board with a host CPU, such as kv260",
        )
