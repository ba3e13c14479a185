"""A whole layer of ResNet-18, in tiles that overlap in time: right, and worth the array."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks import fpga_core_speed as layer
from leptonbench.fpga.isa import Counter
from leptonbench.fpga.sim.simulator import Dram, Simulator
from tests.fpga.conftest import SHAPES


@pytest.fixture(scope="module")
def core() -> Iterator[Simulator]:
    with Simulator(SHAPES["16x16"], memory_bytes=layer.MEMORY) as simulator:
        yield simulator


def test_tiles_that_overlap_in_time_do_not_disturb_one_another(core: Simulator) -> None:
    image, kernel = layer.tensors()
    expected = layer.reference(image, kernel)
    for dram in (layer.KV260, Dram(latency_cycles=500, bytes_per_cycle=3.0)):  # waiting for the array, and for DRAM
        core.memory[:] = 0
        layer.place(core, image, kernel)
        core.run(layer.PROGRAM, dram=dram)
        assert np.array_equal(layer.result(core), expected)


def test_load_drain_and_store_hide_behind_the_array(core: Simulator) -> None:
    layer.place(core, *layer.tensors())
    run = core.run(layer.PROGRAM, dram=layer.KV260)
    assert run.counters[Counter.ARRAY_VECTORS] * core.shape.macs_per_cycle == layer.MACS
    # The strip of weights and inputs that the first tile needs, and the last tile's drain and store, cannot hide.
    assert layer.MACS / core.shape.macs_per_cycle >= 0.98 * run.cycles
