"""Simulated cores, built once and kept for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.sim.simulator import Simulator
from tests.fpga.machine import Bench

#: Two that differ in every derived number: slices, bus lanes, parameter blocks.
SHAPES = {
    "16x16": CoreShape(),
    "8x16": CoreShape(
        rows=8,
        cols=16,
        bus_bytes=32,
        input_granules=1024,
        weight_granules=1024,
        acc_words=256,
        output_granules=512,
        param_granules=64,
    ),
}


@pytest.fixture(scope="session", params=sorted(SHAPES))
def core(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    with Simulator(SHAPES[request.param], memory_bytes=8 << 20) as simulator:
        yield simulator


@pytest.fixture
def bench(core: Simulator) -> Bench:
    return Bench(core)
