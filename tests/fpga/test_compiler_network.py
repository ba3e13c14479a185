"""Whole small networks through the compiler: in the interpreter, and in the simulated core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leptonbench.errors import UsageError
from leptonbench.fpga import ir
from leptonbench.fpga.compiler import compile_network
from leptonbench.fpga.compiler.deploy import Deployment
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.lowering import lower
from leptonbench.fpga.lowering.execute import execute
from leptonbench.fpga.sim.simulator import Simulator
from tests.fpga_interpreter import Interpreter
from tests.fpga_networks import attention, convolutional, frames, images
from tests.fpga_oracle import run_segment

SMALL = CoreShape(
    rows=8,
    cols=16,
    bus_bytes=32,
    input_granules=1024,
    weight_granules=1024,
    acc_words=256,
    output_granules=512,
    param_granules=64,
)


@pytest.fixture(params=["convolutional", "attention"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ir.Network, dict[str, Any]]:
    if request.param == "attention":
        return lower(attention(tmp_path), lengths={"length": 21}), next(frames())
    return lower(convolutional(tmp_path)), next(images())


def _check(network: ir.Network, feeds: dict[str, Any], open_core: Callable[[int], Any], *, together: bool) -> list[Any]:
    """Compile, run and compare every layer's bytes."""
    wanted = execute(network, feeds, run_segment)
    compiled = compile_network(network, SMALL, together=together)
    core = open_core(compiled.dram.size_bytes)
    found, done = Deployment(compiled, core).execute(feeds, run_segment)
    for layer in network.layers:
        np.testing.assert_array_equal(found[layer.y], wanted[layer.y], err_msg=layer.name)
    for name in network.outputs:
        np.testing.assert_array_equal(found[name], wanted[name])
    return done


@pytest.mark.parametrize("together", [False, True], ids=["layer by layer", "together"])
def test_every_layer_gives_the_references_bytes(case: tuple[ir.Network, Any], together: bool) -> None:
    _check(*case, lambda size: Interpreter(SMALL, size), together=together)


@pytest.mark.slow
@pytest.mark.parametrize("together", [False, True], ids=["layer by layer", "together"])
def test_the_simulated_core_gives_the_references_bytes(case: tuple[ir.Network, Any], together: bool) -> None:
    opened: list[Simulator] = []

    def open_core(size: int) -> Simulator:
        opened.append(Simulator(SMALL, memory_bytes=size))
        return opened[0]

    try:
        done = _check(*case, open_core, together=together)
    finally:
        for core in opened:
            core.close()
    for one in done:
        stamps = [number for number, _ in one.result.stamps]
        assert stamps == [layer.stamp for layer in one.program.layers]  # layers end in order
        assert one.result.cycles >= max(layer.bound.cycles for layer in one.program.layers)


def test_layers_between_two_host_segments_are_one_program(tmp_path: Path) -> None:
    network = lower(convolutional(tmp_path))
    together = compile_network(network, SMALL, together=True)
    apart = compile_network(network, SMALL)
    assert len(together.programs) < len(apart.programs) == len(network.layers)
    assert [layer.name for layer in together.layers] == [layer.name for layer in apart.layers]
    assert sum(one.expected_cycles for one in together.programs) < sum(one.expected_cycles for one in apart.programs)


@pytest.mark.parametrize(
    ("name", "core"),
    [
        ("weight_granules", CoreShape(rows=8, cols=16, bus_bytes=16, weight_granules=64)),
        ("input_granules", CoreShape(rows=8, cols=16, bus_bytes=16, input_granules=64)),
    ],
)
def test_a_layer_too_large_for_a_buffer_names_it(name: str, core: CoreShape) -> None:
    kernel = 9
    layer = ir.Convolution(
        name="wide",
        x="x",
        y="y",
        weights=np.ones((1, 8, kernel, kernel), np.int8),
        w_zero=0,
        bias=np.zeros(1, np.int32),
        scale=np.ones(1, np.float32),
        window=ir.Window(kernel=(kernel, kernel)),
    )
    tensors = {
        "x": ir.Tensor(name="x", shape=(1, 8, kernel, kernel), dtype="uint8", scale=1.0),
        "y": ir.Tensor(name="y", shape=(1, 1, 1, 1), dtype="uint8", scale=1.0),
    }
    network = ir.Network(tensors=tensors, steps=(layer,), inputs=("x",), outputs=("y",))
    with pytest.raises(UsageError, match="layer wide has no tiling") as caught:
        compile_network(network, core)
    assert name in caught.value.cause


def test_sums_that_could_leave_32_bits_are_refused() -> None:
    count = 1 << 17
    layer = ir.Product(
        name="long",
        x="x",
        y="y",
        weights=np.full((count, 1), 127, np.int8),
        w_zero=0,
        bias=np.zeros(1, np.int32),
        scale=np.ones(1, np.float32),
    )
    tensors = {
        "x": ir.Tensor(name="x", shape=(1, count), dtype="uint8", scale=1.0),
        "y": ir.Tensor(name="y", shape=(1, 1), dtype="uint8", scale=1.0),
    }
    network = ir.Network(tensors=tensors, steps=(layer,), inputs=("x",), outputs=("y",))
    with pytest.raises(UsageError, match="32 bits"):
        compile_network(network, SMALL)
