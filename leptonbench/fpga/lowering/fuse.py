"""Operators between DequantizeLinear and QuantizeLinear, fused to layers of codes as ONNX Runtime fuses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.fpga import ir
from leptonbench.fpga.lowering.graph import Graph, attributes, name_of, scalar
from leptonbench.fpga.numerics import add_factors, average_scale, product_scale

_CODES = ("uint8", "int8")
_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True)
class Codes:
    """What a float tensor is in codes.

    Attributes:
        name: Of the tensor of codes.
        scale: float32, one value or one a channel.
        zero_point: The same for all channels.
    """

    name: str
    scale: NDArray[np.float32]
    zero_point: int


class Fusion:
    """The fused layer of one node, or why there is none."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def layer(self, node: Any) -> ir.Layer | None:
        """Return the layer that a node becomes; `None` if it has to run on the host."""
        make = _MAKERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        y = self._quantised(node.output[0]) if make is not None else None
        return make(self, node, y) if make is not None and y is not None else None

    def codes_of(self, name: str) -> tuple[float, int] | None:
        """Return scale and zero point of a tensor of codes; `None` if nothing says them, or there are several."""
        nodes = [self.graph.maker(name), *self.graph.readers(name)]
        for node, place in zip(nodes, [0, *[1] * len(nodes)], strict=False):
            kind = (_QUANTISE, _DEQUANTISE)[place]
            if node is not None and node.op_type == kind:
                found = self._parameters(node, name)
                if found is not None and scalar(found.scale) is not None:
                    return float(scalar(found.scale)), found.zero_point
        return None

    def _codes(self, name: str) -> Codes | None:
        """Return the codes that a float tensor is made from."""
        node = self.graph.maker(name)
        return self._parameters(node, node.input[0]) if node and node.op_type == _DEQUANTISE else None

    def _quantised(self, name: str) -> Codes | None:
        """Return the codes that a float tensor becomes, if it becomes nothing else."""
        node = self.graph.only_reader(name)
        if node is None or node.op_type != _QUANTISE:
            return None
        codes = self._parameters(node, node.output[0])
        return codes if codes is not None and self.graph.dtype(codes.name) in _CODES else None

    def _parameters(self, node: Any, codes: str) -> Codes | None:
        constants = self.graph.constants
        if node.input[1] not in constants:
            return None
        scale = constants[node.input[1]]
        zero: Any = 0
        if len(node.input) > 2 and node.input[2]:
            zero = scalar(constants[node.input[2]]) if node.input[2] in constants else None
        if zero is None or scale.dtype != np.float32:
            return None
        return Codes(codes, scale.reshape(-1), int(zero))

    def _activation(self, name: str) -> Codes | None:
        """Return the codes of a tensor that is not constant, with one scale."""
        codes = self._codes(name)
        if codes is None or codes.name in self.graph.constants or scalar(codes.scale) is None:
            return None
        return codes if self.graph.dtype(codes.name) in _CODES else None

    def _weights(self, name: str) -> tuple[NDArray[Any], Codes] | None:
        codes = self._codes(name)
        values = self.graph.constants.get(codes.name) if codes else None
        if codes is None or values is None or str(values.dtype) not in _CODES:
            return None
        return values, codes

    def _bias(self, node: Any, count: int) -> NDArray[np.int32] | None:
        """Return the int32 bias of a node, zeros if it has none; `None` if it is not in codes of 32 bits."""
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros(count, dtype=np.int32)
        codes = self._codes(node.input[2])
        values = self.graph.constants.get(codes.name) if codes else None
        if values is None or values.dtype != np.int32 or values.size != count:
            return None
        return values.reshape(-1)

    def convolution(self, node: Any, y: Codes) -> ir.Layer | None:
        """Fuse Conv."""
        x, found = self._activation(node.input[0]), self._weights(node.input[1])
        if x is None or found is None or not self._batch_of_one(x.name):
            return None
        weights, codes = found
        bias = self._bias(node, weights.shape[0])
        window = _window(node, weights.shape[2:])
        if bias is None or window is None:
            return None
        scale = product_scale(scalar(x.scale), codes.scale, scalar(y.scale))
        return ir.Convolution(
            name=name_of(node),
            x=x.name,
            y=y.name,
            weights=weights.reshape(*weights.shape[:2], *window.kernel),
            w_zero=codes.zero_point,
            bias=bias,
            scale=np.broadcast_to(scale, weights.shape[:1]),
            window=window,
            groups=int(attributes(node).get("group", 1)),
        )

    def matrix_product(self, node: Any, y: Codes) -> ir.Layer | None:
        """Fuse MatMul."""
        a = self._activation(node.input[0])
        if a is None:
            return None
        if (found := self._weights(node.input[1])) is not None:
            return self._product(node, a, found, y) if found[0].ndim == 2 else None
        b = self._activation(node.input[1])
        if b is None or self.graph.shape(a.name)[:-2] != self.graph.shape(b.name)[:-2]:
            return None
        scale = product_scale(scalar(a.scale), scalar(b.scale), scalar(y.scale))
        return ir.ActivationProduct(name=name_of(node), a=a.name, b=b.name, y=y.name, scale=np.float32(scale))

    def fully_connected(self, node: Any, y: Codes) -> ir.Layer | None:
        """Fuse Gemm."""
        given = attributes(node)
        a, found = self._activation(node.input[0]), self._weights(node.input[1])
        plain = given.get("alpha", 1.0) == 1.0 and given.get("beta", 1.0) == 1.0 and not given.get("transA", 0)
        if a is None or found is None or not plain:
            return None
        weights, codes = found
        return self._product(node, a, (weights.T if given.get("transB", 0) else weights, codes), y)

    def _product(self, node: Any, a: Codes, found: tuple[NDArray[Any], Codes], y: Codes) -> ir.Layer | None:
        weights, codes = found
        bias = self._bias(node, weights.shape[1])
        if bias is None or codes.scale.size not in (1, weights.shape[1]):
            return None
        scale = product_scale(scalar(a.scale), codes.scale, scalar(y.scale))
        return ir.Product(
            name=name_of(node),
            x=a.name,
            y=y.name,
            weights=weights,
            w_zero=codes.zero_point,
            bias=bias,
            scale=np.broadcast_to(scale, weights.shape[1:]),
        )

    def addition(self, node: Any, y: Codes) -> ir.Layer | None:
        """Fuse Add of two activations of one shape."""
        a, b = self._activation(node.input[0]), self._activation(node.input[1])
        if a is None or b is None or self.graph.shape(a.name) != self.graph.shape(b.name):
            return None
        if len({self.graph.dtype(codes.name) for codes in (a, b, y)}) > 1 or not self._batch_of_one(a.name):
            return None
        pairs = [(scalar(codes.scale), codes.zero_point) for codes in (a, b, y)]
        return ir.Addition(name=name_of(node), a=a.name, b=b.name, y=y.name, factors=add_factors(*pairs))

    def max_pooling(self, node: Any, y: Codes) -> ir.Layer | None:
        """Fuse MaxPool, which leaves codes as they are."""
        x, window = self._activation(node.input[0]), _window(node, attributes(node).get("kernel_shape", ()))
        given = attributes(node)
        if x is None or window is None or not _same(x, y) or given.get("ceil_mode", 0) or len(node.output) > 1:
            return None
        if not self._batch_of_one(x.name) or given.get("storage_order", 0):
            return None
        return ir.MaxPooling(name=name_of(node), x=x.name, y=y.name, window=window)

    def global_average(self, node: Any, y: Codes) -> ir.Layer | None:
        """Fuse GlobalAveragePool, with what makes one row of its means."""
        x = self._activation(node.input[0])
        if x is None or not self._batch_of_one(x.name) or self.graph.dtype(x.name) != self.graph.dtype(y.name):
            return None
        pixels = int(np.prod(self.graph.shape(x.name)[2:]))
        row = self._as_row(y)
        return ir.GlobalAverage(
            name=name_of(node),
            x=x.name,
            y=y.name if row is None else row.name,
            scale=average_scale(scalar(x.scale), scalar(y.scale), pixels),
        )

    def _as_row(self, y: Codes) -> Codes | None:
        """Return the codes `[1, channels]` that codes `[1, channels, 1, 1]` become, if they become nothing else."""
        read = self.graph.only_reader(y.name)
        node = self.graph.only_reader(read.output[0]) if read is not None and read.op_type == _DEQUANTISE else None
        if node is None or node.op_type not in ("Reshape", "Flatten", "Squeeze"):
            return None
        row = self._quantised(node.output[0])
        flat = row is not None and _same(y, row) and self.graph.shape(row.name) == self.graph.shape(y.name)[:2]
        return row if flat else None

    def enlargement(self, node: Any, y: Codes) -> ir.Layer | None:
        """Fuse Resize that repeats pixels."""
        x, given = self._activation(node.input[0]), attributes(node)
        ways = ("mode", b"nearest"), ("coordinate_transformation_mode", b"asymmetric"), ("nearest_mode", b"floor")
        if x is None or not _same(x, y) or any(given.get(key) != value for key, value in ways):
            return None
        before, after = self.graph.shape(x.name), self.graph.shape(y.name)
        if len(before) != 4 or before[:2] != after[:2] or before[0] != 1:
            return None
        if any(large % small for small, large in zip(before[2:], after[2:], strict=True)):
            return None
        factors = (after[2] // before[2], after[3] // before[3])
        return ir.Enlargement(name=name_of(node), x=x.name, y=y.name, factors=factors)

    def _batch_of_one(self, name: str) -> bool:
        shape = self.graph.shape(name)
        return 2 < len(shape) <= 4 and shape[0] == 1


def _same(x: Codes, y: Codes) -> bool:
    return scalar(x.scale) == scalar(y.scale) and x.zero_point == y.zero_point


def _window(node: Any, kernel: Any) -> ir.Window | None:
    """Return a node's window over rows and columns; one over a single dimension has one row."""
    given = attributes(node)
    count = len(kernel)
    if count not in (1, 2) or given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return None
    strides, dilations = (list(given.get(key, [1] * count)) for key in ("strides", "dilations"))
    pads = list(given.get("pads", [0] * 2 * count))
    if count == 1:
        kernel, strides, dilations, pads = [1, *kernel], [1, *strides], [1, *dilations], [0, pads[0], 0, pads[1]]
    return ir.Window(
        kernel=(int(kernel[0]), int(kernel[1])),
        strides=(strides[0], strides[1]),
        pads=(pads[0], pads[1], pads[2], pads[3]),
        dilations=(dilations[0], dilations[1]),
    )


_MAKERS: dict[str, Callable[[Fusion, Any, Codes], ir.Layer | None]] = {
    "Conv": Fusion.convolution,
    "MatMul": Fusion.matrix_product,
    "Gemm": Fusion.fully_connected,
    "Add": Fusion.addition,
    "MaxPool": Fusion.max_pooling,
    "GlobalAveragePool": Fusion.global_average,
    "Resize": Fusion.enlargement,
}
LOWERED = frozenset(_MAKERS)
"""Operators that become layers where they stand between codes, in the forms that the core has."""
