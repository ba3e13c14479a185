"""Layers without the array: depthwise convolution, pooling, addition, enlargement. A channel block is `rows` lanes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leptonbench.errors import UsageError
from leptonbench.fpga.compiler.array import most_words, params_group, params_of
from leptonbench.fpga.compiler.emitter import Emitter, Fetch
from leptonbench.fpga.compiler.geometry import Area, BlockedSource, areas, store_to
from leptonbench.fpga.compiler.layout import Blocked
from leptonbench.fpga.compiler.program import Placement
from leptonbench.fpga.compiler.schedule import Memory
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.ir import Pair
from leptonbench.fpga.isa import Drain, DrainMode, Exec, ExecMode, Target
from leptonbench.fpga.numerics import AddFactors


@dataclass(frozen=True, kw_only=True)
class Windowed:
    """A window over each channel block by itself.

    Attributes:
        name: Of the layer.
        mode: What an EXEC does with the vectors.
        source: The input image.
        x: Name of the input tensor.
        y: Name of the output tensor.
        target: Where the output lies.
        fields: Zero points and signs, for the EXEC.
        drain: The requantisation; its parameters are put in.
        weights: Address of the taps, a granule each, a channel block after the other; `None` if there are none.
        params: Address of bias and scale.
        shared_params: Whether there is one block of parameters for all channels.
    """

    name: str
    mode: ExecMode
    source: BlockedSource
    x: str
    y: str
    target: Placement
    fields: dict[str, Any]
    drain: Drain
    weights: int | None
    params: int
    shared_params: bool

    def choices(self, core: CoreShape, memory: Memory) -> list[Pair]:
        """Return tiles."""
        return window_tiles(core, self)

    def emit(self, emitter: Emitter, choice: Pair) -> str:
        """Append the instructions and return how the layer was cut."""
        return emit_windowed(emitter, self, choice)


def emit_windowed(emitter: Emitter, work: Windowed, tile: Pair) -> str:
    """Append a layer's instructions and return how it was cut.

    A block of parameters has `cols` channels, of which lanes use the first `rows`.
    """
    core = emitter.core
    height, width = work.target.layout.image[1:]
    count = 1 if work.shared_params else work.source.blocks
    for block in range(work.source.blocks):
        for area in areas(height, width, tile):
            words = emitter.open(area.pixels)
            inputs = emitter.fill(
                Target.INPUT, (work.y, area, block), work.source.fetches(area, block, 1), source=[work.x]
            )
            uses, start = [inputs], 0
            if work.weights is not None:
                granules = -(-math.prod(work.source.taps) // core.slices) * core.slices
                fetch = Fetch(work.weights + block * granules * core.rows, granules)
                uses.append(emitter.fill(Target.WEIGHT, (work.y, block), [fetch], align=core.slices))
                start = uses[-1].start
            walk = work.source.walk(area, inputs.start, 1)
            emitter.execute(words, Exec(mode=work.mode, half=words.half, weights=start, **work.fields, **walk), uses)
            group = params_group(core)
            own = 0 if work.shared_params else block
            params = params_of(emitter, work.y, work.params, own, count, group)
            at = (params.start + own % group * core.param_block_granules) % core.param_granules
            region = emitter.drain(words, replace(work.drain, params=at), params)
            emitter.store(region, 0, store_to(work.target, area, block), tensor=work.y)
    return f"{tile[0]} x {tile[1]} outputs of a channel block"


def window_tiles(core: CoreShape, work: Windowed) -> list[Pair]:
    """Return tiles to choose from: the largest of whole rows whose input fits half the input buffer, and flatter ones.

    Raises:
        UsageError: If not even one output's window fits.
    """
    height, width = work.target.layout.image[1:]
    words = most_words(core)
    columns = min(width, words)
    rows = max(1, min(height, words // columns))
    while True:
        area = Area(y=max(0, min(1, height - rows)), x=0, height=rows, width=columns)
        needed = sum(fetch.total for fetch in work.source.fetches(area, 0, 1))
        if needed <= core.input_granules // 2 or (rows, columns) == (1, 1):
            break
        rows, columns = (-(-rows // 2), columns) if rows > 1 else (1, -(-columns // 2))
    if needed > core.input_granules:
        raise UsageError(
            f"layer {work.name} has no tiling on this core",
            cause=f"one output reads {needed} granules of the input buffer, which has {core.input_granules}",
            hint="take a board with a larger input buffer (`input_granules`)",
        )
    return [(height, columns) for height in _shorter(rows)]


def _shorter(most: int) -> list[int]:
    """Return a length, and some shorter ones: short tiles start sooner, long ones stop less often."""
    return sorted({-(-most // parts) for parts in (1, 2, 4, 8)}, reverse=True)


@dataclass(frozen=True, kw_only=True)
class Pairwise:
    """A sum of two tensors of one shape, granule by granule.

    Attributes:
        name: Of the layer.
        a: Name of the first tensor.
        b: Name of the second.
        y: Name of the result.
        places: Where they lie.
        fields: Signs, for the EXEC.
        factors: Of the addition.
        limits: Smallest and largest code.
    """

    name: str
    a: str
    b: str
    y: str
    places: tuple[Placement, Placement, Placement]
    fields: dict[str, Any]
    factors: AddFactors
    limits: tuple[int, int]

    def choices(self, core: CoreShape, memory: Memory) -> list[int]:
        """Return numbers of granules."""
        return pairwise_sizes(core, self)

    def emit(self, emitter: Emitter, choice: int) -> str:
        """Append the instructions and return how the layer was cut."""
        return emit_pairwise(emitter, self, choice)


def pairwise_sizes(core: CoreShape, work: Pairwise) -> list[int]:
    """Return granules to take together, to choose from."""
    total = work.places[2].layout.granules
    most = min(total, most_words(core), core.input_granules // 4)
    return sorted({-(-total // -(-total // size)) for size in _shorter(most)}, reverse=True)


def emit_pairwise(emitter: Emitter, work: Pairwise, size: int) -> str:
    """Append an addition's instructions and return how it was cut."""
    core = emitter.core
    total = work.places[2].layout.granules
    for first in range(0, total, size):
        count = min(size, total - first)
        words = emitter.open(count)
        a, b, y = (Fetch(place.address + first * core.rows, count) for place in work.places)
        # Both halves of one region: the walk steps from one to the other.
        inputs = emitter.fill(Target.INPUT, (work.y, first), [a, b], source=(work.a, work.b))
        instruction = Exec(
            mode=ExecMode.PAIR,
            half=words.half,
            base=inputs.start * core.rows,
            c_count=2,
            ox_count=count,
            ox_step=core.rows,
            c_step=count * core.rows,
            **work.fields,
        )
        emitter.execute(words, instruction, [inputs])
        low, high = work.limits
        codes = {name: int(np.float32(value).view(np.uint32)) for name, value in zip("ab", work.factors, strict=False)}
        drain = Drain(
            mode=DrainMode.ADD,
            low=low,
            high=high,
            scale_a=codes["a"],
            scale_b=codes["b"],
            fixed=int(np.float32(work.factors.fixed).view(np.uint32)),
        )
        emitter.store(emitter.drain(words, drain, None), 0, y, tensor=work.y)
    return f"{size} granules"


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """An image whose pixels are repeated.

    Attributes:
        name: Of the layer.
        x: Name of the input tensor.
        y: Name of the output tensor.
        source: Where the input lies.
        target: Where the output lies.
        factors: How often each row and each column is repeated.
        signed: Whether codes are int8.
        drain: The requantisation by one; its parameters are put in.
        params: Address of a bias of zero and a scale of one.
    """

    name: str
    x: str
    y: str
    source: Placement
    target: Placement
    factors: tuple[int, int]
    signed: bool
    drain: Drain
    params: int

    def choices(self, core: CoreShape, memory: Memory) -> list[Pair]:
        """Return tiles."""
        return repeated_tiles(core, self)

    def emit(self, emitter: Emitter, choice: Pair) -> str:
        """Append the instructions and return how the layer was cut."""
        return emit_repeated(emitter, self, choice)


