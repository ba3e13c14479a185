"""Run programs on the simulated core: one process a core, kept for many jobs, with DRAM mapped into both."""

from __future__ import annotations

import mmap
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from leptonbench.errors import MeasurementError, UsageError
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import INSTRUCTION_BYTES, Counter, Unit
from leptonbench.fpga.sim.build import Progress
from leptonbench.fpga.sim.build import simulator as build_simulator

_JOB = struct.Struct("<II6IQQ")
_RESULT = struct.Struct(f"<II4Q{len(Counter)}QQ")
_STAMP = struct.Struct("<QQ")
_JOB_MAGIC, _RESULT_MAGIC = 0x31424A4C, 0x31424C52
_DONE, _HANG, _FAULT, _TOO_LONG, _OUTSIDE = range(5)
_SHARED_MEMORY = Path("/dev/shm")
_FIXED_POINT = 1024
_UNITS = ("LOAD", "EXEC", "DRAIN", "STORE")


@dataclass(frozen=True, kw_only=True)
class Dram:
    """How the memory behind the bus behaves, in core cycles.

    Attributes:
        latency_cycles: From a beat's turn in its channel to its data at the core, or to a write's acknowledgement.
        bytes_per_cycle: What this core gets of all channels together, in the long run. The bus caps it, too.
        channels: Channels that consecutive pieces of `interleave_bytes` are spread over.
        interleave_bytes: Consecutive bytes on one channel.
        read_queue: Beats of reads that may wait; another burst is taken while there are fewer.
        write_queue: Beats of writes that may wait.
    """

    latency_cycles: int = 60
    bytes_per_cycle: float = 40.0
    channels: int = 1
    interleave_bytes: int = 4096
    read_queue: int = 128
    write_queue: int = 32

    def __post_init__(self) -> None:
        names = ("latency_cycles", "bytes_per_cycle", "channels", "interleave_bytes", "read_queue", "write_queue")
        for name in names:
            if not getattr(self, name) > 0 or getattr(self, name) >= 1 << 20:
                raise UsageError(
                    "no DRAM behaves like this",
                    cause=f"`{name}` is {getattr(self, name)}",
                    hint=f"`{name}` is positive and below {1 << 20}",
                )
        if self.bytes_per_cycle * _FIXED_POINT < self.channels:
            raise UsageError("no DRAM behaves like this", cause="less than a byte a channel in 1024 cycles")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one program did.

    Attributes:
        cycles: From start until every unit was idle and every write acknowledged.
        counters: The core's counters.
        stamps: Number and cycle of each stamped STORE, in the order in which they ended.
        cpu_s: Processor time that the simulation took, seconds.
    """

    cycles: int
    counters: Mapping[Counter, int]
    stamps: tuple[tuple[int, int], ...]
    cpu_s: float


class SimulationError(MeasurementError):
    """A program that did not come to its end; `kind` is `hang`, `fault`, `too-long`, `outside` or `crash`."""

    def __init__(self, kind: str, *, cause: str, hint: str = "") -> None:
        super().__init__(f"the simulated core did not finish its program ({kind})", cause=cause, hint=hint)
        self.kind = kind


class Simulator:
    """A core with its DRAM.

    Args:
        shape: The core's parameters.
        memory_bytes: Size of the DRAM, bytes, below 4 GiB.
        progress: Is told when the simulator must be built first.

    Attributes:
        memory: The DRAM, uint8 `[memory_bytes]`: write programs and tensors into it, read results out of it.

    Raises:
        UsageError: If the memory's size is impossible.
        PrerequisiteError: If a tool is missing.
    """

    def __init__(self, shape: CoreShape, *, memory_bytes: int, progress: Progress = lambda _: None) -> None:
        if not 0 < memory_bytes < 1 << 32:
            raise UsageError("no such DRAM", cause=f"{memory_bytes} bytes", hint="addresses have 32 bits")
        self.shape = shape
        binary = build_simulator(shape, progress=progress)
        size = -(-memory_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        folder = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
        with tempfile.NamedTemporaryFile(prefix="leptonbench-dram-", dir=folder) as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
            self._process = subprocess.Popen(
                [str(binary), file.name, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self.memory: npt.NDArray[np.uint8] = np.frombuffer(self._map, dtype=np.uint8)
            self._ask(0, Dram(), watchdog_cycles=1, max_cycles=0)  # the process has mapped the file before it goes

    def run(
        self,
        program: int,
        *,
        dram: Dram | None = None,
        watchdog_cycles: int = 20_000,
        max_cycles: int = 1 << 40,
    ) -> Run:
        """Carry out the program that lies at an address of the DRAM.

        Args:
            program: Byte address, a multiple of 64.
            dram: How the DRAM behaves.
            watchdog_cycles: Cycles in which nothing moves after which the core counts as hung.
            max_cycles: Cycles after which it is stopped anyway.

        Raises:
            SimulationError: If the program does not come to its end.
            UsageError: If the address is not aligned.
        """
        if program % INSTRUCTION_BYTES:
            raise UsageError("the program is not aligned", cause=f"address {program}", hint="use a multiple of 64")
        status, state, waiting, run = self._ask(
            program, dram or Dram(), watchdog_cycles=watchdog_cycles, max_cycles=max_cycles
        )
        if status != _DONE:
            raise _failure(status, state, waiting, run.cycles)
        return run

    def close(self) -> None:
        """End the process and give the memory back; views of `memory` must not be used any more."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, program: int, dram: Dram, *, watchdog_cycles: int, max_cycles: int) -> tuple[int, int, bool, Run]:
        job = _JOB.pack(
            _JOB_MAGIC,
            program,
            dram.latency_cycles,
            round(min(dram.bytes_per_cycle, self.shape.bus_bytes * dram.channels) * _FIXED_POINT),
            dram.channels,
            dram.interleave_bytes,
            dram.read_queue,
            dram.write_queue,
            watchdog_cycles,
            max_cycles,
        )
        stdin, stdout = self._process.stdin, self._process.stdout
        try:
            if stdin is None or stdout is None:
                raise BrokenPipeError
            stdin.write(job)
            stdin.flush()
            reply = stdout.read(_RESULT.size)
        except (BrokenPipeError, ValueError):
            reply = b""
        if len(reply) != _RESULT.size or stdout is None:
            raise SimulationError("crash", cause=f"the simulator's process ended with {self._process.poll()}")
        _, status, cycles, state, waiting, cpu_ns, *counts, stamps = _RESULT.unpack(reply)
        pairs = _STAMP.iter_unpack(stdout.read(stamps * _STAMP.size))
        run = Run(
            cycles=cycles,
            counters=dict(zip(Counter, counts, strict=True)),
            stamps=tuple((number, cycle) for number, cycle in pairs),
            cpu_s=cpu_ns / 1e9,
        )
        return status, state, bool(waiting), run


