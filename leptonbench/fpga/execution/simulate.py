"""A model on a board: lowered, compiled, simulated; and what that comes to in seconds.

Seconds are cycles over the board's clock, and the host's times on this machine over the relative speed of the board's
processor. What starts a program and tells of its end is not in them: no driver is modelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.fpga import boards, ir
from leptonbench.fpga.compiler import CompiledNetwork, compile_network
from leptonbench.fpga.execution.compose import ERROR, compose
from leptonbench.fpga.execution.full import run_full
from leptonbench.fpga.execution.host import REFERENCE_THREADS, HostSessions, HostTimes, random_values
from leptonbench.fpga.execution.outcome import CoreOutcome
from leptonbench.fpga.execution.reference import every_tensor
from leptonbench.fpga.lowering import lower
from leptonbench.fpga.sim.build import Progress
from leptonbench.fpga.sim.simulator import Dram
from leptonbench.schema import Board, Fact

_NO_LENGTHS: Mapping[str, int] = MappingProxyType({})


class Mode(StrEnum):
    """How cycles are found."""

    FULL = "full"
    COMPOSED = "composed"


class Span(NamedTuple):
    """A figure with its range."""

    value: float
    low: float
    high: float

    def over(self, fact: Fact) -> Span:
        """Return it divided by a fact, at its worst at either end."""
        least, most = _ends(fact)
        return Span(self.value / fact.value, self.low / most, self.high / least)

    def plus(self, other: Span) -> Span:
        """Return the sum, with both at their worst."""
        return Span(self.value + other.value, self.low + other.low, self.high + other.high)

    def rate(self, count: int = 1) -> Span:
        """Return how many a second so many make that take this long each."""
        return Span(count / self.value, count / self.high, count / self.low)


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A network on a board.

    Attributes:
        board: The board.
        mode: How cycles were found.
        network: As it was lowered.
        alone: One frame on one core, the memory to itself.
        crowded: One frame on one core while all cores are at work and share the memory; composed in either mode, and
            `alone` where there is one core.
        host: What the board's processor does, timed here; `None` where it has none.
        dram_bytes: That programs, weights and tensors of one core take.
        repacked: Tensors that the host has to lay out anew between two layers.
    """

    board: Board
    mode: Mode
    network: ir.Network
    alone: CoreOutcome
    crowded: CoreOutcome
    host: HostTimes | None
    dram_bytes: int
    repacked: tuple[str, ...]

    @property
    def accelerator_s(self) -> Span:
        """Return the seconds of one frame on the accelerator, nothing else running on it."""
        return self._seconds(self.alone, exact=self.mode is Mode.FULL)

    @property
    def host_s(self) -> Span:
        """Return the seconds of one frame on the board's processor; 0 where it has none."""
        if self.host is None or self.board.host is None:
            return Span(0.0, 0.0, 0.0)
        spent = self.host.total_s
        return Span(spent, spent, spent).over(self.board.host.relative_speed)

    @property
    def latency_s(self) -> Span:
        """Return the seconds from a frame's arrival to its answer, when no other is in the way."""
        return self.accelerator_s.plus(self.host_s)

    @property
    def crowded_s(self) -> Span:
        """Return the seconds of one frame on the accelerator while all cores are at work."""
        exact = self.mode is Mode.FULL and self.crowded is self.alone
        return self._seconds(self.crowded, exact=exact)

    @property
    def throughput_per_s(self) -> Span:
        """Return the frames a second in the steady state: enough of them in flight to keep the slower part busy.

        A core begins a frame when it has written the one before; the host works on others meanwhile.
        """
        cores = self.crowded_s.rate(self.board.cores)
        if self.host_s.value == 0:
            return cores
        host = self.host_s.rate()
        return Span(min(cores.value, host.value), min(cores.low, host.low), min(cores.high, host.high))

    @property
    def host_bound(self) -> bool:
        """Whether the board's processor, not the accelerator, limits the throughput."""
        return self.host_s.value > 0 and self.host_s.rate().value < self.crowded_s.rate(self.board.cores).value

    def _seconds(self, outcome: CoreOutcome, *, exact: bool) -> Span:
        share = 0.0 if exact else ERROR
        cycles = Span(outcome.cycles, outcome.cycles * (1 - share), outcome.cycles * (1 + share))
        return cycles.over(self.board.clock_hz)


