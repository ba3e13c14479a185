"""What a network took on a core: by layer, in all, and what the core counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leptonbench.fpga.compiler.bound import Bound
from leptonbench.fpga.compiler.program import CompiledLayer
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import Counter


@dataclass(frozen=True, kw_only=True)
class LayerOutcome:
    """One layer.

    Attributes:
        name: Of the layer.
        kind: Of the layer.
        cycles: From the end of the layer before it to its own end; its first loads may have run before.
        bound: Cycles that each resource needs at least.
        macs: Multiply-accumulates of the layer itself.
        read_bytes: From DRAM.
        written_bytes: To DRAM.
        tiling: How it was cut, in words.
        mismatches: Bytes that are not those of the reference; `None` where none were made.
    """

    name: str
    kind: str
    cycles: float
    bound: Bound
    macs: int
    read_bytes: int
    written_bytes: int
    tiling: str
    mismatches: int | None = None

    @classmethod
    def of(cls, layer: CompiledLayer, cycles: float, mismatches: int | None = None) -> LayerOutcome:
        """Return what there is to say of a compiled layer that took so many cycles."""
        return cls(
            name=layer.name,
            kind=layer.kind,
            cycles=cycles,
            bound=layer.bound,
            macs=layer.macs,
            read_bytes=layer.read_bytes,
            written_bytes=layer.written_bytes,
            tiling=layer.tiling,
            mismatches=mismatches,
        )

    def utilisation(self, core: CoreShape) -> float:
        """Return the share of the array's peak that the layer's own multiply-accumulates are."""
        return self.macs / core.macs_per_cycle / self.cycles if self.cycles else 0.0


@dataclass(frozen=True, kw_only=True)
class CoreOutcome:
    """A network's layers on one core, host operators apart.

    Attributes:
        core: The core's shape.
        layers: In order.
        cycles: Of all programs, each from its start to the acknowledgement of its last write.
        programs: How many times the core was started.
        counters: The core's, summed over the programs; in `composed` mode those of what was simulated, scaled.
        simulated_cycles: Cycles that the RTL went through for this.
        cpu_s: Processor time that they took, seconds; 0 where all came from the cache.
    """

    core: CoreShape
    layers: tuple[LayerOutcome, ...]
    cycles: float
    programs: int
    counters: Mapping[Counter, float]
    simulated_cycles: int
    cpu_s: float

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def utilisation(self) -> float:
        """Return the share of the array's peak, over all layers."""
        return self.macs / self.core.macs_per_cycle / self.cycles if self.cycles else 0.0

    @property
    def mismatches(self) -> int | None:
        """Return the bytes of all layers that are not the reference's; `None` where none were made."""
        counts = [layer.mismatches for layer in self.layers if layer.mismatches is not None]
        return sum(counts) if counts else None

    def binding(self) -> dict[str, float]:
        """Return the share of the cycles in layers that each resource binds, the largest first."""
        shares: dict[str, float] = {}
        for layer in self.layers:
            shares[layer.bound.binds] = shares.get(layer.bound.binds, 0.0) + layer.cycles
        total = sum(shares.values()) or 1.0
        return {name: shares[name] / total for name in sorted(shares, key=lambda one: -shares[one])}
