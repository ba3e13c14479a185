"""From a lowered network to programs: places in DRAM, tilings, instructions, and what each layer could take at best."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from leptonbench.fpga import ir
from leptonbench.fpga.compiler.bound import bound_of, traffic
from leptonbench.fpga.compiler.emitter import Emitter
from leptonbench.fpga.compiler.layers import Preparation, Prepared
from leptonbench.fpga.compiler.program import CompiledLayer, DramMap, Placement, Program
from leptonbench.fpga.compiler.schedule import Memory
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import encode_program


@dataclass(frozen=True, kw_only=True)
class CompiledNetwork:
    """A network's programs.

    Attributes:
        network: That was compiled.
        core: That it was compiled for.
        memory: The speed of its DRAM that was expected.
        programs: In order.
        dram: Where tensors, weights, parameters and programs lie.
        repacked: Tensors that a layer writes and another reads in another layout; the host has to rewrite them.
        chosen: How layers were cut, by shape.
    """

    network: ir.Network
    core: CoreShape
    memory: Memory
    programs: tuple[Program, ...]
    dram: DramMap
    repacked: tuple[tuple[str, Placement, Placement], ...]
    chosen: dict[Hashable, Any] = field(repr=False, compare=False)

    @property
    def layers(self) -> tuple[CompiledLayer, ...]:
        """Return the layers of all programs, in order."""
        return tuple(layer for program in self.programs for layer in program.layers)


def compile_network(
    network: ir.Network, core: CoreShape, memory: Memory | None = None, *, together: bool = False
) -> CompiledNetwork:
    """Compile a network.

    Args:
        network: Lowered.
        core: To compile for.
        memory: Expected speed of the DRAM, by which tilings are chosen.
        together: Put all layers between two host segments into one program, in which a layer's first loads run while
            the one before it ends; otherwise each layer is a program of its own.

    Raises:
        UsageError: If a layer does not fit the core; it names the layer and the buffer.
    """
    memory = memory or Memory()
    dram = DramMap()
    preparation = Preparation(core, network.tensors, frozenset(layer.y for layer in network.layers), dram)
    prepared = {layer.y: preparation.prepare(layer) for layer in network.layers}
    written = {name: ready.writes[1] for name, ready in prepared.items()}
    repacked = tuple(
        (name, written[name], place)
        for ready in prepared.values()
        for name, place in ready.reads
        if written.get(name, place) != place
    )
    stretches = _stretches(network, prepared) if together else ([layer] for layer in network.layers)
    compiler = _Compiler(network, core, memory, dram=dram, chosen={})
    programs = tuple(compiler.program([(layer, prepared[layer.y]) for layer in stretch]) for stretch in stretches)
    return CompiledNetwork(
        network=network,
        core=core,
        memory=memory,
        programs=programs,
        dram=dram,
        repacked=repacked,
        chosen=compiler.chosen,
    )


def compile_shapes(compiled: CompiledNetwork) -> Iterator[tuple[Program, DramMap]]:
    """Yield the program of the first layer of each distinct shape, alone, in a DRAM of its own.

    Equal layers have equal programs then, wherever they lie in a network; each is cut as the network's are.
    """
    network, core = compiled.network, compiled.core
    produced = frozenset(layer.y for layer in network.layers)
    seen: set[Hashable] = set()
    for layer in network.layers:
        dram = DramMap()
        preparation = Preparation(core, network.tensors, produced, dram)
        shape = preparation.shape(layer)
        if shape not in seen:
            seen.add(shape)
            compiler = _Compiler(network, core, compiled.memory, dram=dram, chosen=compiled.chosen)
            yield compiler.program([(layer, preparation.prepare(layer))]), dram


def _stretches(network: ir.Network, prepared: dict[str, Prepared]) -> Iterator[list[ir.Layer]]:
    """Yield the layers between host segments, cut also where the host has to rewrite a tensor."""
    stretch: dict[str, ir.Layer] = {}
    for step in network.steps:
        cut = isinstance(step, ir.HostSegment)
        if not isinstance(step, ir.HostSegment):
            reads = prepared[step.y].reads
            cut = any(name in stretch and prepared[name].writes[1] != place for name, place in reads)
        if cut and stretch:
            yield list(stretch.values())
            stretch = {}
        if not isinstance(step, ir.HostSegment):
            stretch[step.y] = step
    if stretch:
        yield list(stretch.values())


class _Compiler:
    """Writes the programs of a network, and chooses the cut of layers of one shape once."""

    def __init__(
        self, network: ir.Network, core: CoreShape, memory: Memory, *, dram: DramMap, chosen: dict[Hashable, Any]
    ) -> None:
        self.network = network
        self.core = core
        self.memory = memory
        self.dram = dram
        self.chosen = chosen

    def program(self, stretch: list[tuple[ir.Layer, Prepared]]) -> Program:
        """Return one program for layers that follow one another."""
        emitter = Emitter(self.core, self.memory)
        layers = tuple(
            self._layer(emitter, layer, prepared, number) for number, (layer, prepared) in enumerate(stretch, start=1)
        )
        instructions = tuple(emitter.schedule.program())
        return Program(
            layers=layers,
            instructions=instructions,
            address=self.dram.keep(encode_program(instructions)),
            expected_cycles=emitter.schedule.cycles,
            schedule=emitter.schedule,
        )

    def _layer(self, emitter: Emitter, layer: ir.Layer, prepared: Prepared, number: int) -> CompiledLayer:
        first = len(emitter.schedule.steps)
        tiling = prepared.emit(emitter, self.memory, self.chosen)
        steps = emitter.schedule.steps[first:]
        emitter.stamp(layer.y, number)
        places = {place: None for _, place in (*prepared.reads, prepared.writes)}
        least = prepared.constant_bytes + sum(place.size_bytes for place in places)
        read, written = traffic(steps)
        return CompiledLayer(
            name=layer.name,
            kind=type(layer).__name__,
            reads=prepared.reads,
            writes=prepared.writes,
            macs=self.network.macs(layer),
            bound=bound_of(self.core, self.memory, steps, least),
            expected_end=max(step.end for step in steps),
            read_bytes=read,
            written_bytes=written,
            tiling=tiling,
            stamp=number,
            shape=prepared.shape,
        )
