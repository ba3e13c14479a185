"""Energy follows the counters: what is idle and what is dynamic, with the range of every figure."""

from __future__ import annotations

import pytest

from leptonbench import catalog
from leptonbench.fpga.isa import Counter
from leptonbench.fpga.power import Energy, energy
from leptonbench.schema import Boundary, Provenance, Quantity

PROFILE = catalog.load_board("kv260")
ENERGIES = catalog.event_energies()
NOTHING = dict.fromkeys(Counter, 0)


def _energy(time_s: float = 0.0, *, low: float | None = None, high: float | None = None, **counts: int) -> Energy:
    assert PROFILE.board is not None
    assert PROFILE.power is not None
    time = Quantity(value=time_s, unit="s", low=low, high=high, provenance=Provenance.SIMULATED)
    counters = NOTHING | {Counter[name.upper()]: count for name, count in counts.items()}
    return energy(PROFILE.board, PROFILE.power, ENERGIES, counters=counters, time_s=time)


def test_a_board_that_does_nothing_takes_its_idle_power():
    found = _energy(2.0)
    assert found.idle.value == pytest.approx(2 * 9.15)
    assert found.dynamic.value == 0
    assert found.total.value == found.idle.value


def test_the_range_of_the_time_and_that_of_the_power_meet_at_their_ends():
    found = _energy(2.0, low=1.0, high=3.0)
    assert found.idle.low == pytest.approx(1.0 * 8)
    assert found.idle.high == pytest.approx(3.0 * 10)


def test_a_multiply_accumulate_costs_the_published_one_times_fabric_times_process():
    found = _energy(vectors=10, padded=10)  # read nothing
    macs = 10 * 16 * 16
    assert found.dynamic.value == pytest.approx(macs * 3.0e-13 * 7 * 0.32)
    assert found.dynamic.low == pytest.approx(macs * 3.0e-13 * 2 * 0.23)
    assert found.dynamic.high == pytest.approx(macs * 4.4e-13 * 14 * 0.5)


def test_a_beat_of_dram_costs_all_its_bytes_read_or_written():
    assert PROFILE.board is not None
    both = _energy(read_beats=3, write_beats=4)
    assert both.dynamic.value == pytest.approx(7 * 32 * 1.2e-10)


@pytest.mark.parametrize(
    ("counter", "bytes_each"),
    [
        ("input_writes", 16),
        ("weight_writes", 16),
        ("weight_reads", 16),
        ("output_writes", 16),
        ("output_reads", 16),
        ("acc_writes", 2 * 16 * 4),  # read and written back
    ],
)
def test_buffers_cost_by_the_byte(counter: str, bytes_each: int):
    found = _energy(**{counter: 5})
    assert found.dynamic.value == pytest.approx(5 * bytes_each * 1.25e-12 * 7 * 0.32)


def test_a_vector_that_is_not_padding_reads_two_granules():
    read, padded = _energy(vectors=10), _energy(vectors=10, padded=10)
    assert read.dynamic.value is not None
    assert padded.dynamic.value is not None
    assert read.dynamic.value - padded.dynamic.value == pytest.approx(10 * 2 * 16 * 1.25e-12 * 7 * 0.32)


def test_the_total_is_the_sum_and_its_events_are_the_dynamic_part():
    found = _energy(0.5, vectors=1000, acc_drains=10, read_beats=5, weight_reads=7)
    assert found.total.value == pytest.approx((found.idle.value or 0) + (found.dynamic.value or 0))
    assert found.dynamic.value == pytest.approx(sum(event.energy_j[0] for event in found.events))
    for part in (found.idle, found.dynamic, found.total):
        assert part.low is not None
        assert part.high is not None
        assert part.value is not None
        assert part.low <= part.value <= part.high
        assert part.provenance is Provenance.SIMULATED
        assert part.boundary is Boundary.BOARD


def test_every_bundled_board_can_be_priced_in_joules():
    for name in catalog.board_names():
        profile = catalog.load_board(name)
        assert profile.board is not None
        assert profile.power is not None
        time = Quantity(value=1.0, unit="s", provenance=Provenance.SIMULATED)
        found = energy(profile.board, profile.power, ENERGIES, counters=NOTHING, time_s=time)
        assert found.total.value == pytest.approx(profile.power.idle_w.value)


def test_no_energy_without_a_time_or_for_unknown_memory():
    assert PROFILE.board is not None
    assert PROFILE.power is not None
    absent = Quantity.null("s", "nothing ran")
    with pytest.raises(ValueError, match="nothing ran"):
        energy(PROFILE.board, PROFILE.power, ENERGIES, counters=NOTHING, time_s=absent)
    poorer = ENERGIES.model_copy(update={"dram_byte_j": {"sdr": ENERGIES.dram_byte_j["sdr"]}})
    time = Quantity(value=1.0, unit="s", provenance=Provenance.SIMULATED)
    with pytest.raises(ValueError, match="no energy is known for `ddr4`, only for sdr"):
        energy(PROFILE.board, PROFILE.power, poorer, counters=NOTHING, time_s=time)