def simulate(
    path: Path,
    board: Board,
    *,
    mode: Mode = Mode.COMPOSED,
    lengths: Mapping[str, int] = _NO_LENGTHS,
    feeds: Mapping[str, NDArray[Any]] | None = None,
    progress: Progress = lambda _: None,
) -> Simulation:
    """Simulate one frame of an 8-bit model on a board.

    Args:
        path: Of the ONNX model, in QDQ form.
        board: The board.
        mode: Compose cycles from each distinct layer's first tiles, or run everything on data and compare its bytes.
        lengths: Value of each free dimension of the inputs, by name.
        feeds: The inputs in `full` mode, random ones if left out; they fix free dimensions, too.
        progress: Is told what takes time.

    Raises:
        UsageError: If the model cannot run on the board; it says what would help.
        SimulationError: If a program does not come to its end.
        PrerequisiteError: If a tool is missing.
    """
    fixed = lengths if feeds is None else {**free_lengths(path, feeds), **lengths}
    network = lower(path, lengths=fixed, host=board.host is not None)
    compiled = compile_for(network, board, active_cores=1)
    sessions = HostSessions(network, threads=REFERENCE_THREADS)
    if mode is Mode.FULL:
        given = _given(network, feeds)
        alone, _ = run_full(
            compiled,
            memory_of(board, active_cores=1),
            given,
            host=sessions.run,
            wanted=every_tensor(path, given),
            progress=progress,
        )
    else:
        alone = compose(compiled, memory_of(board, active_cores=1), progress=progress)
    crowded = alone
    if memory_of(board, active_cores=board.cores) != memory_of(board, active_cores=1):
        sharing = compile_for(network, board, active_cores=board.cores)
        crowded = compose(sharing, memory_of(board, active_cores=board.cores), progress=progress)
    return Simulation(
        board=board,
        mode=mode,
        network=network,
        alone=alone,
        crowded=crowded,
        host=sessions.time(compiled) if board.host is not None else None,
        dram_bytes=compiled.dram.size_bytes,
        repacked=tuple(name for name, _, _ in compiled.repacked),
    )


def free_lengths(path: Path, feeds: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Return the free dimensions of a model's inputs as given arrays have them, by name."""
    import onnx

    return {
        size.dim_param: length
        for item in onnx.load(str(path), load_external_data=False).graph.input
        if item.name in feeds
        for size, length in zip(item.type.tensor_type.shape.dim, feeds[item.name].shape, strict=True)
        if size.dim_param
    }


def memory_of(board: Board, *, active_cores: int) -> Dram:
    """Return the memory as one core sees it while so many are active: no faster than its bus."""
    dram = boards.dram(board, active_cores=active_cores)
    return replace(dram, bytes_per_cycle=min(dram.bytes_per_cycle, float(board.core.bus_bytes * dram.channels)))


def compile_for(network: ir.Network, board: Board, *, active_cores: int) -> CompiledNetwork:
    """Compile a network for a board's cores, in as few programs as the host allows.

    Raises:
        UsageError: If a layer does not fit the core, or the network not the memory.
    """
    memory = boards.memory(board, active_cores=active_cores)
    compiled = compile_network(network, boards.core_shape(board), memory, together=True)
    there = int(board.dram.capacity_bytes.value)
    if compiled.dram.size_bytes > there:
        raise UsageError(
            "the network does not fit into the board's memory",
            cause=f"programs, weights and tensors take {compiled.dram.size_bytes} bytes of {there}",
            hint="take a board with more memory, or a pruned or distilled variant",
        )
    return compiled


def _given(network: ir.Network, feeds: Mapping[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]]:
    if feeds is not None:
        return {name: feeds[name] for name in network.inputs}
    rng = np.random.default_rng(0)
    return {name: random_values(network.tensors[name], rng) for name in network.inputs}


def _ends(fact: Fact) -> tuple[float, float]:
    """Return the ends of a fact's range, which is the value alone where it has none."""
    low = fact.value if fact.low is None else fact.low
    high = fact.value if fact.high is None else fact.high
    return low, high
