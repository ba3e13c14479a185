"""Small 8-bit networks that have every operator with a lowering, made by the project's own quantisation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from leptonbench.compression.quantize_static import QuantizeStatic
from tests import graphs

_OPSET, _IR = 18, 9
SIZE = 24


def images(count: int = 8) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield inputs of the convolutional network."""
    random = np.random.default_rng(3)
    for _ in range(count):
        yield {"image": random.normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)}


def convolutional(folder: Path, **options: Any) -> Path:
    """Write a network of a few channels, a residual sum, groups, dilation, lanes, pools and an enlargement."""
    random = np.random.default_rng(4)
    weights: dict[str, NDArray[Any]] = {}
    nodes: list[Any] = []

    def conv(x: str, y: str, shape: tuple[int, ...], **given: Any) -> None:
        fan = float(np.prod(shape[1:]))
        weights[f"{y}.w"] = (random.normal(size=shape) / np.sqrt(fan)).astype(np.float32)
        weights[f"{y}.b"] = random.normal(size=shape[0]).astype(np.float32)
        nodes.append(helper.make_node("Conv", [x, f"{y}.w", f"{y}.b"], [y], name=y, **given))

    def node(kind: str, x: list[str], y: str, **given: Any) -> None:
        nodes.append(helper.make_node(kind, x, [y], name=y, **given))

    conv("image", "stem", (20, 3, 7, 7), strides=[2, 2], pads=[3, 3, 3, 3])
    node("Relu", ["stem"], "stem+")
    node("MaxPool", ["stem+"], "pooled", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    conv("pooled", "inner", (20, 20, 3, 3), pads=[1, 1, 1, 1])
    node("Relu", ["inner"], "inner+")
    conv("inner+", "outer", (20, 20, 3, 3), pads=[1, 1, 1, 1])
    node("Add", ["outer", "pooled"], "sum")
    node("Relu", ["sum"], "sum+")
    conv("sum+", "lanes", (20, 1, 3, 3), pads=[1, 1, 1, 1], group=20)
    conv("lanes", "narrow", (12, 20, 1, 1), strides=[2, 2])
    weights["scales"] = np.array([1, 1, 2, 2], dtype=np.float32)
    node(
        "Resize",
        ["narrow", "", "scales"],
        "large",
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    conv("large", "grouped", (24, 6, 3, 3), pads=[2, 2, 2, 2], dilations=[2, 2], group=2)
    node("GlobalAveragePool", ["grouped"], "mean")
    node("Flatten", ["mean"], "flat")
    weights["head.w"] = random.normal(size=(5, 24)).astype(np.float32)
    weights["head.b"] = random.normal(size=5).astype(np.float32)
    node("Gemm", ["flat", "head.w", "head.b"], "logits", transB=1)
    io = (
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])],
    )
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", *io, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model)
    source = folder / "fp32.onnx"
    onnx.save(model, str(source))
    return QuantizeStatic().apply(source, {"operators": "chain", **options}, graphs.context(folder, images))


def attention(folder: Path) -> Path:
    """Write one head of attention over frames of any number: products of activations, with softmax on the host."""
    random = np.random.default_rng(6)
    names = ("q", "k", "v", "o")
    weights = {name: (random.normal(size=(24, 24)) / 5).astype(np.float32) for name in names}
    nodes = [helper.make_node("MatMul", ["frames", name], [f"{name}s"], name=name) for name in names[:3]]
    nodes += [
        helper.make_node("Transpose", ["ks"], ["kt"], perm=[0, 2, 1], name="turn"),
        helper.make_node("MatMul", ["qs", "kt"], ["scores"], name="scores"),
        helper.make_node("Softmax", ["scores"], ["shares"], name="softmax", axis=-1),
        helper.make_node("MatMul", ["shares", "vs"], ["mixed"], name="mix"),
        helper.make_node("MatMul", ["mixed", "o"], ["out"], name="o"),
    ]
    io = (
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", "length", 24])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", "length", 24])],
    )
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "attention", *io, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model)
    source = folder / "fp32.onnx"
    onnx.save(model, str(source))
    return QuantizeStatic().apply(source, {}, graphs.context(folder, frames))


def frames(count: int = 6) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield inputs of the attention, of 21 frames each."""
    random = np.random.default_rng(8)
    for _ in range(count):
        yield {"frames": random.normal(size=(1, 21, 24)).astype(np.float32)}
