"""The core's buffers while a program is written: what lies where, who uses it, and what must wait for whom."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from leptonbench.fpga.compiler.bound import exec_cycles
from leptonbench.fpga.compiler.schedule import Memory, Region, Ring, Schedule, Step
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import Drain, Exec, Load, Store, Target

_FILL_CYCLES = 12  # from the last vector into the array to the accumulator, beside its rows and columns
_DRAIN_CYCLES = 24  # length of the drain's pipeline
_LONGEST = 0xFFFF  # granules of a row, a field of 16 bits
_AHEAD = 32  # regions that a unit fills before the first of them is read: a counter holds no more than 63 tokens


@dataclass(eq=False)
class Tile:
    """Accumulator words being filled.

    Attributes:
        half: Of the accumulator.
        words: How many.
        freed_by: What must have ended before they may be overwritten.
        execs: What fills them.
    """

    half: int
    words: int
    freed_by: Step | None
    execs: list[Step] = field(default_factory=list)


@dataclass(frozen=True)
class Fetch:
    """Granules to be copied from DRAM: `z` planes of `y` rows of `granules`, with the distances in bytes.

    In the buffer they lie one after the other.
    """

    dram: int
    granules: int
    y: int = 1
    z: int = 1
    dram_y: int = 0
    dram_z: int = 0

    @property
    def total(self) -> int:
        """Return the granules of all planes and rows."""
        return self.granules * self.y * self.z


class Emitter:
    """Writes instructions for one core.

    Args:
        core: The core's shape.
        memory: Expected speed of its DRAM.
    """

    def __init__(self, core: CoreShape, memory: Memory) -> None:
        self.core = core
        self.schedule = Schedule(memory)
        self._rings = {
            Target.INPUT: Ring(core.input_granules),
            Target.WEIGHT: Ring(core.weight_granules),
            Target.PARAM: Ring(core.param_granules),
            Target.TABLE: Ring(-(-256 // core.rows)),
        }
        self._output = Ring(core.output_granules)
        self._drained: list[Step | None] = [None, None]
        self._half = 0
        self._written: dict[str, Step] = {}
        self._filled: deque[Region] = deque(maxlen=_AHEAD)
        self._drained_to: deque[Region] = deque(maxlen=_AHEAD)

    def fill(
        self, target: Target, key: Hashable, fetches: Sequence[Fetch], *, source: Sequence[str] = (), align: int = 1
    ) -> Region:
        """Return where something lies in a buffer, loading it unless it is still there.

        Args:
            target: The buffer.
            key: What identifies it in that buffer.
            fetches: Where it comes from; the parts lie one after the other.
            source: Tensors that earlier instructions of this program may have written.
            align: Of its first granule.
        """
        ring = self._rings[target]
        found = ring.find(key)
        if found is not None:
            return found
        region, after = ring.allocate(key, sum(fetch.total for fetch in fetches), align=align)
        after += [*_first_reader(self._filled), *(self._written[name] for name in source if name in self._written)]
        at = region.start
        for fetch in fetches:
            for piece in _pieces(fetch, self.core.rows):
                load = _load(piece, target, at)
                moved = piece.total * self.core.rows
                region.writers.append(self.schedule.add(load, after=after, cycles=piece.y * piece.z, dram_bytes=moved))
                at = (at + piece.total) % ring.size
        self._filled.append(region)
        return region

    def open(self, words: int) -> Tile:
        """Return accumulator words, in the half that is next."""
        half, self._half = self._half, 1 - self._half
        return Tile(half, words, self._drained[half])

    def execute(self, tile: Tile, instruction: Exec, uses: Iterable[Region]) -> None:
        """Append an EXEC into a tile."""
        regions = list(uses)
        after = [step for region in regions for step in region.writers]
        vectors, weights = exec_cycles(self.core, instruction)
        # The first block's weights are loaded while the instruction before is at work, as others' are during this one.
        step = self.schedule.add(
            instruction,
            after=(*after, tile.freed_by),
            cycles=max(vectors, weights),
            latency=self.core.rows + self.core.cols + _FILL_CYCLES,
            setup=self.core.rows,
        )
        for region in regions:
            region.readers.append(step)
        tile.execs.append(step)

    def drain(self, tile: Tile, instruction: Drain, params: Region | None) -> Region:
        """Append a DRAIN of a tile, and return where in the output buffer it puts the bytes.

        `instruction` lacks half, count and destination.
        """
        region, after = self._output.allocate(object(), tile.words)
        filled = params.writers if params is not None else []
        after += _first_reader(self._drained_to)
        placed = replace(instruction, half=tile.half, count=tile.words, dst=region.start)
        after += [*tile.execs[-1:], *filled]
        cycles = tile.words + (self.core.param_block_granules if params is not None else 0)
        step = self.schedule.add(placed, after=after, cycles=cycles, latency=_DRAIN_CYCLES)
        if params is not None:
            params.readers.append(step)
        region.writers.append(step)
        self._drained[tile.half] = step
        self._drained_to.append(region)
        return region

    def store(self, region: Region, part: int, to: Fetch, *, tensor: str) -> None:
        """Append a STORE of a slice of a region, whose rows follow one another.

        Args:
            region: In the output buffer.
            part: Slice.
            to: Where to, in the shape of a fetch.
            tensor: That is written.
        """
        store = Store(
            slice=part,
            dram=to.dram,
            granules=to.granules,
            y_count=to.y,
            z_count=to.z,
            dram_y=to.dram_y,
            dram_z=to.dram_z,
            src=region.start,
            src_y=to.granules,
            src_z=to.granules * to.y,
        )
        step = self.schedule.add(store, after=region.writers, cycles=to.total, dram_bytes=to.total * self.core.rows)
        region.readers.append(step)
        self._written[tensor] = step

    def stamp(self, tensor: str, number: int) -> None:
        """Let the last STORE of a tensor be noted by the simulator under a number."""
        step = self._written[tensor]
        if isinstance(step.instruction, Store):
            step.instruction = replace(step.instruction, stamp=number)


def _load(fetch: Fetch, target: Target, at: int) -> Load:
    """Return the LOAD of a fetch to a granule of a buffer."""
    return Load(
        target=target,
        dst=at,
        dram=fetch.dram,
        granules=fetch.granules,
        y_count=fetch.y,
        z_count=fetch.z,
        dram_y=fetch.dram_y,
        dram_z=fetch.dram_z,
        dst_y=fetch.granules if fetch.y > 1 else 0,
        dst_z=fetch.granules * fetch.y if fetch.z > 1 else 0,
    )


def _pieces(fetch: Fetch, rows: int) -> list[Fetch]:
    """Return a fetch in parts whose rows are not too long for an instruction; only a single row can be."""
    if fetch.granules <= _LONGEST:
        return [fetch]
    starts = range(0, fetch.granules, _LONGEST)
    return [Fetch(fetch.dram + start * rows, min(_LONGEST, fetch.granules - start)) for start in starts]


def _first_reader(regions: deque[Region]) -> list[Step]:
    """Return who reads the oldest of as many regions as a unit may be ahead."""
    return regions[0].readers[:1] if len(regions) == regions.maxlen else []


Choice = TypeVar("Choice")


def fastest(
    core: CoreShape, memory: Memory, choices: Sequence[Choice], emit: Callable[[Emitter, Choice], object]
) -> Choice:
    """Return the choice with which a layer is expected to end first; the first of equals."""
    if len(choices) == 1:
        return choices[0]

    def expected(choice: Choice) -> float:
        emitter = Emitter(core, memory)
        emit(emitter, choice)
        return emitter.schedule.cycles

    return min(choices, key=expected)
