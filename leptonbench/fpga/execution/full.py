"""`full` mode: every layer of a network in the RTL, on real data; its bytes held against a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import MeasurementError
from leptonbench.fpga.compiler import CompiledNetwork
from leptonbench.fpga.compiler.deploy import Deployment, Done
from leptonbench.fpga.execution.outcome import CoreOutcome, LayerOutcome
from leptonbench.fpga.isa import Counter
from leptonbench.fpga.lowering.execute import Arrays, Host
from leptonbench.fpga.sim.build import Progress
from leptonbench.fpga.sim.simulator import Dram, Run, Simulator


class _Core:
    """A simulated core with the memory of one board."""

    def __init__(self, simulator: Simulator, dram: Dram) -> None:
        self._simulator = simulator
        self._dram = dram

    @property
    def memory(self) -> NDArray[np.uint8]:
        """Return the DRAM."""
        return self._simulator.memory

    def run(self, program: int) -> Run:
        """Carry out the program at an address."""
        return self._simulator.run(program, dram=self._dram)


def run_full(
    compiled: CompiledNetwork,
    dram: Dram,
    feeds: Mapping[str, NDArray[Any]],
    *,
    host: Host,
    wanted: Mapping[str, NDArray[Any]],
    progress: Progress = lambda _: None,
) -> tuple[CoreOutcome, Arrays]:
    """Run one frame, and return what it took and every tensor that was made.

    Args:
        compiled: The network.
        dram: That the core sees.
        feeds: The network's inputs.
        host: Runs the host segments.
        wanted: The reference's tensors, by name: at least each layer's output.
        progress: Is told what takes time.

    Raises:
        SimulationError: If a program does not come to its end.
        PrerequisiteError: If a tool is missing.
    """
    with Simulator(compiled.core, memory_bytes=compiled.dram.size_bytes, progress=progress) as simulator:
        progress(f"simulating {len(compiled.layers)} layers on data")
        found, done = Deployment(compiled, _Core(simulator, dram)).execute(feeds, host)
    layers = [outcome for one in done for outcome in _layers(one, found, wanted)]
    runs = [one.result for one in done]
    cycles = sum(run.cycles for run in runs)
    outcome = CoreOutcome(
        core=compiled.core,
        layers=tuple(layers),
        cycles=cycles,
        programs=len(runs),
        counters={counter: float(sum(run.counters[counter] for run in runs)) for counter in Counter},
        simulated_cycles=cycles,
        cpu_s=sum(run.cpu_s for run in runs),
    )
    return outcome, found


def _layers(done: Done[Run], found: Arrays, wanted: Mapping[str, NDArray[Any]]) -> list[LayerOutcome]:
    """Return a program's layers, each from the end of the one before it to its own; the last to the program's."""
    ends = dict(done.result.stamps)
    layers, before = [], 0
    for layer in done.program.layers:
        name = layer.writes[0]
        if name not in wanted:
            raise MeasurementError(f"the reference has no tensor `{name}` to hold layer {layer.name} against")
        end = done.result.cycles if layer is done.program.layers[-1] else ends[layer.stamp]
        wrong = int(np.count_nonzero(found[name] != wanted[name]))
        layers.append(LayerOutcome.of(layer, end - before, wrong))
        before = end
    return layers
