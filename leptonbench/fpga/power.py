"""Energy of what the accelerator did: the board's idle power for as long as it took, and an energy for each event.

energy = idle power x time + sum over events of count x published energy x fabric ratio x process + DRAM bytes x energy

The counts are the core's own, so the dynamic part follows what the network did. Clock tree, control and leakage beyond
the idle board's are in no event: published figures have them in one sum with everything else. Both parts have a range
from the low and high ends of every figure at once; it bounds what is assumed and is no confidence interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from leptonbench.fpga.isa import Counter
from leptonbench.schema import Board, Boundary, CoreSpec, EventEnergies, Fact, PowerProfile, Provenance, Quantity

_ACC_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Event:
    """One kind of event.

    Attributes:
        name: What a reader knows it by.
        count: How often it happened.
        each_j: Of one, on this board: value, low and high, joules.
    """

    name: str
    count: int
    each_j: tuple[float, float, float]

    @property
    def energy_j(self) -> tuple[float, float, float]:
        """Return value, low and high of all of them, joules."""
        value, low, high = (each * self.count for each in self.each_j)
        return value, low, high


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What a stretch of work took.

    Attributes:
        idle: The board's idle power over its time.
        dynamic: What came on top.
        total: Both.
        events: That make up the dynamic part.
    """

    idle: Quantity
    dynamic: Quantity
    total: Quantity
    events: tuple[Event, ...]


def energy(
    board: Board, power: PowerProfile, energies: EventEnergies, *, counters: Mapping[Counter, int], time_s: Quantity
) -> Energy:
    """Return the energy of what all cores of a board did in a time, `simulated`.

    Args:
        board: With the core that the counters are of, its part and its memory.
        power: The board's, at its own boundary.
        energies: Of events.
        counters: Summed over cores.
        time_s: That it took, with its range.

    Raises:
        ValueError: If the time is absent, or no energy is known for the part's family or the kind of DRAM.
    """
    if time_s.value is None:
        raise ValueError(f"no energy without a time: {time_s.why_null}")
    for table, name in ((energies.process, board.part.family), (energies.dram_byte_j, board.dram.kind)):
        if name not in table:
            raise ValueError(f"no energy is known for `{name}`, only for {', '.join(table)}")
    events = _events(board, energies, counters)
    dynamic = _sum(event.energy_j for event in events)
    idle_w = _ends(power.idle_w)
    slow, fast = (time_s.value if end is None else end for end in (time_s.high, time_s.low))
    idle = (idle_w[0] * time_s.value, idle_w[1] * fast, idle_w[2] * slow)
    whose = "assumed" if power.idle_w.assumed else "published"
    return Energy(
        idle=_quantity(idle, f"board's idle power ({whose}) x time"),
        dynamic=_quantity(dynamic, "events counted in RTL x published energies, scaled to the FPGA (assumed)"),
        total=_quantity(_sum((idle, dynamic)), f"board's idle power ({whose}) x time + events x energies (assumed)"),
        events=events,
    )


def _events(board: Board, energies: EventEnergies, counters: Mapping[Counter, int]) -> tuple[Event, ...]:
    fabric = _product(_ends(energies.fabric_ratio), _ends(energies.process[board.part.family]))
    dram = (counters[Counter.READ_BEATS] + counters[Counter.WRITE_BEATS]) * board.core.bus_bytes
    return (
        Event(
            name="multiply-accumulate",
            count=_macs(board.core, counters),
            each_j=_product(_ends(energies.mac_j), fabric),
        ),
        Event(
            name="byte of a buffer",
            count=_buffer_bytes(board.core, counters),
            each_j=_product(_ends(energies.buffer_byte_j), fabric),
        ),
        Event(
            name="value drained",
            count=counters[Counter.ACC_DRAINS] * board.core.cols,
            each_j=_product(_ends(energies.drain_value_j), fabric),
        ),
        Event(name="byte of DRAM", count=dram, each_j=_ends(energies.dram_byte_j[board.dram.kind])),
    )


def _macs(core: CoreSpec, counters: Mapping[Counter, int]) -> int:
    """Count all places of the array that a vector passes: in every mode it passes the whole array."""
    return counters[Counter.VECTORS] * core.rows * core.cols


def _buffer_bytes(core: CoreSpec, counters: Mapping[Counter, int]) -> int:
    """Count the bytes that memories on the chip gave or took."""
    granules = sum(
        counters[counter]
        for counter in (
            Counter.INPUT_WRITES,
            Counter.WEIGHT_WRITES,
            Counter.WEIGHT_READS,
            Counter.OUTPUT_WRITES,
            Counter.OUTPUT_READS,
        )
    )
    granules += 2 * (counters[Counter.VECTORS] - counters[Counter.PADDED])  # a vector is cut from two granules
    words = 2 * counters[Counter.ACC_WRITES] + counters[Counter.ACC_DRAINS]  # read, added to and written back
    return granules * core.rows + words * core.cols * _ACC_BYTES


def _ends(fact: Fact) -> tuple[float, float, float]:
    return (
        fact.value,
        fact.value if fact.low is None else fact.low,
        fact.value if fact.high is None else fact.high,
    )


def _product(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


def _sum(parts: Iterable[tuple[float, float, float]]) -> tuple[float, float, float]:
    values, lows, highs = zip(*parts, strict=True)
    return sum(values), sum(lows), sum(highs)


def _quantity(ends: tuple[float, float, float], method: str) -> Quantity:
    value, low, high = ends
    return Quantity(
        value=value,
        unit="J",
        low=low,
        high=high,
        provenance=Provenance.SIMULATED,
        boundary=Boundary.BOARD,
        method=method,
    )
