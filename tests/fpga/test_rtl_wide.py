"""Wide cores, and buses of one granule: the bytes of every kind of layer, whose channels take several blocks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from leptonbench.fpga import ir
from leptonbench.fpga.compiler import compile_network
from leptonbench.fpga.compiler.deploy import Deployment
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.lowering.execute import execute
from leptonbench.fpga.numerics import AddFactors
from leptonbench.fpga.scoreboard.networks.drawing import Drawing
from leptonbench.fpga.sim.simulator import Simulator

_SMALL = {
    "input_granules": 512,
    "weight_granules": 2048,
    "acc_words": 64,
    "output_granules": 128,
    "param_granules": 64,
}
SHAPES = {
    "16x32, bus of one granule": CoreShape(rows=16, cols=32, bus_bytes=16, **_SMALL),
    "32x32": CoreShape(rows=32, cols=32, bus_bytes=64, **_SMALL),
}


def _network(random: np.random.Generator) -> ir.Network:
    """Draw a network and give its layers values: zero points on both sides, sums over two and more blocks."""
    net = Drawing((70, 11, 9))
    x = net.convolve(net.source, 66, 3, stride=2)
    y = net.convolve(net.depthwise(x), 66)
    x = net.add(x, y)
    x = net.convolve(net.enlarge(net.pool(x, 3, stride=2)), 34, 3, dilation=2)
    net.dense(net.mean(x), 70)
    drawn = net.network()
    tensors = {
        name: dataclasses.replace(tensor, zero_point=int(random.integers(1, 200)))
        for name, tensor in drawn.tensors.items()
    }
    for layer in drawn.layers:  # these keep scale and zero point
        if isinstance(layer, ir.MaxPooling | ir.Enlargement):
            tensors[layer.y] = dataclasses.replace(tensors[layer.y], zero_point=tensors[layer.x].zero_point)
    return dataclasses.replace(drawn, tensors=tensors, steps=tuple(_valued(layer, random) for layer in drawn.layers))


def _valued(layer: ir.Layer, random: np.random.Generator) -> ir.Layer:
    match layer:
        case ir.Convolution():
            outputs, *shape = layer.weights.shape
            return dataclasses.replace(
                layer,
                weights=random.integers(-128, 128, (outputs, *shape), dtype=np.int8),
                w_zero=3,
                bias=random.integers(-5000, 5000, outputs, dtype=np.int32),
                scale=(random.uniform(0.5, 2, outputs) / 100 / np.sqrt(np.prod(shape))).astype(np.float32),
            )
        case ir.Addition():
            return dataclasses.replace(layer, factors=AddFactors(np.float32(0.7), np.float32(-0.3), np.float32(19.25)))
        case ir.GlobalAverage():
            return dataclasses.replace(layer, scale=np.float32(1 / 40))
    return layer


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_wide_core_gives_the_references_bytes(name: str) -> None:
    random = np.random.default_rng(11)
    network, core = _network(random), SHAPES[name]
    (source,) = network.inputs
    feeds = {source: random.integers(0, 256, network.tensors[source].shape, dtype=np.uint8)}
    wanted = execute(network, feeds, _no_host)
    compiled = compile_network(network, core, together=True)
    with Simulator(core, memory_bytes=compiled.dram.size_bytes) as simulator:
        found, _ = Deployment(compiled, simulator).execute(feeds, _no_host)
    for layer in network.layers:
        assert len(np.unique(wanted[layer.y])) > 8, f"{layer.name} has hardly any values: nothing is tested"
        np.testing.assert_array_equal(found[layer.y], wanted[layer.y], err_msg=f"{type(layer).__name__} {layer.y}")


def _no_host(*_: Any) -> Any:
    raise AssertionError("nothing runs on the host here")