def _failure(status: int, state: int, waiting: bool, cycles: int) -> SimulationError:
    """Classify what went wrong, and say what each unit waits for."""
    if status == _OUTSIDE:
        return SimulationError(
            "outside", cause=f"an address beyond the DRAM at cycle {cycles}", hint="give it more memory"
        )
    if status == _FAULT:
        kind = "a token counter overflowed" if state >> 53 & 1 else "an operation that does not exist was fetched"
        return SimulationError("fault", cause=f"{kind} at cycle {cycles}", hint="the program is wrong")
    if status == _TOO_LONG:
        return SimulationError("too-long", cause=f"stopped at cycle {cycles}; {describe(state)}")
    what = "DRAM owes data" if waiting else "no unit can go on"
    return SimulationError(
        "hang",
        cause=f"{what} at cycle {cycles}; {describe(state)}",
        hint="the program gives too few tokens, or out of order",
    )


def describe(state: int) -> str:
    """Put the core's state word into words: for each unit, whether it is idle, its queue and the tokens it lacks."""
    present, want, idle = state >> 32 & 0xFFFF, state >> 16 & 0xFFFF, state >> 48 & 0xF
    parts = []
    for unit, name in enumerate(_UNITS):
        queued = state >> 4 * unit & 0xF
        lacks = Unit((want & ~present) >> 4 * unit & 0xF) if queued else Unit.NONE
        text = f"{name} {'idle' if idle >> unit & 1 else 'busy'}, {queued} queued"
        parts.append(text + (f", lacks a token from {lacks.name}" if lacks else ""))
    parts.append("the program has ended" if state >> 55 & 1 else "fetch is not at the program's end")
    return "; ".join(parts)