def repeated_tiles(core: CoreShape, work: Repeated) -> list[Pair]:
    """Return rows and columns of input to take together, to choose from."""
    _, height, width = work.source.layout.image
    words = most_words(core)
    columns = min(width, max(1, words // work.factors[1]))
    rows = max(1, min(height, words // (columns * work.factors[1])))
    return [(count, columns) for count in _shorter(rows)]


def emit_repeated(emitter: Emitter, work: Repeated, tile: Pair) -> str:
    """Append an enlargement's instructions and return how it was cut.

    A walk repeats columns by a step of zero; rows are stored as often as they are repeated.
    """
    core, layout = emitter.core, work.source.layout
    if not isinstance(layout, Blocked):
        raise TypeError("images are enlarged in blocks of channels")
    _, height, width = layout.image
    down, across = work.factors
    params = params_of(emitter, work.y, work.params, 0, 1, 1)
    for block in range(layout.blocks):
        for area in areas(height, width, tile):
            words = emitter.open(area.pixels * across)
            inputs = emitter.fill(
                Target.INPUT, (work.y, area, block), [store_to(work.source, area, block)], source=[work.x]
            )
            instruction = Exec(
                mode=ExecMode.SUM,
                half=words.half,
                base=inputs.start * core.rows,
                a_signed=work.signed,
                oy_count=area.pixels,
                oy_step=core.rows,
                ox_count=across,
            )
            emitter.execute(words, instruction, [inputs])
            region = emitter.drain(words, replace(work.drain, params=params.start), params)
            wide = Area(y=area.y * down, x=area.x * across, height=1, width=area.width * across)
            for copy in range(down):
                line = store_to(work.target, replace(wide, y=wide.y + copy), block)
                to = replace(line, y=area.height, dram_y=down * width * across * core.rows)
                emitter.store(region, 0, to, tensor=work.y)
    return f"{tile[0]} x {tile[1]} inputs of a channel block"
