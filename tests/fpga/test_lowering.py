"""Lowering: the same layers as ONNX Runtime's fusion, what is left to the host, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from leptonbench.errors import UsageError
from leptonbench.fpga import ir, numerics
from leptonbench.fpga.lowering import lower
from leptonbench.fpga.lowering.execute import execute
from tests.fpga_networks import attention, convolutional, frames, images
from tests.fpga_oracle import every_tensor, run_operator, run_segment


def _kinds(network: ir.Network) -> Counter[str]:
    return Counter(type(layer).__name__ for layer in network.layers)


def _host(network: ir.Network) -> set[str]:
    return {operator.op_type for segment in network.segments for operator in segment.operators}


@pytest.mark.parametrize(
    "options", [{}, {"per_channel": False}, {"reduce_range": True}, {"weights": "uint8"}], ids=lambda given: str(given)
)
def test_every_layer_gives_the_runtimes_bytes(tmp_path: Path, options: dict[str, Any]) -> None:
    model = convolutional(tmp_path, **options)
    network = lower(model)
    feeds = next(images())
    theirs = every_tensor(model, feeds, tmp_path)
    ours = execute(network, feeds, run_segment)
    for layer in network.layers:
        np.testing.assert_array_equal(ours[layer.y], theirs[layer.y], err_msg=layer.name)
    np.testing.assert_array_equal(ours["logits"], theirs["logits"])


def test_signed_activations_are_lowered_too(tmp_path: Path) -> None:
    network = lower(convolutional(tmp_path, activations="int8"))
    assert {network.tensors[layer.y].dtype for layer in network.layers} == {"int8"}


def test_what_has_a_lowering_is_lowered(tmp_path: Path) -> None:
    network = lower(convolutional(tmp_path))
    assert _kinds(network) == {
        "Convolution": 6,
        "MaxPooling": 1,
        "Addition": 1,
        "Enlargement": 1,
        "GlobalAverage": 1,
        "Product": 1,
    }
    assert _host(network) == {"QuantizeLinear", "DequantizeLinear"}  # the pool makes the row that the head reads
    assert network.macs(network.layers[0]) == 20 * 3 * 7 * 7 * 12 * 12


def test_floats_run_on_the_host_by_name(tmp_path: Path) -> None:
    model = attention(tmp_path)
    network = lower(model, lengths={"length": 21})
    assert _kinds(network) == {"Product": 4, "ActivationProduct": 2}
    assert "softmax" in {operator.name for segment in network.segments for operator in segment.operators}
    feeds = next(frames())
    theirs = every_tensor(model, feeds, tmp_path)
    ours = execute(network, feeds, run_segment)
    for layer in network.layers:
        np.testing.assert_array_equal(ours[layer.y], theirs[layer.y], err_msg=layer.name)


def test_a_board_without_a_host_says_what_it_lacks_one_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"operator Transpose \(node turn\)") as caught:
        lower(attention(tmp_path), lengths={"length": 21}, host=False)
    assert "Softmax" in caught.value.cause
    assert "kv260" in caught.value.hint


def test_a_layer_that_quantisation_left_out_is_the_hosts(tmp_path: Path) -> None:
    path = convolutional(tmp_path)
    model = onnx.load(str(path))
    conv = next(node for node in model.graph.node if node.name == "outer")
    model.graph.initializer.append(numpy_helper.from_array(np.ones((20, 20, 3, 3), np.float32), "floats"))
    conv.input[1] = "floats"
    onnx.save(model, str(path))
    network = lower(path)
    assert "outer" in {one.name for segment in network.segments for one in segment.operators}
    assert _kinds(network)["Convolution"] == 5
    with pytest.raises(UsageError, match=r"operator Conv \(node outer\) is left in floating point"):
        lower(path, host=False)


def test_free_lengths_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="free dimensions") as caught:
        lower(attention(tmp_path))
    assert "length" in caught.value.cause
    assert "--dimension 'length=SIZE'" in caught.value.hint


def test_lengths_of_no_dimension_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no dimension `width`") as caught:
        lower(attention(tmp_path), lengths={"length": 21, "width": 3})
    assert "length" in caught.value.cause


def test_an_fp32_model_is_refused_with_the_variant_to_take(tmp_path: Path) -> None:
    convolutional(tmp_path)
    with pytest.raises(UsageError, match="8-bit models only") as caught:
        lower(tmp_path / "fp32.onnx")
    assert "int8-static" in caught.value.hint


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(UsageError, match="cannot be read"):
        lower(path)


def test_unknown_opsets_and_domains_are_refused(tmp_path: Path) -> None:
    path = convolutional(tmp_path)
    model = onnx.load(str(path))
    next(item for item in model.opset_import if item.domain == "").version = 12
    onnx.save(model, str(path))
    with pytest.raises(UsageError, match="opset 12"):
        lower(path)
    next(item for item in model.opset_import if item.domain == "").version = 18
    model.graph.node.append(helper.make_node("Magic", ["logits"], ["more"], domain="acme", name="trick"))
    onnx.save(model, str(path))
    with pytest.raises(UsageError, match=r"Magic \(node trick\)"):
        lower(path)


def test_exact_kernels_are_what_signed_weights_need() -> None:
    """The oracle's option makes a difference on x86 without VNNI, and never makes one the other way."""
    x = np.full((1, 64), 255, np.uint8)
    weights = np.full((64, 8), 127, np.int8)
    one = np.array(1, np.float32)
    inputs = [x, one, np.array(0, np.uint8), weights, np.full(8, 1, np.float32), np.zeros(8, np.int8)]
    inputs += [np.array(64 * 255, np.float32), np.array(0, np.uint8)]
    sums = numerics.multiply_matrices(x, weights)
    wanted = numerics.requantise(sums, numerics.product_scale(1, 1, 64 * 255), zero_point=0, dtype=np.uint8)
    exact = run_operator("QLinearMatMul", inputs, constant=range(1, 8))
    np.testing.assert_array_equal(exact, wanted)
    native = run_operator("QLinearMatMul", inputs, constant=range(1, 8), exact=False)
    assert (native <= wanted).all()  # pairs of products saturate at 32767, which two of 255 x 127 exceed
