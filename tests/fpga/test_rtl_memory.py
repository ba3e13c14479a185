"""Loads, stores, tokens, counters, and how DRAM behaves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leptonbench.errors import UsageError
from leptonbench.fpga import isa
from leptonbench.fpga.isa import Counter, ExecMode, Target, Unit
from leptonbench.fpga.sim.simulator import Dram, Run, SimulationError, Simulator
from tests.fpga.machine import Bench, load, parameters

_SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _copy(bench: Bench, loads: list[isa.Load], stores: list[isa.Store], count: int, **options: object) -> Run:
    """Move `count` granules from the start of the input buffer to that of slice 0, between loads and stores."""
    shape = bench.core.shape
    params = parameters(np.zeros(shape.cols), np.ones(shape.cols), shape.cols)
    return bench.run(
        [
            load(Target.PARAM, bench.put(params), params, shape.rows),
            *loads[:-1],
            isa.Load(**(vars(loads[-1]) | {"give": Unit.EXEC})),
            isa.Exec(mode=ExecMode.SUM, take=Unit.LOAD, give=Unit.DRAIN, oy_count=count, oy_step=shape.rows),
            isa.Drain(take=Unit.EXEC, give=Unit.STORE, count=count),
            isa.Store(**(vars(stores[0]) | {"take": Unit.DRAIN})),
            *stores[1:],
        ],
        **options,
    )


@_SLOW
@given(
    data=st.data(),
    granules=st.integers(1, 9),
    y_count=st.integers(1, 4),
    z_count=st.integers(1, 3),
    offset=st.integers(0, 9),
)
def test_strided_rows_go_where_they_belong(
    core: Simulator, data: st.DataObject, granules: int, y_count: int, z_count: int, offset: int
) -> None:
    bench, rows = Bench(core), core.shape.rows
    pitch_y = granules + data.draw(st.integers(0, 3))
    pitch_z = pitch_y * y_count + data.draw(st.integers(0, 3))
    source = np.random.default_rng(offset).integers(0, 256, (z_count * pitch_z + offset, rows), dtype=np.uint8)
    count = granules * y_count * z_count
    # Near the end of 4096 aligned bytes, so that rows are split into bursts.
    bench.at = -(-bench.at // 4096) * 4096 + 4096 - 64 * data.draw(st.integers(1, 4))
    start = bench.put(source) + offset * rows
    sink = bench.reserve(source.nbytes + 64 * rows)
    before = bench.get(sink, source.nbytes)
    shared = {"granules": granules, "y_count": y_count, "z_count": z_count}
    strides = {"dram_y": pitch_y * rows, "dram_z": pitch_z * rows}
    _copy(
        bench,
        [isa.Load(dram=start, dst_y=granules, dst_z=granules * y_count, **shared, **strides)],
        [isa.Store(dram=sink + offset * rows, src_y=granules, src_z=granules * y_count, **shared, **strides)],
        count,
    )
    expected = before.reshape(-1, rows).copy()
    for z in range(z_count):
        for y in range(y_count):
            at = offset + z * pitch_z + y * pitch_y
            expected[at : at + granules] = source[at : at + granules]
    assert np.array_equal(bench.get(sink, source.nbytes).reshape(-1, rows), expected)


def test_a_tile_may_lie_across_the_end_of_a_buffer(bench: Bench) -> None:
    shape = bench.core.shape
    source = np.random.default_rng(0).integers(0, 256, (12, shape.rows), dtype=np.uint8)
    params = parameters(np.zeros(shape.cols), np.ones(shape.cols), shape.cols)
    sink = bench.reserve(source.nbytes)
    first, last = shape.input_granules - 5, shape.output_granules - 7
    bench.run(
        [
            load(Target.PARAM, bench.put(params), params, shape.rows),
            load(Target.INPUT, bench.put(source), source, shape.rows, dst=first, give=Unit.EXEC),
            isa.Exec(
                mode=ExecMode.SUM,
                take=Unit.LOAD,
                give=Unit.DRAIN,
                base=first * shape.rows,
                oy_count=12,
                oy_step=shape.rows,
                acc=shape.acc_words - 3,
            ),
            isa.Drain(take=Unit.EXEC, give=Unit.STORE, count=12, acc=shape.acc_words - 3, dst=last),
            isa.Store(take=Unit.DRAIN, granules=12, src=last, dram=sink),
        ]
    )
    assert np.array_equal(bench.get(sink, source.nbytes).reshape(source.shape), source)


def _mover(bench: Bench, **options: object) -> Run:
    count = min(bench.core.shape.output_granules, bench.core.shape.acc_words)
    source = np.random.default_rng(1).integers(0, 256, (count, bench.core.shape.rows), dtype=np.uint8)
    sink = bench.reserve(source.nbytes)
    run = _copy(
        bench,
        [isa.Load(dram=bench.put(source), granules=count)],
        [isa.Store(dram=sink, granules=count, stamp=42)],
        count,
        **options,
    )
    assert np.array_equal(bench.get(sink, source.nbytes).reshape(source.shape), source)
    return run


def test_the_same_program_takes_the_same_cycles_and_counts(core: Simulator) -> None:
    first, second = _mover(Bench(core)), _mover(Bench(core))
    assert first.cycles == second.cycles
    assert first.counters == second.counters


def test_the_counters_count(bench: Bench) -> None:
    shape = bench.core.shape
    run = _mover(bench)
    count = min(shape.output_granules, shape.acc_words)
    counters = run.counters
    assert counters[Counter.CYCLES] == run.cycles
    assert counters[Counter.VECTORS] == counters[Counter.ACC_WRITES] == counters[Counter.ACC_DRAINS] == count
    assert counters[Counter.ARRAY_VECTORS] == counters[Counter.LANE_VECTORS] == counters[Counter.PADDED] == 0
    assert counters[Counter.INPUT_WRITES] == count
    assert counters[Counter.OUTPUT_WRITES] == count * shape.slices
    assert counters[Counter.WRITE_BEATS] == -(-count * shape.rows // shape.bus_bytes)
    data_beats = (count * shape.rows + 8 * shape.cols) // shape.bus_bytes
    burst_beats = 8 * isa.INSTRUCTION_BYTES // shape.bus_bytes  # fetch reads eight instructions at once, and runs ahead
    assert counters[Counter.READ_BEATS] - data_beats in (burst_beats, 2 * burst_beats)
    stalls = [counters[kind] for kind in Counter if kind.name.startswith("STALL")]
    assert sum(stalls) + count == run.cycles
    ((number, cycle),) = run.stamps
    assert number == 42
    assert 0 < cycle <= run.cycles


def test_a_longer_latency_costs_cycles_and_changes_no_result(bench: Bench) -> None:
    short, long = (_mover(bench, dram=Dram(latency_cycles=cycles)).cycles for cycles in (100, 400))
    # The program, the data and the acknowledgement each wait for it at least once, one after another.
    assert long - short >= 3 * 300


@pytest.mark.parametrize("bytes_per_cycle", [1.5, 6.4])
def test_bandwidth_bounds_what_the_bus_carries(bench: Bench, bytes_per_cycle: float) -> None:
    run = _mover(bench, dram=Dram(bytes_per_cycle=bytes_per_cycle, latency_cycles=10))
    moved = (run.counters[Counter.READ_BEATS] + run.counters[Counter.WRITE_BEATS]) * bench.core.shape.bus_bytes
    assert run.cycles >= 0.98 * moved / bytes_per_cycle
    assert run.cycles <= 1.1 * moved / bytes_per_cycle + 3000


def test_two_channels_carry_what_one_of_twice_the_width_carries(bench: Bench) -> None:
    one = _mover(bench, dram=Dram(bytes_per_cycle=6.0))
    two = _mover(bench, dram=Dram(bytes_per_cycle=6.0, channels=2, interleave_bytes=256))
    assert 0.8 * one.cycles <= two.cycles <= 1.25 * one.cycles


def test_a_unit_that_waits_for_ever_is_a_hang_and_is_named(bench: Bench) -> None:
    with pytest.raises(SimulationError) as caught:
        bench.run([isa.Exec(take=Unit.LOAD, give=Unit.DRAIN)], watchdog_cycles=300)
    assert caught.value.kind == "hang"
    assert "EXEC idle, 1 queued, lacks a token from LOAD" in caught.value.cause
    assert _mover(bench).cycles > 0  # and the next program runs


def test_a_program_without_an_end_fetches_what_is_no_instruction(bench: Bench) -> None:
    bench.core.memory[0:64] = 0xFF
    with pytest.raises(SimulationError, match="fault") as caught:
        bench.core.run(0)
    assert "operation that does not exist" in caught.value.cause


def test_too_many_tokens_are_a_fault(bench: Bench) -> None:
    loads = [isa.Load(dram=0, give=Unit.EXEC) for _ in range(isa.MAX_TOKENS + 1)]
    with pytest.raises(SimulationError, match="fault") as caught:
        bench.run([*loads, isa.Exec(take=Unit.STORE)])
    assert "token counter" in caught.value.cause


@pytest.mark.parametrize("instruction", [isa.Store(dram=1 << 31), isa.Load(dram=1 << 31)])
def test_an_address_beyond_the_memory_is_refused(bench: Bench, instruction: isa.Instruction) -> None:
    with pytest.raises(SimulationError, match="outside"):
        bench.run([instruction])


def test_a_program_may_be_given_an_end(bench: Bench) -> None:
    with pytest.raises(SimulationError, match="too-long"):
        _mover(bench, max_cycles=50)


@pytest.mark.parametrize(
    "wrong", [{"latency_cycles": 0}, {"bytes_per_cycle": -1.0}, {"channels": 0}, {"bytes_per_cycle": 0.0001}]
)
def test_a_dram_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="no DRAM"):
        Dram(**wrong)  # type: ignore[arg-type]
