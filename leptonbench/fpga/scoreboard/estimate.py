"""How long a network takes on an array of any shape: the compiler's schedule of each layer, without its weights.

The schedule is the one whose expected cycles the compiler's own programs are held against in RTL. It is kept on disk by
layer, array, memory and the compiler's sources, as most networks repeat their layers.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from leptonbench.atomic import make_folder, write_atomically
from leptonbench.fpga import ir, isa
from leptonbench.fpga.compiler import layers
from leptonbench.fpga.compiler.bound import traffic
from leptonbench.fpga.compiler.emitter import Emitter
from leptonbench.fpga.compiler.layers import Preparation
from leptonbench.fpga.compiler.program import DramMap
from leptonbench.fpga.compiler.schedule import Memory
from leptonbench.fpga.compiler.weights import reaches
from leptonbench.fpga.core import CoreShape
from leptonbench.paths import cache_dir

_PARAMETER_GRANULES = 512


@dataclass(frozen=True, kw_only=True)
class ArrayShape:
    """A multiply-accumulate array that takes several pixels at once.

    It is scheduled as our array of its channels, which takes one pixel a cycle, at so many times its clock: the same
    products, bytes and instructions in the same seconds.

    Attributes:
        pixels: Output pixels that it makes at once.
        lane_pixels: The same for what is not a matrix product: depthwise convolution, pooling, addition.
        rows: Input channels that it takes at once; any number.
        cols: Output channels that it makes at once; a multiple of `rows`.
        on_chip_bytes: Block RAM of the core.
        row_wise: Whether pixels made at once are neighbours in one row, so that the last ones of a row may be fewer.
    """

    pixels: float
    lane_pixels: float
    rows: int
    cols: int
    on_chip_bytes: int
    row_wise: bool

    @property
    def macs_per_cycle(self) -> float:
        """Return the peak, multiply-accumulates a cycle."""
        return self.pixels * self.rows * self.cols

    def pixels_a_cycle(self, layer: ir.Layer, width: int) -> float:
        """Return how many pixels are made in a cycle on average, in output rows of a width."""
        most = self.pixels if isinstance(layer, ir.Convolution) and not layer.depthwise else self.lane_pixels
        return width / math.ceil(width / most) if self.row_wise else most

    def core(self) -> CoreShape:
        """Return our core of these channels, its buffers as large as the block RAM allows.

        The split between them is assumed: three eighths each for input and weights, an eighth for both halves of the
        accumulator, an eighth for outputs.
        """
        granules = self.on_chip_bytes // 8 // self.rows
        return _AnyShape(
            rows=self.rows,
            cols=self.cols,
            input_granules=min(3 * granules, 1 << 16),
            weight_granules=min(3 * granules, 1 << 16),
            acc_words=max(64, self.on_chip_bytes // 8 // (2 * 4 * self.cols)),
            output_granules=min(max(64, granules * self.rows // self.cols), 1 << 16),
            param_granules=_PARAMETER_GRANULES,
        )


class _AnyShape(CoreShape):
    """A core that is only scheduled, never built: its numbers need not be powers of two."""

    def __post_init__(self) -> None:
        """Check nothing: what the RTL needs, a schedule does not."""


@dataclass(frozen=True, kw_only=True)
class Supply:
    """What DRAM gives one core.

    Attributes:
        bytes_per_s: Sustained.
        latency_s: From a request to its data.
    """

    bytes_per_s: float
    latency_s: float


class LayerEstimate(TypedDict):
    """What one layer takes: cycles of the scheduled core, and bytes from and to DRAM."""

    cycles: float
    read_bytes: int
    written_bytes: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one image of a network takes on one core.

    Attributes:
        seconds: One layer after the other.
        dram_bytes: Read and written.
        macs: Multiply-accumulates.
    """

    seconds: float
    dram_bytes: int
    macs: int


