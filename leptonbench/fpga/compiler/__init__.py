"""From a lowered network to programs: places in DRAM, tilings, instructions, and what each layer could take at best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leptonbench.fpga import ir
from leptonbench.fpga.compiler.bound import bound_of, traffic
from leptonbench.fpga.compiler.emitter import Emitter
from leptonbench.fpga.compiler.layers import Preparation, Prepared
from leptonbench.fpga.compiler.program import CompiledLayer, DramMap, Placement
from leptonbench.fpga.compiler.schedule import Memory
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import Instruction


@dataclass(frozen=True, kw_only=True)
class CompiledNetwork:
    """A network's programs.

    Attributes:
        network: That was compiled.
        core: That it was compiled for.
        layers: One for each of the network's layers, in order.
        dram: Where tensors, weights and parameters lie.
        repacked: Tensors that a layer writes and another reads in another layout; the host has to rewrite them.
    """

    network: ir.Network
    core: CoreShape
    layers: tuple[CompiledLayer, ...]
    dram: DramMap
    repacked: tuple[tuple[str, Placement, Placement], ...]


def compile_network(network: ir.Network, core: CoreShape, memory: Memory | None = None) -> CompiledNetwork:
    """Compile each layer into a program of its own.

    Args:
        network: Lowered.
        core: To compile for.
        memory: Expected speed of the DRAM, by which tilings are chosen.

    Raises:
        UsageError: If a layer does not fit the core; it names the layer and the buffer.
    """
    memory = memory or Memory()
    dram = DramMap()
    preparation = Preparation(core, network.tensors, frozenset(layer.y for layer in network.layers), dram)
    layers = []
    written: dict[str, Placement] = {}
    repacked = []
    for layer in network.layers:
        prepared = preparation.prepare(layer)
        layers.append(_compile(network, layer, prepared, core, memory))
        for name, place in prepared.reads:
            if name in written and written[name] != place:
                repacked.append((name, written[name], place))
        written[layer.y] = prepared.writes[1]
    return CompiledNetwork(network=network, core=core, layers=tuple(layers), dram=dram, repacked=tuple(repacked))


def compile_together(
    network: ir.Network, layers: Sequence[ir.Layer], core: CoreShape, memory: Memory | None = None
) -> tuple[tuple[Instruction, ...], DramMap, float]:
    """Compile several layers into one program, each of which starts while the one before it ends.

    Args:
        network: That the layers are part of.
        layers: In order; what one reads, an earlier one has written in the same layout or the host has.
        core: To compile for.
        memory: Expected speed of the DRAM.

    Returns:
        The instructions, where everything lies in DRAM, and the expected cycles.
    """
    memory = memory or Memory()
    dram = DramMap()
    preparation = Preparation(core, network.tensors, frozenset(layer.y for layer in layers), dram)
    emitter = Emitter(core, memory)
    for layer in layers:
        preparation.prepare(layer).emit(emitter, memory)
    return tuple(emitter.schedule.program()), dram, emitter.schedule.cycles


def _compile(
    network: ir.Network, layer: ir.Layer, prepared: Prepared, core: CoreShape, memory: Memory
) -> CompiledLayer:
    emitter = Emitter(core, memory)
    tiling = prepared.emit(emitter, memory)
    steps = emitter.schedule.steps
    tensors = [place for _, place in prepared.reads] + [prepared.writes[1]]
    least = prepared.constant_bytes + sum(place.size_bytes for place in tensors)
    read, written = traffic(steps)
    return CompiledLayer(
        name=layer.name,
        kind=type(layer).__name__,
        instructions=tuple(emitter.schedule.program()),
        reads=prepared.reads,
        writes=prepared.writes,
        macs=network.macs(layer),
        bound=bound_of(core, memory, steps, least),
        expected_cycles=emitter.schedule.cycles,
        read_bytes=read,
        written_bytes=written,
        tiling=tiling,
    )
