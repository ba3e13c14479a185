"""Instructions with what each waits for, put in an order and given their tokens.

Each unit runs its instructions in the order in which they are added. What they wait for across units is said when they
are added; the tokens that say so to the core follow from it. Tokens between two units are counted, not named: the n-th
take is satisfied by the n-th give. So an instruction takes one only if it waits for a later one of that unit than any
before it did.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace

from leptonbench.fpga.isa import Drain, Exec, Halt, Instruction, Load, Store, Unit

UNITS = (Unit.LOAD, Unit.EXEC, Unit.DRAIN, Unit.STORE)
_UNIT_OF: dict[type[Instruction], Unit] = {
    Load: Unit.LOAD,
    Exec: Unit.EXEC,
    Drain: Unit.DRAIN,
    Store: Unit.STORE,
}


@dataclass(eq=False)
class Step:
    """One instruction of a schedule.

    Attributes:
        instruction: Without its tokens.
        unit: That runs it.
        index: Its place among the unit's instructions.
        dram_bytes: What it moves from or to DRAM.
        start: When it starts, expected.
        end: When it has ended, expected.
        take: Units that it takes a token from.
        give: Units that it gives a token to.
    """

    instruction: Instruction
    unit: Unit
    index: int
    dram_bytes: int
    start: float = 0.0
    end: float = 0.0
    take: Unit = Unit.NONE
    give: Unit = Unit.NONE


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the DRAM gives a core, for the expected times only.

    Attributes:
        bytes_per_cycle: Sustained.
        latency_cycles: Of a read or write.
    """

    bytes_per_cycle: float = 41.0
    latency_cycles: int = 40


class _Timeline:
    """When the DRAM is busy. Loads are added before stores that start earlier, so gaps are filled later on."""

    _KEPT = 256  # latest stretches looked at; what is before them is as good as busy

    def __init__(self) -> None:
        self._busy: list[tuple[float, float]] = [(0.0, 0.0)]

    def reserve(self, ready: float, length: float) -> float:
        """Take so much of the time that is free from `ready` on; return when the last of it is over."""
        at = max(0, bisect.bisect(self._busy, (ready, math.inf)) - 1)
        begin = max(ready, self._busy[at][1])
        while at + 1 < len(self._busy) and (gap := self._busy[at + 1][0] - begin) < length:
            length -= max(0.0, gap)
            at += 1
            begin = self._busy[at][1]
        first = at
        while first >= 0 and self._busy[first][1] >= ready:
            first -= 1
        # Everything from the first stretch that touches `ready` to here is busy now.
        start = min(ready, self._busy[first + 1][0]) if first < at else ready
        end = begin + length
        merged = (start, max(end, self._busy[at][1] if first < at else end))
        self._busy[first + 1 : at + 1] = [merged]
        del self._busy[: -self._KEPT]
        return end


