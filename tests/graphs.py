"""Small ONNX graphs for the steps that turn one graph into another: a convolutional chain, and products over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from leptonbench.compression import Context

_OPSET, _IR = 18, 9
WIDTH = 64  # of the products over time: two blocks of 32


def _save(path: Path, nodes: list[Any], io: tuple[list[Any], list[Any]], weights: dict[str, NDArray[Any]]) -> Path:
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "graph", *io, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def convolutions(path: Path, *, fragile: bool = False) -> Path:
    """Write conv, relu, conv, mean, gemm.

    Args:
        path: Of the file.
        fragile: Let the second convolution read two equal channels by large opposite weights, which cancel and leave
            its 8-bit codes too coarse for all its other weights.
    """
    random = np.random.default_rng(5)
    first = random.normal(size=(8, 3, 3, 3)).astype(np.float32)
    second = random.normal(size=(8, 8, 3, 3)).astype(np.float32)
    if fragile:
        first[1] = first[0]
        second[:, 0], second[:, 1] = 300, -300
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "second"], ["c"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], name="mean"),
        helper.make_node("Flatten", ["d"], ["e"], name="flat"),
        helper.make_node("Gemm", ["e", "head"], ["logits"], name="head"),
    ]
    io = (
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 12, 12])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
    )
    head = random.normal(size=(8, 4)).astype(np.float32)
    return _save(path, nodes, io, {"first": first, "second": second, "head": head})


def products(path: Path) -> Path:
    """Write two products over frames of any number, masked by a second, integer input."""
    random = np.random.default_rng(6)
    nodes = [
        helper.make_node("MatMul", ["features", "up"], ["a"], name="up"),
        helper.make_node("LayerNormalization", ["a", "scale"], ["b"], name="norm"),
        helper.make_node("MatMul", ["b", "down"], ["c"], name="down"),
        helper.make_node("Cast", ["mask"], ["weights"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["c", "weights"], ["masked"], name="masked"),
    ]
    io = (
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "frames", WIDTH]),
            helper.make_tensor_value_info("mask", TensorProto.INT64, ["batch", "frames", 1]),
        ],
        [helper.make_tensor_value_info("masked", TensorProto.FLOAT, ["batch", "frames", WIDTH])],
    )
    weights = {
        "up": random.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        "down": random.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        "scale": np.ones(WIDTH, dtype=np.float32),
    }
    return _save(path, nodes, io, weights)


def tied(path: Path) -> Path:
    """Write an embedding whose table is also the weight of two products."""
    random = np.random.default_rng(9)
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["a"], name="embed"),
        helper.make_node("MatMul", ["a", "table"], ["b"], name="up"),
        helper.make_node("Tanh", ["b"], ["c"], name="tanh"),
        helper.make_node("MatMul", ["c", "table"], ["logits"], name="head"),
    ]
    io = (
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", WIDTH])],
    )
    return _save(path, nodes, io, {"table": random.normal(size=(WIDTH, WIDTH)).astype(np.float32)})


def tokens(count: int = 6) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield inputs of the tied graph, each of another length."""
    random = np.random.default_rng(10)
    for index in range(count):
        yield {"tokens": random.integers(0, WIDTH, (1, 3 + index))}


def images(count: int = 12) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield inputs of the convolutional graph."""
    random = np.random.default_rng(7)
    for _ in range(count):
        yield {"image": random.normal(size=(1, 3, 12, 12)).astype(np.float32)}


def frames(count: int = 6) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield inputs of the products, each of another length."""
    random = np.random.default_rng(8)
    for index in range(count):
        length = 5 + 3 * index
        yield {
            "features": random.normal(size=(1, length, WIDTH)).astype(np.float32),
            "mask": np.ones((1, length, 1), dtype=np.int64),
        }


def context(workdir: Path, calibration: Callable[[], Iterator[Any]]) -> Context:
    """Return what a graph step may use; the rest of it refuses to be asked."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("a graph step asked for something of the network's")

    return Context(
        calibration=calibration, tuning=refuse, load_network=refuse, source=workdir, workdir=workdir, say=lambda _: None
    )


def answer(path: Path, sample: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Run one sample in ONNX Runtime with its exact kernels."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, sample)[0])
