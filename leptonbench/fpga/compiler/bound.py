"""How fast a layer could be at best: the cycles that each resource needs for it, if nothing else took any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from leptonbench.fpga.compiler.schedule import Memory, Step
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import Drain, Exec, ExecMode, Unit


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Cycles of a layer by resource; none can be less than its share.

    Attributes:
        array: One vector a cycle through the array or its lanes.
        weights: One row of weights a cycle into the array.
        drain: One accumulator word a cycle.
        dram: Bytes read and written, each input, weight and output once.
    """

    array: float
    weights: float
    drain: float
    dram: float

    @property
    def cycles(self) -> float:
        """Return the cycles that no schedule can be below."""
        return max(self.array, self.weights, self.drain, self.dram)

    @property
    def binds(self) -> str:
        """Return the resource that needs most."""
        return max((item.name for item in fields(self)), key=lambda name: float(getattr(self, name)))


def exec_cycles(core: CoreShape, instruction: Exec) -> tuple[int, int]:
    """Return the cycles of an EXEC that its vectors and that its weights take."""
    blocks = instruction.c_count * instruction.ky_count * instruction.kx_count
    vectors = blocks * instruction.oy_count * instruction.ox_count
    rows = {ExecMode.ARRAY: core.rows, ExecMode.LANES: core.rows}.get(instruction.mode, 0)
    if instruction.transposed:
        rows = core.cols
    return vectors, blocks * rows


def bound_of(core: CoreShape, memory: Memory, steps: Iterable[Step], least_bytes: int) -> Bound:
    """Return the bound of a layer.

    Args:
        core: That runs it.
        memory: Speed of the DRAM.
        steps: The layer's instructions, for the vectors and words that its shape takes.
        least_bytes: Each input, weight, parameter and output of the layer, moved once.
    """
    vectors = weights = words = 0
    for step in steps:
        if isinstance(step.instruction, Exec):
            more, rows = exec_cycles(core, step.instruction)
            vectors, weights = vectors + more, weights + rows
        elif isinstance(step.instruction, Drain):
            words += step.instruction.count
    return Bound(array=vectors, weights=weights, drain=words, dram=least_bytes / memory.bytes_per_cycle)


def traffic(steps: Iterable[Step]) -> tuple[int, int]:
    """Return the bytes that a schedule reads from and writes to DRAM, instructions apart."""
    read = written = 0
    for step in steps:
        if step.unit is Unit.LOAD:
            read += step.dram_bytes
        elif step.unit is Unit.STORE:
            written += step.dram_bytes
    return read, written
