"""Convolutions and products with constant weights on the array: search for a tiling, and its instructions."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from leptonbench.errors import UsageError
from leptonbench.fpga.compiler.emitter import Emitter, Fetch
from leptonbench.fpga.compiler.geometry import Area, Source, areas, store_to
from leptonbench.fpga.compiler.layout import Blocked
from leptonbench.fpga.compiler.program import Placement
from leptonbench.fpga.compiler.schedule import Memory, Region
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import Drain, Exec, ExecMode, Target
from leptonbench.fpga.numerics import limits

_PROMISING = 6  # tilings by the bound that are scheduled to see which is best


@dataclass(frozen=True, kw_only=True)
class Coding:
    """Zero points and signs of a layer's operands and output."""

    a_zero: int
    a_signed: bool
    w_zero: int
    w_signed: bool
    y_zero: int
    y_dtype: str

    def exec_fields(self) -> dict[str, Any]:
        """Return the fields of an EXEC."""
        return {
            "a_zero": self.a_zero,
            "a_signed": self.a_signed,
            "w_zero": self.w_zero,
            "w_signed": self.w_signed,
        }

    def drain(self, params: int) -> Drain:
        """Return a requantisation with parameters at a granule."""
        low, high = limits(self.y_dtype)
        return Drain(params=params, zero=self.y_zero, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the array has to do for a layer.

    Attributes:
        name: Of the layer.
        source: Its input.
        x: Name of the input tensor.
        y: Name of the output tensor.
        target: Where the output lies.
        coding: Zero points and signs.
        reach: For each block of output channels, the first channel block that it reads and how many.
        weights: Address of the weights of each block of output channels.
        params: Address of bias and scale, a block of output channels after the other.
    """

    name: str
    source: Source
    x: str
    y: str
    target: Placement
    coding: Coding
    reach: tuple[tuple[int, int], ...]
    weights: tuple[int, ...]
    params: int

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width of the output."""
        return self.target.layout.image[1:]

    @property
    def taps(self) -> int:
        """Return the blocks of one channel block."""
        return self.source.taps[0] * self.source.taps[1]

    def choices(self, core: CoreShape, memory: Memory) -> list[Tiling]:
        """Return the tilings with the best bounds."""
        return tilings(core, memory, self)[:_PROMISING]

    def emit(self, emitter: Emitter, choice: Tiling) -> str:
        """Append the instructions and return how the layer was cut."""
        emit(emitter, self, choice)
        return str(choice)


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How the work is cut.

    Attributes:
        tile: Rows and columns of outputs.
        depth: Channel blocks of the input taken together.
        weights_outside: Whether all tiles of the image follow one another for a block of output channels, rather than
            all blocks of output channels for a tile.
    """

    tile: tuple[int, int]
    depth: int
    weights_outside: bool

    def __str__(self) -> str:
        order = "image inside" if self.weights_outside else "channels inside"
        return f"{self.tile[0]} x {self.tile[1]} outputs, {self.depth} channel blocks, {order}"


def tilings(core: CoreShape, memory: Memory, work: Work) -> list[Tiling]:
    """Return the tilings that fit into the buffers, the most promising first.

    Raises:
        UsageError: If there is none; it says which buffer is too small.
    """
    deepest = max(count for _, count in work.reach)
    depths = sorted({-(-deepest // parts) for parts in (1, 2, 4, 8, 16, deepest)}, reverse=True)
    tiles = _tiles(core, work.size)
    fitting: list[tuple[float, Tiling]] = []
    for tile in tiles:
        cut = areas(*work.size, tile)
        granules = [_granules(work, area) for area in cut]
        for depth in depths:
            if (
                max(granules) * depth > core.input_granules
                or depth * work.taps * core.block_granules > core.weight_granules
            ):
                continue
            for outside in (False, True):
                tiling = Tiling(tile=tile, depth=depth, weights_outside=outside)
                fitting.append((_cost(core, memory, work, cut, sum(granules), outside=outside), tiling))
    if not fitting:
        raise _too_large(core, work, min(depths))
    fitting.sort(key=lambda pair: pair[0])
    return [tiling for _, tiling in fitting]


def _tiles(core: CoreShape, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return sizes of tiles that fit into the accumulator and the output buffer, cut evenly."""
    words = most_words(core)
    height, width = size
    found: dict[tuple[int, int], None] = {}
    for columns in (width, -(-width // 2), -(-width // 4), -(-width // 8)):
        if columns > words:
            continue
        fewest = -(-height // min(height, words // columns))
        for parts in (fewest, fewest + 1, fewest + 2, 2 * fewest, 4 * fewest, 8 * fewest, height):
            found[-(-height // min(parts, height)), columns] = None
        if found and columns * 8 <= words:
            break
    if not found:
        found[1, words] = None
    return list(found)


def _granules(work: Work, area: Area) -> int:
    """Return the input of an area of one channel block: padding on any side leaves the tiles there with less."""
    return sum(fetch.total for fetch in work.source.fetches(area, 0, 1))


def _cost(core: CoreShape, memory: Memory, work: Work, cut: list[Area], granules: int, *, outside: bool) -> float:
    """Return about how many cycles a tiling takes: the larger of its vectors and its traffic.

    Args:
        core: That runs it.
        memory: Speed of the DRAM.
        work: What is tiled.
        cut: The tiles.
        granules: Input of all tiles, of one channel block.
        outside: Whether all tiles follow one another for a block of output channels.
    """
    blocks = sum(count for _, count in work.reach) * work.taps
    vectors = sum(blocks * max(area.pixels, core.rows) for area in cut)
    weights = blocks * core.block_granules
    inputs = granules * work.source.blocks
    if outside:
        inputs *= 1 if inputs <= core.input_granules else len(work.reach)
    else:
        weights *= 1 if weights <= core.weight_granules else len(cut)
        if inputs > len(cut) * core.input_granules:
            inputs *= len(work.reach)
    traffic = (weights + inputs) * core.rows / memory.bytes_per_cycle
    overhead = len(cut) * len(work.reach) * (core.rows + core.cols)
    return max(vectors + overhead, traffic)


def _too_large(core: CoreShape, work: Work, depth: int) -> UsageError:
    weights = depth * work.taps * core.block_granules
    if weights > core.weight_granules:
        name, needed, there = "weight buffer (`weight_granules`)", weights, core.weight_granules
    else:
        area = Area(y=0, x=0, height=1, width=min(work.size[1], core.acc_words))
        needed = sum(fetch.total for fetch in work.source.fetches(area, 0, depth))
        name, there = "input buffer (`input_granules`)", core.input_granules
    return UsageError(
        f"layer {work.name} has no tiling on this core",
        cause=f"its smallest tile needs {needed} granules of the {name}, which has {there}",
        hint="take a board with larger buffers, or enlarge that buffer",
    )


def emit(emitter: Emitter, work: Work, tiling: Tiling) -> None:
    """Append the instructions of a layer."""
    group = params_group(emitter.core)
    fetches = functools.cache(work.source.fetches)  # the same for every block of output channels
    walk = functools.cache(functools.partial(work.source.walk, start=0))
    for block, area in _order(work, tiling):
        tile = emitter.open(area.pixels)
        parts = list(_parts(work.reach[block], tiling.depth))
        for number, (first, count) in enumerate(parts):
            inputs = emitter.fill(
                Target.INPUT, (work.y, area, first, count), fetches(area, first, count), source=[work.x]
            )
            fields = walk(area, count=count)
            weights = _weights(emitter, work, block, first, count)
            instruction = Exec(
                mode=ExecMode.ARRAY,
                half=tile.half,
                accumulate=number > 0,
                weights=weights.start,
                **work.coding.exec_fields(),
                **{**fields, "base": fields["base"] + inputs.start * emitter.core.rows},
            )
            emitter.execute(tile, instruction, (inputs, weights))
        params = params_of(emitter, work.y, work.params, block, len(work.reach), group)
        at = (params.start + block % group * emitter.core.param_block_granules) % emitter.core.param_granules
        region = emitter.drain(tile, work.coding.drain(at), params)
        store_block(emitter, region, work.target, work.y, area, block)


def store_block(emitter: Emitter, region: Region, target: Placement, name: str, area: Area, block: int) -> None:
    """Append the stores of a block of output channels, a slice each."""
    layout = target.layout
    blocks = layout.blocks if isinstance(layout, Blocked) else 0
    for part in range(emitter.core.slices):
        channel_block = block * emitter.core.slices + part
        if channel_block < blocks:
            emitter.store(region, part, store_to(target, area, channel_block), tensor=name)


def _order(work: Work, tiling: Tiling) -> Iterator[tuple[int, Area]]:
    blocks, tiles = range(len(work.reach)), areas(*work.size, tiling.tile)
    if tiling.weights_outside:
        yield from itertools.product(blocks, tiles)
    else:
        yield from ((block, area) for area in tiles for block in blocks)


def _parts(reach: tuple[int, int], depth: int) -> Iterator[tuple[int, int]]:
    """Yield first channel block and count of each part that is taken together, cut evenly."""
    first, count = reach
    pieces = -(-count // depth)
    even = -(-count // pieces)
    for start in range(0, count, even):
        yield first + start, min(even, count - start)


def _weights(emitter: Emitter, work: Work, block: int, first: int, count: int) -> Region:
    core = emitter.core
    size = work.taps * core.block_granules
    offset = (first - work.reach[block][0]) * size * core.rows
    fetch = Fetch(work.weights[block] + offset, count * size)
    return emitter.fill(Target.WEIGHT, (work.y, block, first, count), [fetch], align=core.slices)


def most_words(core: CoreShape) -> int:
    """Return how many accumulator words a tile may have, all of which a DRAIN of 16 bits can count."""
    return min(core.acc_words, core.output_granules, 0xFFFF)


def params_group(core: CoreShape) -> int:
    """Return how many blocks of parameters are loaded together: half of their memory."""
    return max(1, core.param_granules // 2 // core.param_block_granules)


def params_of(emitter: Emitter, tensor: str, address: int, block: int, blocks: int, group: int) -> Region:
    """Return where the parameters of a block of output channels and of those after it lie."""
    size = emitter.core.param_block_granules
    first = block // group * group
    fetch = Fetch(address + first * size * emitter.core.rows, min(group, blocks - first) * size)
    return emitter.fill(Target.PARAM, (tensor, first), [fetch])
