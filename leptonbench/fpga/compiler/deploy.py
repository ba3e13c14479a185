"""A compiled network in a core's DRAM: put there, run program by program, read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.fpga import ir
from leptonbench.fpga.compiler import CompiledNetwork
from leptonbench.fpga.compiler.program import Placement, Program
from leptonbench.fpga.lowering.execute import Arrays, Host

Result = TypeVar("Result", covariant=True)


class Core(Protocol[Result]):
    """What runs programs: the simulator, or anything else with a DRAM."""

    @property
    def memory(self) -> NDArray[np.uint8]:
        """Return the DRAM."""

    def run(self, program: int) -> Result:
        """Run the program at an address and return what there is to say of it."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A program that was run.

    Attributes:
        program: Which.
        result: What the core said.
    """

    program: Program
    result: Result


class Deployment(Generic[Result]):
    """A network's constants and programs in the DRAM of a core.

    Args:
        compiled: The network.
        core: With at least `compiled.dram.size_bytes` of DRAM.

    Raises:
        UsageError: If the DRAM is too small.
    """

    def __init__(self, compiled: CompiledNetwork, core: Core[Result]) -> None:
        self.compiled = compiled
        self.core = core
        if len(core.memory) < compiled.dram.size_bytes:
            raise UsageError(
                "the network does not fit into the DRAM",
                cause=f"it takes {compiled.dram.size_bytes} bytes of {len(core.memory)}",
                hint="give the simulated core more memory",
            )
        for address, data in compiled.dram.constants:
            self._write(address, data)

    def execute(self, feeds: Mapping[str, NDArray[Any]], host: Host) -> tuple[Arrays, list[Done[Result]]]:
        """Run the network and return every tensor that leaves a program or the host, and what the core said of each.

        Args:
            feeds: The network's inputs.
            host: Runs what the accelerator does not.
        """
        tensors: Arrays = dict(feeds)
        done: list[Done[Result]] = []
        for step in self._steps():
            if isinstance(step, ir.HostSegment):
                tensors |= host(step, {name: tensors[name] for name in step.inputs})
            else:
                result, made = self.run(step, tensors)
                tensors |= made
                done.append(Done(step, result))
        return tensors, done

    def run(self, program: Program, tensors: Mapping[str, NDArray[Any]]) -> tuple[Result, Arrays]:
        """Run one program and return what the core said, and what the program's layers made.

        Args:
            program: Of the network.
            tensors: At least those that the program reads.
        """
        known = self.compiled.network.tensors
        for name, place in program.reads:
            self._write(place.address, place.pack(tensors[name], known[name]))
        result = self.core.run(program.address)
        return result, {layer.writes[0]: self._read(*layer.writes) for layer in program.layers}

    def _steps(self) -> Iterator[ir.HostSegment | Program]:
        """Yield host segments, and each program in the place of its first layer."""
        first = {program.layers[0].writes[0]: program for program in self.compiled.programs}
        for step in self.compiled.network.steps:
            if isinstance(step, ir.HostSegment):
                yield step
            elif step.y in first:
                yield first[step.y]

    def _write(self, address: int, data: bytes) -> None:
        self.core.memory[address : address + len(data)] = np.frombuffer(data, dtype=np.uint8)

    def _read(self, name: str, place: Placement) -> NDArray[Any]:
        data = self.core.memory[place.address : place.address + place.size_bytes].tobytes()
        return place.layout.unpack(data, self.compiled.network.tensors[name])
