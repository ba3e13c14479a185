"""Whole small networks on a board: composed cycles against simulated ones, bytes against the runtime's, and seconds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leptonbench.catalog import load_board
from leptonbench.errors import UsageError
from leptonbench.fpga.execution import Mode, Simulation, simulate
from leptonbench.fpga.execution import compose as composing
from leptonbench.fpga.execution.compose import ERROR, compose
from leptonbench.fpga.execution.full import run_full
from leptonbench.fpga.execution.host import LAYOUT, HostSessions, HostTimes
from leptonbench.fpga.execution.outcome import CoreOutcome
from leptonbench.fpga.execution.reference import every_tensor
from leptonbench.fpga.execution.simulate import compile_for, free_lengths, memory_of
from leptonbench.fpga.execution.tell import as_document, host_rows, layer_rows, sentences
from leptonbench.fpga.isa import Counter
from leptonbench.fpga.lowering import lower
from leptonbench.schema import Board, CoreSpec, Fact
from tests.fpga.conftest import SHAPES
from tests.fpga_networks import attention, convolutional, frames, images

SMALL = SHAPES["8x16"]


def _board(**changes: Any) -> Board:
    """Return a board with the small core that other tests build, too."""
    profile = load_board("kv260")
    assert profile.board is not None
    return profile.board.model_copy(update={"core": CoreSpec(**asdict(SMALL)), "cores": 2, **changes})


def _composed(model: Path, feeds: dict[str, Any], cache: Path, board: Board) -> CoreOutcome:
    network = lower(model, lengths=free_lengths(model, feeds))
    compiled = compile_for(network, board, active_cores=1)
    return compose(compiled, memory_of(board, active_cores=1), cache=cache)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["convolutional", "attention"])
def test_full_gives_the_runtimes_bytes_and_composed_its_cycles(kind: str, tmp_path: Path) -> None:
    make, feeds = (convolutional, next(images())) if kind == "convolutional" else (attention, next(frames()))
    model, board = make(tmp_path), _board()
    network = lower(model, lengths=free_lengths(model, feeds))
    compiled = compile_for(network, board, active_cores=1)
    wanted = every_tensor(model, feeds)
    host = HostSessions(network, threads=1).run
    full, found = run_full(compiled, memory_of(board, active_cores=1), feeds, host=host, wanted=wanted)
    assert full.mismatches == 0
    assert full.cycles == sum(layer.cycles for layer in full.layers)
    for name in network.outputs:
        np.testing.assert_array_equal(found[name], wanted[name])
    composed = compose(compiled, memory_of(board, active_cores=1), cache=tmp_path / "layers")
    assert composed.cycles == pytest.approx(full.cycles, rel=ERROR)
    for counter in (Counter.VECTORS, Counter.ACC_DRAINS, Counter.WRITE_BEATS):
        assert composed.counters[counter] == pytest.approx(full.counters[counter], rel=0.01)
    spoilt = dict(wanted) | {network.layers[0].y: wanted[network.layers[0].y] ^ 1}
    wrong, _ = run_full(compiled, memory_of(board, active_cores=1), feeds, host=host, wanted=spoilt)
    assert wrong.layers[0].mismatches == wanted[network.layers[0].y].size


@pytest.mark.slow
def test_what_the_rtl_said_is_kept_and_damage_is_noticed(tmp_path: Path) -> None:
    model, feeds, cache, board = convolutional(tmp_path), next(images()), tmp_path / "layers", _board()
    first = _composed(model, feeds, cache, board)
    assert first.simulated_cycles > 0
    again = _composed(model, feeds, cache, board)
    assert (again.simulated_cycles, again.cpu_s) == (0, 0.0)
    assert again.layers == first.layers
    damaged = sorted(cache.iterdir())[0]
    damaged.write_text(json.dumps({"cycles": 1, "counters": []}), encoding="utf-8")
    repaired = _composed(model, feeds, cache, board)
    assert 0 < repaired.simulated_cycles < first.simulated_cycles
    assert repaired.layers == first.layers


@pytest.mark.slow
def test_a_few_tiles_stand_for_a_long_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, feeds, board = convolutional(tmp_path), next(images()), _board()
    whole = _composed(model, feeds, tmp_path / "whole", board)
    monkeypatch.setattr(composing, "WINDOW_CYCLES", 300)
    part = _composed(model, feeds, tmp_path / "part", board)
    assert part.simulated_cycles < 0.8 * whole.simulated_cycles
    assert part.cycles == pytest.approx(whole.cycles, rel=0.05)
    assert part.counters[Counter.VECTORS] == pytest.approx(whole.counters[Counter.VECTORS], rel=0.02)


def test_host_operators_are_timed_by_name(tmp_path: Path) -> None:
    model, board = attention(tmp_path), _board()
    network = lower(model, lengths={"length": 21})
    compiled = compile_for(network, board, active_cores=1)
    times = HostSessions(network, threads=1).time(compiled)
    assert {"Softmax", "QuantizeLinear", "DequantizeLinear", LAYOUT} <= set(times.counts)
    assert set(times.seconds) >= {LAYOUT} and all(spent > 0 for spent in times.seconds.values())
    assert times.total_s == pytest.approx(sum(times.seconds.values()))


def test_a_board_without_a_processor_runs_what_needs_none(tmp_path: Path) -> None:
    """The pool and the flattening of its means are one layer: nothing is left to a host but codes in and out."""
    network = lower(convolutional(tmp_path), host=False)
    left = {operator.op_type for segment in network.segments for operator in segment.operators}
    assert left == {"QuantizeLinear", "DequantizeLinear"}
    assert compile_for(network, _board(host=None), active_cores=1).repacked == ()


def test_a_network_larger_than_the_memory_is_refused(tmp_path: Path) -> None:
    board = _board()
    little = board.dram.model_copy(update={"capacity_bytes": _fact(1000, unit="B")})
    with pytest.raises(UsageError, match="does not fit into the board's memory"):
        compile_for(lower(convolutional(tmp_path)), board.model_copy(update={"dram": little}), active_cores=1)


def _fact(value: float, low: float | None = None, high: float | None = None, unit: str = "1") -> Fact:
    return Fact(value=value, unit=unit, low=low, high=high, source="a test", date="2026-11")


def _outcome(cycles: float) -> CoreOutcome:
    counters = dict.fromkeys(Counter, 0.0)
    return CoreOutcome(
        core=SMALL, layers=(), cycles=cycles, programs=1, counters=counters, simulated_cycles=0, cpu_s=0.0
    )


def _simulation(alone: float, crowded: float, host_s: float | None, mode: Mode = Mode.FULL) -> Simulation:
    board = _board(clock_hz=_fact(1e8, 0.5e8, 2e8, "Hz"))
    assert board.host is not None
    processor = board.host.model_copy(update={"relative_speed": _fact(0.5, 0.25, 1.0)})
    one = _outcome(alone)
    return Simulation(
        board=board.model_copy(update={"host": processor if host_s is not None else None}),
        mode=mode,
        network=None,  # type: ignore[arg-type]  # seconds need none
        alone=one,
        crowded=one if crowded == alone else _outcome(crowded),
        host=None if host_s is None else HostTimes(seconds={"Softmax": host_s}, counts={"Softmax": 2}, threads=1),
        dram_bytes=0,
        repacked=(),
    )


def test_seconds_have_the_range_of_the_clock_and_of_the_hosts_speed() -> None:
    found = _simulation(1e6, 1e6, 0.002)
    assert found.accelerator_s == pytest.approx((0.01, 0.005, 0.02))
    assert found.host_s == pytest.approx((0.004, 0.002, 0.008))
    assert found.latency_s == pytest.approx((0.014, 0.007, 0.028))
    composed = _simulation(1e6, 1e6, None, Mode.COMPOSED)
    assert composed.accelerator_s == pytest.approx((0.01, 0.005 * (1 - ERROR), 0.02 * (1 + ERROR)))


@pytest.mark.parametrize(("host_s", "rate", "bound"), [(None, 100.0, False), (0.001, 100.0, False), (0.02, 25.0, True)])
def test_the_slower_part_limits_the_steady_state(host_s: float | None, rate: float, bound: bool) -> None:
    """Two cores at 20 ms a frame while both are at work; the host works on other frames meanwhile."""
    found = _simulation(1e6, 2e6, host_s)
    assert found.throughput_per_s.value == pytest.approx(rate)
    assert found.host_bound is bound


@pytest.mark.slow
def test_a_simulation_is_told_in_rows_and_in_json(tmp_path: Path) -> None:
    slow = _board().dram.model_copy(update={"peak_bytes_per_s": _fact(4e9, unit="B/s")})
    found = simulate(attention(tmp_path), _board(dram=slow), lengths={"length": 21}, mode=Mode.FULL)
    rows = layer_rows(found)
    assert len(rows) == len(found.network.layers)
    assert any(row[0] == "Softmax" for row in host_rows(found))
    text = "\n".join(sentences(found))
    assert "0 bytes differ" in text and "steady state" in text and "assumed" in text
    document = json.loads(json.dumps(as_document(found)))
    assert document["alone"]["mismatches"] == 0
    assert document["crowded"]["cycles"] > document["alone"]["cycles"]  # two cores share the memory
    assert sum(layer["cycles"] for layer in document["alone"]["layers"]) == document["alone"]["cycles"]


def test_cores_that_share_the_memory_get_less_of_it() -> None:
    board = _board()
    slow = board.dram.model_copy(update={"peak_bytes_per_s": _fact(4e9, unit="B/s")})
    board = board.model_copy(update={"dram": slow})
    alone, crowded = (memory_of(board, active_cores=count).bytes_per_cycle for count in (1, 2))
    assert alone == pytest.approx(2 * crowded)
    fast = board.dram.model_copy(update={"peak_bytes_per_s": _fact(1e12, unit="B/s")})
    board = board.model_copy(update={"dram": fast})
    assert memory_of(board, active_cores=1) == memory_of(board, active_cores=2)  # the bus is what limits either