class _Outline(Preparation):
    """Gives layers their places, and leaves their weights out."""

    def _blocks(self, layer: ir.Convolution, *, packs: bool) -> list[bytes]:
        _, inputs, height, width = layer.weights.shape
        block = self.core.rows * self.core.cols
        if packs:
            size = height * -(-width * inputs // self.core.rows) * block
            return [bytes(size)] * -(-layer.weights.shape[0] // self.core.cols)
        return [bytes(count * height * width * block) for _, count in reaches(layer, self.core)]

    def _taps(self, layer: ir.Convolution) -> bytes:
        channels, _, height, width = layer.weights.shape
        taps = -(-height * width // self.core.slices) * self.core.slices
        return bytes(-(-channels // self.core.rows) * taps * self.core.rows)


class Estimator:
    """Estimates networks on one array at one clock, and keeps the layers' schedules.

    Args:
        array: Of the core.
        clock_hz: Of the core.
        keep: Whether schedules are read from and written to the cache folder.
    """

    def __init__(self, array: ArrayShape, clock_hz: float, *, keep: bool = True) -> None:
        self.array = array
        self.clock_hz = clock_hz
        self._core = array.core()
        self._keep = keep
        self._kept: dict[Path, dict[str, LayerEstimate]] = {}
        self._unsaved: set[Path] = set()

    def network(self, network: ir.Network, supply: Supply, progress: Callable[[], None] | None = None) -> Estimate:
        """Return what one image takes while one core has so much of the DRAM.

        Args:
            network: Whose layers run one after the other.
            supply: What the DRAM gives this core.
            progress: Is called once if a layer has to be scheduled.

        Raises:
            UsageError: If a layer does not fit the buffers.
        """
        produced = frozenset(network.tensors) - {*network.inputs}
        seconds, moved = 0.0, 0
        told = functools.cache(progress or (lambda: None))
        for layer in network.layers:
            width = network.tensors[layer.y].image[2]
            clock_hz = self.clock_hz * self.array.pixels_a_cycle(layer, width)
            found = self._layer(network, layer, _memory(supply, clock_hz), produced, told)
            seconds += found["cycles"] / clock_hz
            moved += found["read_bytes"] + found["written_bytes"]
        macs = sum(network.macs(layer) for layer in network.layers)
        return Estimate(seconds=seconds, dram_bytes=moved, macs=macs)

    def _layer(
        self,
        network: ir.Network,
        layer: ir.Layer,
        memory: Memory,
        produced: frozenset[str],
        told: Callable[[], None],
    ) -> LayerEstimate:
        outline = _Outline(self._core, network.tensors, produced, DramMap())
        shape = repr(outline.shape(layer))
        path = self._read(memory)
        kept = self._kept[path]
        if shape not in kept:
            told()
            kept[shape] = _schedule(outline, layer, memory)
            self._unsaved.add(path)
        return kept[shape]

    def _read(self, memory: Memory) -> Path:
        """Read the schedules known for a memory, and return where they are; a file that is not whole counts as none."""
        key = json.dumps([self._core.parameters(), memory.bytes_per_cycle, memory.latency_cycles, _sources()])
        path = cache_dir() / "fpga-schedules" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
        if path not in self._kept:
            self._kept[path] = {}
            if self._keep and path.is_file():
                try:
                    self._kept[path] = json.loads(path.read_text(encoding="utf-8"))
                except ValueError:
                    path.unlink()
        return path

    def save(self) -> None:
        """Write the schedules that were made since the last time to the cache folder."""
        if not self._keep:
            return
        for path in sorted(self._unsaved):
            make_folder(path.parent)
            write_atomically(path, json.dumps(self._kept[path]).encode())
        self._unsaved.clear()


def _memory(supply: Supply, clock_hz: float) -> Memory:
    """Return the supply in cycles of a clock, its latency as a power of two: it is not known better.

    So clocks that differ little have schedules in common.
    """
    return Memory(
        bytes_per_cycle=float(f"{supply.bytes_per_s / clock_hz:.6g}"),
        latency_cycles=1 << max(0, round(math.log2(supply.latency_s * clock_hz))),
    )


def _schedule(outline: Preparation, layer: ir.Layer, memory: Memory) -> LayerEstimate:
    prepared = outline.prepare(layer)
    writing = Emitter(outline.core, memory)
    prepared.emit(writing, memory, {})
    read, written = traffic(writing.schedule.steps)
    return {"cycles": writing.schedule.cycles, "read_bytes": read, "written_bytes": written}


@functools.cache
def _sources() -> str:
    """Return a digest of everything that a schedule follows from."""
    folder = Path(layers.__file__).parent
    files = sorted({*folder.glob("*.py"), Path(__file__), Path(isa.__file__), Path(ir.__file__)})
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