@dataclass
class Schedule:
    """A program in the making.

    Attributes:
        memory: Expected speed of the DRAM.
    """

    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.steps: list[Step] = []
        self._counts = dict.fromkeys(UNITS, 0)
        self._end = float(self.memory.latency_cycles)  # nothing starts before the first instruction is there
        self._free = dict.fromkeys(UNITS, self._end)
        self._dram = _Timeline()
        self._known: dict[tuple[Unit, Unit], int] = {}  # (waiting, waited for): latest index waited for

    def add(
        self,
        instruction: Instruction,
        *,
        after: Iterable[Step | None],
        cycles: int = 1,
        latency: int = 0,
        setup: int = 0,
        dram_bytes: int = 0,
    ) -> Step:
        """Append an instruction to its unit.

        Args:
            instruction: Without tokens.
            after: Instructions that must have ended before it starts.
            cycles: How long it keeps its unit from starting the next one, beside DRAM.
            latency: How much longer until its results are there.
            setup: How long after what it waits for it can start; its unit may still be busy with the one before.
            dram_bytes: What it moves from or to DRAM.
        """
        unit = _UNIT_OF[type(instruction)]
        step = Step(instruction, unit, self._counts[unit], dram_bytes)
        self._counts[unit] += 1
        ready = self._free[unit]
        for other in self._latest(after):
            ready = max(ready, other.end + setup)
            if other.unit is not unit and self._known.get((unit, other.unit), -1) < other.index:
                self._known[unit, other.unit] = other.index
                step.take |= other.unit
                other.give |= unit
        step.start = ready
        self._free[unit] = ready + max(1, cycles)
        if dram_bytes:
            self._move(step)
        step.end = max(step.end, self._free[unit]) + latency
        self._end = max(self._end, step.end)
        self.steps.append(step)
        return step

    @staticmethod
    def _latest(after: Iterable[Step | None]) -> list[Step]:
        latest: dict[Unit, Step] = {}
        for other in after:
            if other is not None and (other.unit not in latest or latest[other.unit].index < other.index):
                latest[other.unit] = other
        return list(latest.values())

    def _move(self, step: Step) -> None:
        """Let data pass. Requests run ahead of data, so that a unit waits for the DRAM's latency only once in a row."""
        length = step.dram_bytes / self.memory.bytes_per_cycle
        delay = self.memory.latency_cycles
        if step.unit is Unit.LOAD:
            step.end = self._dram.reserve(step.start + delay, length)
            self._free[step.unit] = max(self._free[step.unit], step.end - delay)
        else:
            sent = self._dram.reserve(step.start, length)
            self._free[step.unit] = max(self._free[step.unit], sent)
            step.end = sent + delay

    @property
    def cycles(self) -> float:
        """Return when everything has ended, expected."""
        return self._end

    def program(self, count: int | None = None) -> list[Instruction]:
        """Return the instructions in the order in which they are expected to start, with their tokens.

        Args:
            count: Of the steps, as they were added: a beginning waits for nothing that comes later, so it is a program,
                too. All of them if left out.
        """
        ordered = sorted(self.steps[:count], key=lambda step: step.start)
        return [*(replace(step.instruction, take=step.take, give=step.give) for step in ordered), Halt()]


@dataclass(eq=False)
class Region:
    """A stretch of a buffer.

    Attributes:
        start: First granule.
        size: In granules.
        writers: Instructions that fill it.
        readers: Instructions that read it.
    """

    start: int
    size: int
    writers: list[Step] = field(default_factory=list)
    readers: list[Step] = field(default_factory=list)


class Ring:
    """A buffer given out round and round; what lies in it is found again until it is overwritten.

    Args:
        size: In granules; the core's addresses wrap there, so a region may lie across the end.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._head = 0
        self._held: dict[Hashable, Region] = {}  # in the order of the ring, the one after the head first

    def find(self, key: Hashable) -> Region | None:
        """Return the region that holds something, if it still does."""
        return self._held.get(key)

    def allocate(self, key: Hashable, size: int, *, align: int = 1) -> tuple[Region, list[Step]]:
        """Return a region, and the instructions that must have ended before it may be overwritten.

        Raises:
            ValueError: If it is larger than the buffer; tilings are chosen so that it is not.
        """
        if size > self.size:
            raise ValueError(f"{size} granules do not fit into {self.size}")
        start = -(-self._head // align) * align % self.size
        users: list[Step] = []
        for held, old in list(
            itertools.takewhile(lambda item: self._reached(item[1], start, size), self._held.items())
        ):
            del self._held[held]
            if _overlap(start, size, old, self.size):
                users += [*old.readers, *old.writers]
            else:
                self._held[held] = old  # skipped for the alignment: it is the last before the head now
        region = Region(start, size)
        self._held[key] = region
        self._head = (start + size) % self.size
        return region, users

    def _reached(self, region: Region, start: int, size: int) -> bool:
        """Return whether a region is overwritten, or begins in what is skipped before it."""
        skipped = (start - self._head) % self.size
        return _overlap(start, size, region, self.size) or (region.start - self._head) % self.size < skipped


def _overlap(start: int, size: int, other: Region, whole: int) -> bool:
    """Return whether two regions of a ring share a granule."""
    return (other.start - start) % whole < size or (start - other.start) % whole < other.size
