"""A board as the simulator and the compiler see it: its core's shape, and its memory in cycles of the core's clock.

Boards are hardware profiles with a `board` part: `catalog.load_board("kv260").board`.
"""

from __future__ import annotations

import math

from leptonbench.errors import UsageError
from leptonbench.fpga.compiler.schedule import Memory
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.sim.simulator import Dram
from leptonbench.schema import Board


def core_shape(board: Board) -> CoreShape:
    """Return the parameters of one core.

    Raises:
        UsageError: If the RTL cannot be built with them; the cause names the parameter.
    """
    return CoreShape(**board.core.model_dump())


def dram(board: Board, *, active_cores: int | None = None) -> Dram:
    """Return how the memory behaves for one core while so many are active, in cycles of the core's clock.

    Cores are spread over the groups of channels evenly, and those of one group share its sustained bandwidth evenly.

    Args:
        board: With its clock.
        active_cores: From 1 to all; `None` for all.

    Raises:
        UsageError: If the board has not so many cores.
    """
    active = board.cores if active_cores is None else active_cores
    if not 1 <= active <= board.cores:
        raise UsageError(
            f"{active} cores cannot be active", cause=f"the board has {board.cores}", hint=f"1 to {board.cores}"
        )
    chips = board.dram
    groups = chips.channels // chips.channels_per_core
    sharing = math.ceil(active / groups)
    sustained_bytes_per_s = chips.peak_bytes_per_s.value * chips.efficiency.value / groups
    return Dram(
        latency_cycles=math.ceil(chips.latency_s.value * board.clock_hz.value),
        bytes_per_cycle=sustained_bytes_per_s / sharing / board.clock_hz.value,
        channels=chips.channels_per_core,
        interleave_bytes=chips.interleave_bytes,
    )


def memory(board: Board, *, active_cores: int | None = None) -> Memory:
    """Return the same memory as the compiler expects it: no faster than the core's bus.

    Raises:
        UsageError: If the board has not so many cores.
    """
    behaviour = dram(board, active_cores=active_cores)
    return Memory(
        bytes_per_cycle=min(behaviour.bytes_per_cycle, float(board.core.bus_bytes)),
        latency_cycles=behaviour.latency_cycles,
    )
